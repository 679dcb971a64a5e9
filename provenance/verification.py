"""One verdict from two engines and our own look at the bytes neither of them covers.

Nothing here reaches a network. The stricter view wins: a file is verified only when the first engine calls it
Trusted through our list of claim signers, no failure stands anywhere (sources included), the second engine
agrees or could not run, and no content hides outside the signed hash. Decisions on the known blind spots:

* boxes that a foreign file excludes from its hash (`ftyp` and `mfra` always, `free` and `skip` often): where they
  hold only what their kind is for, a warning with place and size; anything else is a failure. Our own clips hash
  padding, and carry a hash over `ftyp` and `mfra` in `org.vasari.release`.
* any other box that a signer left out of its hash (it may leave out the picture itself): a failure.
* an update manifest has no hash of its own: the hash, and what it leaves out, is that of the parent that has one.
* revocation: no network, but revocation lists given with the anchors are honoured.
"""

import base64
import binascii
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from provenance.bmff_coverage import Coverage, measure_coverage
from provenance.claim_signature import signer_chain, time_stamp_certificates
from provenance.credentials_report import (
    CredentialsReport,
    EngineVerdict,
    Finding,
    Severity,
    State,
    UncoveredBytes,
    worst,
)
from provenance.engine_c2pa import Reading, read_with_c2pa
from provenance.engine_encypher import read_with_encypher
from provenance.errors import ProvenanceError
from provenance.jumbf import cbor_fault, check_store_layout, claim_signature
from provenance.manifest import (
    RELEASE_LABEL,
    SOFT_BINDING_LABEL,
    Ingredient,
    ReleaseRecord,
    hash_from_name,
    read_release,
)
from provenance.manifest_store import FoundStore, find_store
from provenance.media_type import SNIFF_BYTES, sniff_media_type
from provenance.pki import TrustAnchors
from provenance.revocation import load_revocation_lists, signer_revocation, time_stamp_revocation
from provenance.sources import source_tree
from provenance.status_codes import TRUST_FAILURES, plain_words
from provenance.stream_place import STREAM_LABEL, StreamPlace, read_stream_place

OURS = "vasari"
_BMFF_TYPES = ("video/mp4", "video/quicktime", "audio/mp4")


def verify_clip(path: Path, anchors: TrustAnchors, *, validation_time: datetime | None = None) -> CredentialsReport:
    """Check the credentials inside `path` against `anchors`; nothing about the file itself raises.

    `validation_time` (now when None) is when certificates and lists are judged. The first engine has no such input and
    judges by the clock; where the two then differ, the report says so and the stricter verdict counts.
    """
    try:
        with path.open("rb") as file:
            media_type = sniff_media_type(file.read(SNIFF_BYTES))
            if media_type is None:
                return _unread("unreadable", "vasari.formatNotSupported", "")
            return _verify_open(file, path, media_type, anchors, validation_time)
    except OSError as error:
        return _unread("unreadable", "vasari.unreadable", str(error))


@dataclass(frozen=True)
class _Look:
    """What our own look at the bytes of a file gives, beside the engines."""

    coverage: Coverage | None  # MP4 family only
    found: FoundStore | None  # the other formats, and where the boxes of an MP4 are damaged

    @property
    def boxed(self) -> tuple[bytes, ...]:
        """The stores whose place in the file is certain, the active one last."""
        return self.coverage.stores if self.coverage else ()

    @property
    def stores(self) -> tuple[bytes, ...]:
        return self.boxed or ((self.found.store,) if self.found else ())


def _look(file: BinaryIO, media_type: str) -> _Look:
    coverage = measure_coverage(file) if media_type in _BMFF_TYPES else None
    walked = coverage is not None and not coverage.damage  # then there is no need to search the whole file
    return _Look(coverage, None if walked else find_store(file, media_type))


def _verify_open(
    file: BinaryIO, path: Path, media_type: str, anchors: TrustAnchors, validation_time: datetime | None
) -> CredentialsReport:
    look = _look(file, media_type)
    if look.coverage is not None and look.coverage.crowded:
        return _unread("broken" if look.stores else "unreadable", "vasari.tooManyBoxes", look.coverage.damage)
    if look.coverage is not None and look.coverage.layout_fault and not look.stores:  # nor what we can't look into
        return _unread("broken", "vasari.manifestBoxMalformed", look.coverage.layout_fault)
    if fault := next(filter(None, map(cbor_fault, look.stores)), None):  # the engines would reserve memory for it
        report = _unread("broken", "vasari.manifestBoxMalformed", fault)
        beside = tuple(_coverage_findings(look.coverage, None)) if look.coverage else ()
        return replace(report, findings=(*report.findings, *beside))
    whole = look.boxed[0] if len(look.boxed) == 1 else None  # of two stores neither is whole
    first = read_with_c2pa(file, media_type, anchors, whole, has_store=bool(look.stores), at=validation_time)
    second, second_findings = read_with_encypher(path, media_type, anchors, validation_time)
    agree = second.state != "not_run" and first.verdict.state == second.state
    release, own = _release(first, anchors)
    absent = first.verdict.state == "absent" and not look.boxed  # marks of a store elsewhere in the file don't count
    uncovered = () if absent else tuple(_uncovered(look, first, release))
    unhashed = None if absent else _unhashed_bytes(look, first, uncovered)
    if absent:
        own.append(_own("vasari.absent", "note"))
    else:
        own += _layout_findings(look, first, release, uncovered, unhashed)
        own += _signer_findings(look, first, anchors, validation_time or datetime.now(UTC))
    if not agree and second.state != "not_run":
        own.append(_own("vasari.enginesDisagree", "warning", f"{first.verdict.state} against {second.state}"))
    place, place_findings = _stream_place(first)
    own += place_findings
    info = first.active_manifest.get("signature_info", {})
    return CredentialsReport(
        state="absent" if absent else _fold(first.verdict, second, own),
        findings=(*first.findings, *second_findings, *own),
        engines=(first.verdict, second),
        engines_agree=agree,
        manifest_id=release.manifest_id if release else None,
        signer=info.get("common_name") or info.get("issuer"),
        signed_at=first.signed_at,
        ingredients=tuple(_ingredients(first.active_manifest)),
        sources=source_tree(first.manifests, first.active),
        portrait_sha256=release.portrait_sha256 if release else None,
        audio_sha256=release.audio_sha256 if release else None,
        consent_sha256=release.consent_sha256 if release else None,
        decision_sha256=release.decision_sha256 if release else None,
        log_proof=release.log_proof if release else None,
        soft_binding_value=_soft_binding(first.bound_manifest),
        unhashed_bytes=unhashed,
        uncovered=uncovered,
        stream=place,
    )


def _fold(first: EngineVerdict, second: EngineVerdict, own: list[Finding]) -> State:
    states: list[State] = [verdict.state for verdict in (first, second) if verdict.state != "not_run"]
    failed = {finding.code for finding in own if finding.severity == "failure"}
    if failed:
        states.append("untrusted" if failed <= TRUST_FAILURES else "broken")
    return worst(tuple(states))


def _layout_findings(
    look: _Look,
    first: Reading,
    release: ReleaseRecord | None,
    uncovered: tuple[UncoveredBytes, ...],
    unhashed: int | None,
) -> Iterator[Finding]:
    """How the credentials lie in the file, and what lies beside them."""
    for fault in filter(None, map(check_store_layout, look.stores)):
        yield _own("vasari.manifestBoxMalformed", "failure", fault)
    unseen = not look.stores and first.verdict.state in ("verified", "untrusted")
    if unseen:  # then neither revocation nor layout was looked at
        yield _own("vasari.manifestBoxMalformed", "failure", "an engine reads credentials where we find none")
    if look.coverage and (look.stores or unseen):
        yield from _coverage_findings(look.coverage, release)
    elif unhashed:
        yield _own("vasari.hiddenBytes", "failure", f"{unhashed} bytes beside the credentials")
    for gap in uncovered:
        where = f"{gap.length} bytes in the {gap.kind} box at byte {gap.offset}"
        code, severity = ("vasari.hiddenBytes", "failure") if gap.hidden else ("vasari.unhashedBytes", "warning")
        yield _own(code, severity, where)  # type: ignore[arg-type]


def _coverage_findings(coverage: Coverage, release: ReleaseRecord | None) -> Iterator[Finding]:
    """What our own walk over the boxes of a file with credentials says."""
    if coverage.damage:
        yield _own("vasari.containerDamaged", "failure", coverage.damage)
    if coverage.extra_credentials:
        yield _own("vasari.extraCredentialsBox", "failure", coverage.extra_credentials)
    if coverage.layout_fault:
        yield _own("vasari.manifestBoxMalformed", "failure", coverage.layout_fault)
    if release is not None and release.unhashed_boxes_sha256 != coverage.excluded_sha256:
        yield _own("vasari.unhashedBytesChanged", "failure")


def _uncovered(look: _Look, first: Reading, release: ReleaseRecord | None) -> Iterator[UncoveredBytes]:
    """The boxes of an MP4 that neither the hard binding nor the release's own hash covers."""
    if look.coverage is None:
        return
    closed = release is not None and release.unhashed_boxes_sha256 == look.coverage.excluded_sha256
    covered = look.coverage.covered_by_release if closed else ()
    for box in look.coverage.unhashed(first.bound_manifest):
        if box.kind not in covered:
            yield UncoveredBytes(box.kind, box.offset, box.length, hidden=not box.harmless)


def _unhashed_bytes(look: _Look, first: Reading, uncovered: tuple[UncoveredBytes, ...]) -> int | None:
    """Bytes that no signed hash covers, the credentials themselves left out; None where they can't be counted."""
    if not first.bound_manifest:
        return None
    if look.coverage:
        return look.coverage.loose_bytes + sum(gap.length for gap in uncovered)
    if look.found is None or first.excluded_bytes is None:
        return None
    return max(0, first.excluded_bytes - look.found.framed_bytes)


def _signer_findings(look: _Look, first: Reading, anchors: TrustAnchors, at: datetime) -> Iterator[Finding]:
    """Revocation of signer and time-stamping authority, and freshness of the lists, all offline."""
    signature = claim_signature(look.stores[-1], first.active) if look.stores else None
    lists = load_revocation_lists(anchors.crl_pem)
    if signature is not None:
        try:
            chain, stamp_chain = signer_chain(signature), time_stamp_certificates(signature)
        except ProvenanceError as error:
            yield _own("vasari.manifestBoxMalformed", "failure", str(error))
        else:
            yield from signer_revocation(chain, anchors.manifest_pem, lists, at=at, signed_at=first.signed_at)
            yield from time_stamp_revocation(stamp_chain, anchors.tsa_pem, lists, at=at, stamped_at=first.signed_at)
    ends = {root.subject.rfc4514_string(): root.not_valid_after_utc for root in anchors.roots()}
    expired = sorted(f"{name} on {end:%Y-%m-%d}" for name, end in ends.items() if end < at)
    if expired:
        yield _own("vasari.trustListExpired", "warning", "; ".join(expired))
    else:
        yield _own("vasari.trustListFresh", "passed", f"the first of {len(ends)} expires {min(ends.values()):%Y-%m-%d}")


def _assertion(manifest: Mapping[str, Any], label: str) -> Any:
    found = [a.get("data") for a in manifest.get("assertions", []) if a.get("label") == label]
    return found[0] if len(found) == 1 else None


def _release(first: Reading, anchors: TrustAnchors) -> tuple[ReleaseRecord | None, list[Finding]]:
    """Our own release record, with what is wrong about it. A release without its time stamp was tampered with."""
    manifest = first.bound_manifest
    if not any(str(a.get("label")).startswith(RELEASE_LABEL) for a in manifest.get("assertions", [])):
        return None, []
    try:
        release = read_release(_assertion(manifest, RELEASE_LABEL))
    except ProvenanceError as error:
        return None, [_own("vasari.releaseMalformed", "failure", str(error))]
    found = []
    if first.signed_at is None and anchors.tsa_pem.strip():
        found.append(_own("vasari.notTimeStamped", "failure", "every release of this project is time-stamped"))
    named = {source.sha256 for source in _ingredients(manifest)}
    if named != {release.portrait_sha256, release.audio_sha256}:
        found.append(_own("vasari.releaseContradictsSources", "failure"))
    return release, found


def _stream_place(first: Reading) -> tuple[StreamPlace | None, list[Finding]]:
    """Which segment of a stream it is, with what is wrong about the assertion."""
    manifest = first.bound_manifest
    if not any(str(a.get("label")).startswith(STREAM_LABEL) for a in manifest.get("assertions", [])):
        return None, []
    try:
        return read_stream_place(_assertion(manifest, STREAM_LABEL)), []
    except ProvenanceError as error:
        return None, [_own("vasari.releaseMalformed", "failure", str(error))]


def _soft_binding(manifest: Mapping[str, Any]) -> bytes | None:
    try:
        return base64.b64decode(_assertion(manifest, SOFT_BINDING_LABEL)["blocks"][0]["value"], validate=True)
    except (TypeError, KeyError, IndexError, binascii.Error, ValueError):
        return None


def _ingredients(manifest: Mapping[str, Any]) -> Iterator[Ingredient]:
    for entry in manifest.get("ingredients", []):
        yield Ingredient(
            title=str(entry.get("title", "")),
            media_type=str(entry.get("format", "")),
            sha256=hash_from_name(str(entry.get("instance_id", ""))),
            relationship=str(entry.get("relationship", "")),
        )


def _unread(state: State, code: str, detail: str) -> CredentialsReport:
    """Of a file that no engine was given."""
    return CredentialsReport(state, (_own(code, "failure", detail),), (), engines_agree=False)


def _own(code: str, severity: Severity, detail: str = "") -> Finding:
    return Finding(code, severity, plain_words(code, detail), OURS)
