"""Every state is reachable, names the evidence that decided, and never hides a conflict."""

from dataclasses import replace

import pytest

from tests.vasari.evidence import (
    OTHER_RELEASE,
    REGISTERED,
    credentials,
    detection,
    mark,
    released,
    unmarked,
)
from vasari.evidence import Evidence, LogEvidence
from vasari.verdict import State, Verdict, fold


def test_an_untouched_release_is_verified_by_its_credentials() -> None:
    verdict = fold(released())
    assert (verdict.state, verdict.decided_by, verdict.conflicts) == (State.VERIFIED_RELEASE, "credentials", ())
    assert any("entry 12" in sentence for sentence in verdict.explanation)


def test_a_stripped_release_is_known_by_its_mark() -> None:
    verdict = fold(released(credentials=credentials("absent")))
    assert (verdict.state, verdict.decided_by) == (State.CREDENTIALS_STRIPPED, "watermark")


def test_a_changed_file_has_broken_credentials_even_when_marked() -> None:
    verdict = fold(released(credentials=credentials("broken")))
    assert (verdict.state, verdict.decided_by) == (State.CREDENTIALS_BROKEN, "credentials")


def test_the_detector_decides_where_nobody_vouches() -> None:
    verdict = fold(unmarked(detector=detection("likely_synthetic", 0.93)))
    assert (verdict.state, verdict.decided_by) == (State.LIKELY_SYNTHETIC, "detector")
    assert "93%" in verdict.explanation[0]


def test_a_silent_detector_gives_no_evidence_and_says_that_this_is_no_proof() -> None:
    verdict = fold(unmarked(detector=detection("no_evidence", 0.04)))
    assert (verdict.state, verdict.decided_by) == (State.NO_EVIDENCE, "detector")
    assert "proves no authenticity" in verdict.explanation[0]


@pytest.mark.parametrize("report", [None, detection("abstained", reason="face 41 px, needs 64")])
def test_no_evidence_at_all_means_cant_tell_with_the_reason(report: object) -> None:
    verdict = fold(unmarked(detector=report))
    assert (verdict.state, verdict.decided_by) == (State.CANT_TELL, "nothing")
    assert "did not run" in verdict.explanation[0] or "face 41 px, needs 64" in verdict.explanation[0]


def test_a_valid_manifest_on_another_releases_mark_is_broken_and_a_conflict() -> None:
    verdict = fold(released(video_mark=mark("video", OTHER_RELEASE)))
    assert (verdict.state, verdict.decided_by) == (State.CREDENTIALS_BROKEN, "watermark")
    assert "0000000000000005" in " ".join(verdict.conflicts)


def test_a_failing_log_proof_breaks_valid_credentials() -> None:
    verdict = fold(released(log=LogEvidence("failed", "The log proof does not hold.")))
    assert (verdict.state, verdict.decided_by) == (State.CREDENTIALS_BROKEN, "transparency log")


def test_a_mark_on_other_content_vouches_for_nothing() -> None:
    copied = replace(REGISTERED, fingerprint_distance=0.5)
    verdict = fold(released(credentials=credentials("absent"), repository=copied))
    assert verdict.state == State.CANT_TELL
    assert "copied onto other content" in " ".join(verdict.conflicts)


def test_a_copied_mark_does_not_stop_the_detector_from_accusing() -> None:
    copied = replace(REGISTERED, fingerprint_distance=0.5)
    evidence = released(
        credentials=credentials("absent"), repository=copied, detector=detection("likely_synthetic", 0.9)
    )
    assert fold(evidence).state == State.LIKELY_SYNTHETIC


def test_a_mark_in_the_sound_alone_never_clears_the_picture() -> None:
    evidence = unmarked(audio_mark=mark("audio"), detector=detection("no_evidence", 0.1))
    verdict = fold(evidence)
    assert verdict.state == State.CANT_TELL
    assert "one of the two was replaced" in verdict.explanation[0]


def test_sound_and_picture_of_different_releases_are_a_conflict() -> None:
    verdict = fold(released(audio_mark=mark("audio", OTHER_RELEASE)))
    assert any("different releases" in sentence for sentence in verdict.conflicts)


def test_a_swapped_sound_track_on_a_stripped_release_is_a_conflict() -> None:
    verdict = fold(released(credentials=credentials("absent"), audio_mark=mark("audio", None)))
    assert verdict.state == State.CREDENTIALS_STRIPPED
    assert any("the sound was replaced" in sentence for sentence in verdict.conflicts)
    assert not fold(released(credentials=credentials("absent"))).conflicts


def test_content_added_to_a_stripped_release_is_a_conflict() -> None:
    longer = replace(REGISTERED, longer_by_s=2.8)
    verdict = fold(released(credentials=credentials("absent"), repository=longer))
    assert any("2.8 s longer" in sentence for sentence in verdict.conflicts)
    assert any(sentence.startswith("A part of the picture is the stored") for sentence in verdict.explanation)
    trimmed = replace(REGISTERED, longer_by_s=0.4)
    assert not fold(released(credentials=credentials("absent"), repository=trimmed)).conflicts


def test_disagreeing_engines_never_verify() -> None:
    verdict = fold(released(credentials=credentials("verified", engines_agree=False)))
    assert verdict.state == State.CANT_TELL
    assert any("engines disagree" in sentence for sentence in verdict.conflicts)


def test_a_strangers_manifest_on_a_marked_clip_is_a_conflict() -> None:
    verdict = fold(released(credentials=credentials("untrusted")))
    assert verdict.state == State.CREDENTIALS_STRIPPED
    assert any("does not trust" in sentence for sentence in verdict.conflicts)


def test_a_verified_manifest_without_a_readable_mark_is_a_conflict() -> None:
    verdict = fold(released(video_mark=mark("video", None), audio_mark=mark("audio", None), repository=None))
    assert verdict.state == State.VERIFIED_RELEASE
    assert any("no mark can be read" in sentence for sentence in verdict.conflicts)


def test_bytes_outside_the_signature_are_named() -> None:
    verdict = fold(released(credentials=credentials("verified", unhashed_bytes=4096)))
    assert any("4,096 bytes" in sentence for sentence in verdict.explanation)


@pytest.mark.parametrize("state", ["absent", "untrusted", "unreadable"])
def test_a_silent_detector_never_outweighs_a_mark(state: str) -> None:
    evidence = released(credentials=credentials(state), detector=detection("no_evidence", 0.01))
    assert fold(evidence).state not in (State.NO_EVIDENCE, State.VERIFIED_RELEASE)


def test_every_verdict_has_a_reason() -> None:
    verdicts: list[Verdict] = [
        fold(released()),
        fold(unmarked()),
        fold(unmarked(credentials=credentials("unreadable"))),
        fold(unmarked(detector=detection("no_evidence", 0.1))),
    ]
    assert all(verdict.explanation and all(verdict.explanation) for verdict in verdicts)


def test_what_was_not_looked_for_is_never_called_absent() -> None:
    verdict = fold(Evidence(detector=detection("no_evidence", 0.1)))
    assert "Credentials were not checked, no mark was looked for" in verdict.explanation[0]
