"""Fold three kinds of evidence on one clip into one explained verdict.

The states, in the order in which they are tried:

- *credentials broken*: a manifest is there, and it contradicts itself, the file, the mark or the log.
- *verified release*: a trusted manifest fits these bytes, both engines agree, nothing contradicts it.
- *known generator, credentials stripped*: the manifest is gone or replaced, the mark names the release.
- *likely synthetic*: nobody vouches for the clip and the detector sees traces of synthesis.
- *no evidence of synthesis*: nobody vouches for it and the detector looked and saw nothing.
- *can't tell*: the evidence is missing, or it conflicts.

The kinds of evidence keep their own state beside the verdict; there is no combined number. What doesn't fit
together is a conflict, and conflicts are always listed, whichever evidence decides.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from provenance import MATCH_DISTANCE
from vasari.checks import checks
from vasari.evidence import Evidence

WHOLE_PICTURE = 64
"""Parts of a release's picture that its fingerprint knows."""


class State(StrEnum):
    """What the evidence says, taken together."""

    VERIFIED_RELEASE = "verified_release"
    CREDENTIALS_STRIPPED = "known_generator_credentials_stripped"
    CREDENTIALS_BROKEN = "credentials_broken"
    LIKELY_SYNTHETIC = "likely_synthetic"
    NO_EVIDENCE = "no_evidence_of_synthesis"
    CANT_TELL = "cant_tell"


TITLES = {
    State.VERIFIED_RELEASE: "Verified release",
    State.CREDENTIALS_STRIPPED: "Known generator, credentials stripped",
    State.CREDENTIALS_BROKEN: "Credentials broken",
    State.LIKELY_SYNTHETIC: "Likely synthetic",
    State.NO_EVIDENCE: "No evidence of synthesis",
    State.CANT_TELL: "Can't tell",
}

CONCERN = (
    State.CREDENTIALS_BROKEN,
    State.LIKELY_SYNTHETIC,
    State.CREDENTIALS_STRIPPED,
    State.CANT_TELL,
    State.NO_EVIDENCE,
    State.VERIFIED_RELEASE,
)
"""The states as a reviewer wants to see them: what needs a look first."""

_WEIGHTY = ("watermark", "made from")
"""Checks whose failure no engine sees."""

DecidedBy = Literal["credentials", "watermark", "transparency log", "detector", "nothing"]


@dataclass(frozen=True)
class Verdict:
    """One state, what decided it, and why, in sentences."""

    state: State
    decided_by: DecidedBy
    explanation: tuple[str, ...]
    conflicts: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """The state as people read it."""
        return TITLES[self.state]


def fold(evidence: Evidence) -> Verdict:
    """The verdict on `evidence`. Pure: equal evidence gives an equal verdict."""
    conflicts = _conflicts(evidence)
    for judge in (_broken, _verified, _stripped, _detected):
        ruling = judge(evidence)
        if ruling is not None:
            state, decided_by, reason = ruling
            return Verdict(state, decided_by, (reason, *_notes(evidence, decided_by)), conflicts)
    return Verdict(State.CANT_TELL, "nothing", (_why_open(evidence), *_notes(evidence, "nothing")), conflicts)


Ruling = tuple[State, DecidedBy, str]


def _broken(evidence: Evidence) -> Ruling | None:
    credentials = evidence.credentials
    if credentials is None:
        return None
    if credentials.state == "broken":
        reason = "The manifest does not fit this file: it was changed after signing."
        return State.CREDENTIALS_BROKEN, "credentials", reason
    if credentials.state != "verified":
        return None
    if evidence.log.state == "failed":
        return State.CREDENTIALS_BROKEN, "transparency log", evidence.log.explanation
    if _other_clips_mark(evidence):
        reason = "The manifest is valid, but the clip carries the mark of another release."
        return State.CREDENTIALS_BROKEN, "watermark", reason
    return None


def _verified(evidence: Evidence) -> Ruling | None:
    credentials = evidence.credentials
    if credentials is None or credentials.state != "verified" or not credentials.engines_agree:
        return None
    signer = credentials.signer or "a trusted signer"
    reason = f"Signed by {signer}, unchanged since; every engine agrees."
    return State.VERIFIED_RELEASE, "credentials", reason


def _stripped(evidence: Evidence) -> Ruling | None:
    repository = evidence.repository
    marked_id = evidence.video_id if evidence.video_id is not None else evidence.audio_id
    if marked_id is None or (evidence.credentials is not None and evidence.credentials.state == "verified"):
        return None
    same = repository.same_content if repository is not None else None
    if same is False:
        return None  # a copied mark vouches for nothing
    if evidence.video_id is None and same is not True:
        return None  # the sound alone says nothing about the picture
    reason = f"The watermark names release {marked_id:016x}; the credentials that belong to it are missing."
    return State.CREDENTIALS_STRIPPED, "watermark", reason


def _detected(evidence: Evidence) -> Ruling | None:
    report = evidence.detector
    if report is None or report.state == "abstained":
        return None
    if report.state == "likely_synthetic":
        reason = "The detector sees traces of synthesis."
        if report.probability is not None:
            reason = f"The detector sees traces of synthesis (calibrated probability {report.probability:.0%})."
        return State.LIKELY_SYNTHETIC, "detector", reason
    if _undecided_credentials(evidence) or evidence.video_id is not None or evidence.audio_id is not None:
        return None  # contradicting evidence is there: silence of the detector must not clear the clip
    reason = f"{_nobody_vouches(evidence)}, and the detector found no trace of synthesis. This proves no authenticity."
    return State.NO_EVIDENCE, "detector", reason


def _nobody_vouches(evidence: Evidence) -> str:
    credentials, looked = evidence.credentials, evidence.video_mark is not None
    trusted = "Credentials were not checked" if credentials is None else "No trusted credentials"
    if credentials is not None and credentials.state == "absent":
        trusted = "No credentials"
    return f"{trusted}, {'no mark' if looked else 'no mark was looked for'}"


def _undecided_credentials(evidence: Evidence) -> bool:
    credentials = evidence.credentials
    return credentials is not None and credentials.state in ("verified", "unreadable")


def _why_open(evidence: Evidence) -> str:
    if evidence.repository is not None and evidence.repository.same_content is False:
        return (
            "The watermark names a release, but the picture is not that release's, frame for frame: too little of it "
            "is shown, it was painted over, or the mark was copied onto other content. Compare it with the registered "
            "clip."
        )
    if evidence.video_id is None and evidence.audio_id is not None:
        return "The sound carries the mark of a release, the picture does not: one of the two was replaced."
    if _undecided_credentials(evidence):
        return "The credentials can't be judged, and no other evidence decides."
    if evidence.detector is None:
        return f"{_nobody_vouches(evidence)}, and the detector did not run."
    return f"{_nobody_vouches(evidence)}, and the detector abstained: {evidence.detector.reason or 'no reason given'}."


def _conflicts(evidence: Evidence) -> tuple[str, ...]:
    """Each pair of facts that can't both be right, or that a reviewer must weigh."""
    found: list[str] = []
    credentials = evidence.credentials
    if credentials is not None and credentials.state in ("verified", "broken") and not credentials.engines_agree:
        found.append("The verification engines disagree about the manifest; see the findings of each.")
    found += [check.answer for check in checks(evidence) if check.state == "failed" and check.name in _WEIGHTY]
    if evidence.video_id is not None and evidence.audio_id not in (None, evidence.video_id):
        found.append(
            f"Picture and sound carry marks of different releases ({evidence.video_id:016x} and "
            f"{evidence.audio_id:016x}): one of the two was replaced."
        )
    if evidence.video_id is not None and evidence.audio_mark is not None and evidence.audio_id is None:
        found.append(
            "The picture carries the mark of a release, the sound carries none, though every release marks both: "
            "the sound was replaced or changed beyond recognition. Do not trust what is said in it."
        )
    repository = evidence.repository
    if repository is not None and repository.same_content is False:
        found.append(
            f"The mark names release {repository.manifest_id:016x}, but the picture is not that release's "
            f"(fingerprint distance {repository.fingerprint_distance:.2f}, same clip up to {MATCH_DISTANCE:.2f}): "
            "too little of it is shown, it was painted over, or the mark was copied onto other content."
        )
    if repository is not None and repository.same_content and repository.alignment and repository.alignment.changed:
        places = ", ".join(f"{start:.1f} to {end:.1f} s" for start, end in repository.alignment.changed[:5])
        found.append(
            f"The pictures differ from release {repository.manifest_id:016x} at {places}: that stretch was changed."
        )
    if repository is not None and repository.only_a_part:
        found.append(
            f"The clip is {repository.longer_by_s:.1f} s longer than release {repository.manifest_id:016x}: "
            "that much was added, and nothing vouches for it."
        )
    if credentials is not None and credentials.state == "untrusted" and evidence.video_id is not None:
        found.append("The mark is this authority's, the manifest is signed by someone it does not trust.")
    if credentials is not None and credentials.state == "verified" and _looked_but_unmarked(evidence):
        found.append("Releases are marked before they are signed, but no mark can be read with the known keys.")
    return tuple(found)


def _notes(evidence: Evidence, decided_by: DecidedBy) -> tuple[str, ...]:
    """What the kinds of evidence that did not decide have to add, one sentence each."""
    notes = [
        _credentials_note(evidence) if decided_by != "credentials" else _unhashed_note(evidence),
        _mark_note(evidence) if decided_by != "watermark" else "",
        _repository_note(evidence),
        *_recovery_notes(evidence),
        evidence.damage,
        evidence.log.explanation if evidence.log.state in ("proved", "absent") else "",
        _detector_note(evidence) if decided_by not in ("detector", "nothing") else "",
    ]
    return tuple(note for note in notes if note)


def _credentials_note(evidence: Evidence) -> str:
    if evidence.credentials is None:
        return ""
    return {
        "verified": "A trusted manifest fits these bytes.",
        "untrusted": "A manifest is there, but its signer is not trusted here.",
        "broken": "The manifest does not fit this file.",
        "absent": "The file carries no credentials.",
        "unreadable": "The file's credentials can't be read.",
    }[evidence.credentials.state]


def _unhashed_note(evidence: Evidence) -> str:
    count = evidence.credentials.unhashed_bytes if evidence.credentials is not None else None
    return f"{count:,} bytes of the file are not covered by the signature." if count else ""


def _mark_note(evidence: Evidence) -> str:
    if evidence.video_id is not None and evidence.audio_id is not None:
        return "The watermark is readable in picture and sound."
    if evidence.video_id is not None:
        return "The watermark is readable in the picture" + (
            ", not in the sound." if evidence.audio_mark is not None else "."
        )
    if evidence.audio_id is not None:
        return "The watermark is readable in the sound, not in the picture."
    return "No watermark was found." if _looked_but_unmarked(evidence) else ""


def _repository_note(evidence: Evidence) -> str:
    repository = evidence.repository
    if repository is None:
        return ""
    if not repository.registered:
        return f"The repository holds no manifest for release {repository.manifest_id:016x}."
    if repository.same_content:
        whose = "A part of the picture is" if repository.only_a_part else "The picture is"
        return (
            f"{whose} the stored release's (fingerprint distance {repository.fingerprint_distance:.2f}, "
            f"same clip up to {MATCH_DISTANCE:.2f})."
        )
    return ""


def _recovery_notes(evidence: Evidence) -> list[str]:
    """What the registered manifest of a stripped clip says, and where the clip lies in it."""
    repository, credentials = evidence.repository, evidence.credentials
    if repository is None or not repository.registered or (credentials and credentials.state == "verified"):
        return []
    recovered, alignment = repository.recovered, repository.alignment
    if recovered is None:
        return ["The registered manifest does not hold any more: it was damaged or changed in the repository."]
    trust = "a signer on your list" if recovered.trusted else "a signer that is not on your list"
    when = f" at {recovered.signed_at:%Y-%m-%d %H:%M} UTC" if recovered.signed_at else ""
    notes = [f"The registered manifest was signed by {recovered.signer or 'nobody named'}{when}, {trust}; it is whole."]
    if repository.recovered_log is not None and repository.recovered_log.state != "not_checked":
        notes.append(repository.recovered_log.explanation)
    if alignment is not None and repository.same_content:
        levels = [level for _, level in alignment.differences]
        notes.append(
            f"The clip covers {alignment.overlap_s:.1f} s of the release, from second "
            f"{max(0.0, alignment.start_s):.1f} on; its pictures differ by {sum(levels) / len(levels):.1f} grey levels "
            f"in the mean, {max(levels):.1f} at most."
        )
        if alignment.cells < WHOLE_PICTURE:
            notes.append(
                f"It shows a part of the release's picture, as the mark says where it lies: {alignment.cells} of its "
                f"{WHOLE_PICTURE} parts could be compared; nothing is known of what the rest showed."
            )
    return notes


def _detector_note(evidence: Evidence) -> str:
    report = evidence.detector
    if report is None:
        return ""
    return {
        "likely_synthetic": "The detector, too, sees traces of synthesis.",
        "no_evidence": "The detector saw no trace of synthesis; the stronger evidence decides.",
        "abstained": f"The detector abstained: {report.reason}.",
    }[report.state]


def _other_clips_mark(evidence: Evidence) -> bool:
    """A valid manifest, and a mark or a soft binding that names another release."""
    credentials = evidence.credentials
    failed = {check.name for check in checks(evidence) if check.state == "failed"}
    return credentials is not None and credentials.state == "verified" and "watermark" in failed


def _looked_but_unmarked(evidence: Evidence) -> bool:
    return evidence.video_mark is not None and evidence.video_id is None and evidence.audio_id is None
