"""The questions an auditor asks about a clip's credentials, each answered in one sentence with its clause.

Always the same questions in the same order, whatever the file: what was not looked at says so. A verdict is green only
when none of them failed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from provenance import CredentialsReport, Finding
from vasari.evidence import Evidence

State = Literal["passed", "failed", "warning", "not checked"]

SOFT_BINDING_CLAUSE = "C2PA 2.3, 9.3 Soft Bindings and 18.10"
LOG_CLAUSE = "RFC 9162, 2.1.3 and C2SP tlog-proof"
_NO_CREDENTIALS = "The file carries no credentials that could answer this."


@dataclass(frozen=True)
class Check:
    """One question, answered. `codes` are the findings behind the answer."""

    name: str
    question: str
    state: State
    answer: str
    clause: str
    codes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Topic:
    """A question that the findings of one topic answer; `passed` is the answer when nothing speaks against it."""

    name: str
    question: str
    passed: str
    open: str
    clause: str


_TOPICS = (
    _Topic(
        "integrity",
        "Is the file exactly what was signed?",
        "Every hash and every signature holds.",
        "Nothing was checked.",
        "C2PA 2.3, 15.7, 15.10 and 15.12",
    ),
    _Topic(
        "trust",
        "Is the signer one of those you trust?",
        "The signer's certificate leads to a root on your list.",
        "The signer was not judged.",
        "C2PA 2.3, 14.4 Trust Lists",
    ),
    _Topic(
        "purpose",
        "Is the signer trusted for this purpose?",
        "The root stands on your list for signing claims, not merely for time stamps.",
        "No signer is trusted, so its purpose was not judged.",
        "C2PA 2.3, 14.4 Trust Lists",
    ),
    _Topic(
        "time stamp",
        "When was it signed, and who vouches for that?",
        "A time-stamping authority on your list vouches for the time of signing.",
        "No time of signing was judged.",
        "C2PA 2.3, 15.8 Validate the Time-Stamp",
    ),
    _Topic(
        "revocation",
        "Was anyone revoked who signed here?",
        "The signer stands on no revocation list at hand.",
        "Not known: no revocation list of the signer's issuer is at hand.",
        "C2PA 2.3, 15.9 and RFC 5280, 5",
    ),
    _Topic(
        "freshness",
        "Are your trust lists up to date?",
        "Every root on your lists is valid at the time of the check.",
        "The lists were not judged.",
        "C2PA 2.3, 14.4 Trust Lists",
    ),
    _Topic(
        "sources",
        "Are its sources unchanged, all the way down?",
        "No source in the tree contradicts its record.",
        "It names no sources.",
        "C2PA 2.3, 15.11 Validate the Ingredients",
    ),
)


def checks(evidence: Evidence) -> tuple[Check, ...]:
    """Every question in its order. Pure: equal evidence gives equal answers."""
    rows = [_by_findings(evidence.credentials, topic) for topic in _TOPICS]
    own: tuple[Callable[[Evidence], Check], ...] = (_coverage, _engines, _log, _mark, _made_from, _content)
    return (*rows, *(answer(evidence) for answer in own))


def _by_findings(credentials: CredentialsReport | None, topic: _Topic) -> Check:
    if credentials is None or credentials.state == "absent":
        return _check(topic, "not checked", _NO_CREDENTIALS)
    found = credentials.about(topic.name)  # type: ignore[arg-type]  # the names above are topics
    for severity, state in (("failure", "failed"), ("warning", "warning")):
        worst = [finding for finding in found if finding.severity == severity]
        if worst:
            return _check(topic, state, _sentence(worst), worst)  # type: ignore[arg-type]
    if topic.name == "sources" and credentials.sources:
        return _check(topic, "passed", _sources_sentence(credentials))
    passed = [finding for finding in found if finding.severity == "passed"]
    if passed:
        return _check(topic, "passed", _passed_sentence(credentials, topic), passed)
    return _check(topic, "not checked", topic.open, found)


def _sentence(findings: list[Finding]) -> str:
    """The first finding in words; how many more there are."""
    kinds = list(dict.fromkeys(finding.code for finding in findings))
    more = f" (and {len(kinds) - 1} other finding{'s' if len(kinds) > 2 else ''})" if len(kinds) > 1 else ""
    return findings[0].explanation + more


def _passed_sentence(credentials: CredentialsReport, topic: _Topic) -> str:
    if topic.name == "time stamp" and credentials.signed_at is not None:
        return f"Signed at {credentials.signed_at:%Y-%m-%d %H:%M:%S} UTC; an authority on your list vouches for it."
    return topic.passed


def _sources_sentence(credentials: CredentialsReport) -> str:
    steps = credentials.sources
    deep = max(step.depth for step in steps) + 1
    own = sum(step.state == "validated" for step in steps)
    count = f"{len(steps)} source{'s' if len(steps) != 1 else ''}, {deep} level{'s' if deep != 1 else ''} deep"
    return f"{count}; {own} with credentials of their own, which hold; the others are named by hash."


def _coverage(evidence: Evidence) -> Check:
    credentials = evidence.credentials
    question = "Does a signed hash cover every byte of the file?"
    clause = "C2PA 2.3, 18.5 and 18.6 (exclusions)"
    if credentials is None or credentials.state == "absent":
        return Check("coverage", question, "not checked", _NO_CREDENTIALS, clause)
    failed = [finding for finding in credentials.about("coverage") if finding.severity == "failure"]
    codes = tuple(dict.fromkeys(finding.code for finding in credentials.about("coverage")))
    places = ", ".join(f"{gap.length:,} in {gap.kind} at byte {gap.offset:,}" for gap in credentials.uncovered[:5])
    if failed:
        return Check("coverage", question, "failed", _sentence(failed), clause, codes)
    if credentials.unhashed_bytes is None:
        return Check("coverage", question, "not checked", "Bytes can't be counted in this format.", clause, codes)
    if credentials.unhashed_bytes:
        answer = f"{credentials.unhashed_bytes:,} bytes are covered by no hash" + (f": {places}." if places else ".")
        return Check("coverage", question, "warning", answer, clause, codes)
    return Check("coverage", question, "passed", "Every byte but the credentials themselves is covered.", clause, codes)


def _engines(evidence: Evidence) -> Check:
    credentials = evidence.credentials
    question, clause = "Do two independent engines agree?", "Vasari: the stricter of two engines counts"
    if credentials is None or not credentials.engines:
        return Check("engines", question, "not checked", "No engine ran.", clause)
    views = "; ".join(f"{engine.engine} {engine.version}: {engine.state}" for engine in credentials.engines)
    if credentials.engines_agree:
        return Check("engines", question, "passed", f"They agree ({views}).", clause)
    if any(engine.state == "not_run" for engine in credentials.engines):
        return Check("engines", question, "warning", f"Only one ran ({views}).", clause)
    state: State = "failed" if credentials.state == "verified" else "warning"
    return Check("engines", question, state, f"They don't agree ({views}); the stricter counts.", clause)


def _log(evidence: Evidence) -> Check:
    states: dict[str, State] = {
        "proved": "passed",
        "failed": "failed",
        "absent": "warning",
        "not_checked": "not checked",
    }
    question = "Is the decision to release it in the transparency log?"
    return Check("log", question, states[evidence.log.state], evidence.log.explanation, LOG_CLAUSE)


def _mark(evidence: Evidence) -> Check:
    question = "Does the watermark name the release that the manifest names?"

    def row(state: State, answer: str) -> Check:
        return Check("watermark", question, state, answer, SOFT_BINDING_CLAUSE)

    named = evidence.named_releases
    if len(named) > 1:
        return row("failed", f"Release record and soft binding of the manifest differ: {_ids(named)}.")
    if evidence.video_mark is None and evidence.audio_mark is None:
        return row("not checked", "No mark was looked for: that needs the authority's key.")
    marks = {"picture": evidence.video_id, "sound": evidence.audio_id}
    read = {medium: mark for medium, mark in marks.items() if mark is not None}
    if not read:
        return row("warning" if named else "not checked", "No mark can be read with the known keys.")
    if not named:
        words = " and ".join(f"{medium} {mark:016x}" for medium, mark in read.items())
        return row("not checked", f"The mark names a release ({words}), but no credentials say which it should be.")
    wrong = [f"the {medium}'s mark names {mark:016x}" for medium, mark in read.items() if {mark} != named]
    if wrong:
        return row("failed", f"The manifest names release {_ids(named)}, but {' and '.join(wrong)}.")
    return row("passed", f"Manifest, soft binding and mark in {' and '.join(read)} name the same release.")


def _made_from(evidence: Evidence) -> Check:
    question, clause = "Was it made from the portrait and the recording at hand?", "C2PA 2.3, 18.16 Ingredient"
    credentials, given = evidence.credentials, evidence.given

    def row(state: State, answer: str) -> Check:
        return Check("made from", question, state, answer, clause)

    if credentials is None or credentials.portrait_sha256 is None or credentials.audio_sha256 is None:
        return row("not checked", "The file has no release record that names them.")
    if not given:
        return row("not checked", "No portrait and no recording were given to compare with.")
    signed = {"portrait": credentials.portrait_sha256, "recording": credentials.audio_sha256}
    wrong = [name for name, digest in given.items() if signed[name] != digest]
    if wrong:
        return row("failed", f"Not what the release names by its SHA-256: the {' and the '.join(wrong)} at hand.")
    return row("passed", f"The release names the SHA-256 of the {' and the '.join(given)} at hand.")


def _content(evidence: Evidence) -> Check:
    question, clause = "Does it show what was registered?", "Vasari: clip fingerprint of the release"
    repository = evidence.repository

    def row(state: State, answer: str) -> Check:
        return Check("content", question, state, answer, clause)

    if repository is None or not repository.registered:
        return row("not checked", "No registered release to compare with.")
    if repository.fingerprint_distance is None:
        return row("not checked", "The clip is too short to compare.")
    words = f"distance {repository.fingerprint_distance:.2f} to release {repository.manifest_id:016x}"
    if not repository.same_content:
        return row("failed", f"The pictures are not those that were registered ({words}).")
    if repository.only_a_part:
        return row("warning", f"The registered pictures and {repository.longer_by_s:.1f} s more ({words}).")
    return row("passed", f"The pictures are those that were registered ({words}).")


def _ids(releases: set[int]) -> str:
    return " and ".join(sorted(f"{release:016x}" for release in releases))


def _check(topic: _Topic, state: State, answer: str, findings: "list[Finding] | tuple[Finding, ...]" = ()) -> Check:
    clauses = tuple(dict.fromkeys(finding.clause for finding in findings if finding.severity != "passed"))
    codes = tuple(dict.fromkeys(finding.code for finding in findings))
    return Check(topic.name, topic.question, state, answer, clauses[0] if clauses else topic.clause, codes)
