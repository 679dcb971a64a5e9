"""What must never read as a verified release, each case with a real clip and by its own name."""

import hashlib
import io
import struct
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from media import MediaError
from provenance import CredentialsReport, TrustAnchors, revoke_certificate, verify_clip
from provenance.bmff_boxes import top_level_boxes
from tests.provenance.conftest import NOW, Authority, make_authority, make_clip, sign, sign_elsewhere
from tests.vasari.evidence import PROVED, mark
from vasari.checks import Check, checks
from vasari.clip_audit import ClipAuditor
from vasari.evidence import Evidence
from vasari.verdict import State, Verdict, fold

RELEASE = 0x1122334455667788
OURS = {"manifest_id": RELEASE, "soft_binding_value": RELEASE.to_bytes(8, "big")}
LATER = NOW + timedelta(days=800)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("authority") / "pki")


@pytest.fixture(scope="module")
def clip() -> bytes:
    return make_clip()


@pytest.fixture(scope="module")
def release(clip: bytes, authority: Authority) -> bytes:
    return sign(clip, authority, **OURS)


@pytest.fixture
def judge(tmp_path: Path, authority: Authority) -> Callable[..., tuple[Verdict, dict[str, Check], CredentialsReport]]:
    """Everything about the clip is in favour of it but what the test changes."""

    def run(
        content: bytes, *, anchors: TrustAnchors | None = None, marked: int = RELEASE, at: object = None
    ) -> tuple[Verdict, dict[str, Check], CredentialsReport]:
        path = tmp_path / "clip.mp4"
        path.write_bytes(content)
        report = verify_clip(path, anchors or authority.anchors, validation_time=at)  # type: ignore[arg-type]
        evidence = Evidence(report, video_mark=mark("video", marked), audio_mark=mark("audio", marked), log=PROVED)
        return fold(evidence), {check.name: check for check in checks(evidence)}, report

    return run


Judge = Callable[..., tuple[Verdict, dict[str, Check], CredentialsReport]]


def box(kind: bytes, payload: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(payload), kind) + payload


def flip(content: bytes, offset: int) -> bytes:
    changed = bytearray(content)
    changed[offset] ^= 1
    return bytes(changed)


def in_pictures(content: bytes) -> int:
    return next(b.offset for b in top_level_boxes(io.BytesIO(content)) if b.kind == "mdat") + 100


def test_the_release_itself_is_green_and_every_question_is_answered(release: bytes, judge: Judge) -> None:
    verdict, answers, _ = judge(release)
    assert verdict.state is State.VERIFIED_RELEASE
    assert verdict.conflicts == ()
    told = {name: check.state for name, check in answers.items()}
    assert told == dict.fromkeys(
        (
            "integrity",
            "trust",
            "purpose",
            "time stamp",
            "freshness",
            "sources",
            "coverage",
            "engines",
            "log",
            "watermark",
        ),
        "passed",
    ) | dict.fromkeys(("revocation", "made from", "content"), "not checked")


def test_a_clean_edit_over_a_tampered_parent(release: bytes, clip: bytes, authority: Authority, judge: Judge) -> None:
    tampered = flip(release, in_pictures(release))
    laundered = sign_elsewhere(clip, "video/mp4", authority.identity, parent=tampered, time_stamped=True)
    verdict, answers, report = judge(laundered)
    assert verdict.state is State.CREDENTIALS_BROKEN
    assert answers["sources"].state == "failed"
    assert "15.12" in answers["sources"].clause
    assert [(step.title, step.state) for step in report.sources if step.depth == 0] == [("parent", "failed")]


def test_a_tampered_grandparent_under_two_clean_edits(
    release: bytes, clip: bytes, authority: Authority, judge: Judge
) -> None:
    tampered = flip(release, in_pictures(release))
    once = sign_elsewhere(clip, "video/mp4", authority.identity, parent=tampered, time_stamped=True)
    twice = sign_elsewhere(clip, "video/mp4", authority.identity, parent=once, time_stamped=True)
    verdict, answers, report = judge(twice)
    assert verdict.state is State.CREDENTIALS_BROKEN
    assert answers["sources"].state == "failed"
    assert max(step.depth for step in report.sources) == 2


@pytest.mark.parametrize("kind", [b"free", b"skip"])
def test_data_hidden_in_a_padding_box(
    kind: bytes, release: bytes, clip: bytes, authority: Authority, judge: Judge
) -> None:
    foreign = sign_elsewhere(clip, "video/mp4", authority.identity, exclude_padding=True, time_stamped=True)
    for file in (release, foreign):
        verdict, _, _ = judge(file + box(kind, b"hidden content"))
        assert verdict.state is State.CREDENTIALS_BROKEN
    verdict, answers, report = judge(foreign + box(kind, b"hidden content"))
    assert answers["coverage"].state == "failed"
    assert f"22 bytes in the {kind.decode()} box at byte {len(foreign)}" in answers["coverage"].answer
    assert report.uncovered[-1].offset == len(foreign)


def test_data_in_an_unhashed_range(clip: bytes, authority: Authority, judge: Judge) -> None:
    foreign = sign_elsewhere(clip, "video/mp4", authority.identity, time_stamped=True)
    verdict, answers, _ = judge(foreign + box(b"mfra", box(b"free", b"hidden content")))
    assert verdict.state is State.CREDENTIALS_BROKEN
    assert answers["coverage"].state == "failed"
    assert "18.6" in answers["coverage"].clause


def test_a_changed_claim_label(release: bytes, judge: Judge) -> None:
    verdict, answers, _ = judge(flip(release, release.index(b"c2pa.claim.v2\0")))
    assert verdict.state is State.CREDENTIALS_BROKEN
    assert answers["integrity"].state == "failed"


def test_a_signer_trusted_only_as_a_time_stamping_authority(
    release: bytes, authority: Authority, judge: Judge, tmp_path: Path
) -> None:
    stranger = make_authority(tmp_path / "stranger", "Stranger")
    leaking = TrustAnchors(manifest_pem=stranger.anchors.manifest_pem, tsa_pem=authority.anchors.manifest_pem)
    verdict, answers, report = judge(release, anchors=leaking)
    assert verdict.state is not State.VERIFIED_RELEASE
    assert report.state == "untrusted"
    assert answers["purpose"].state == "failed"
    assert "14.4" in answers["purpose"].clause


def test_an_expired_signer_without_time_stamp(clip: bytes, authority: Authority, judge: Judge) -> None:
    unstamped = sign_elsewhere(clip, "video/mp4", authority.identity)
    verdict, answers, _ = judge(unstamped, at=LATER)
    assert verdict.state is not State.VERIFIED_RELEASE
    assert answers["time stamp"].state == "failed"


def test_a_revoked_signer_without_time_stamp(clip: bytes, judge: Judge, tmp_path: Path) -> None:
    laboratory = make_authority(tmp_path / "pki")
    unstamped = sign_elsewhere(clip, "video/mp4", laboratory.identity)
    revoke_certificate(laboratory.folder, "claim_signing", reason="superseded", now=NOW)
    verdict, answers, _ = judge(
        unstamped, anchors=TrustAnchors.from_folder(laboratory.folder), at=NOW + timedelta(hours=1)
    )
    assert verdict.state is not State.VERIFIED_RELEASE
    assert answers["revocation"].state == "failed"
    assert "5280" in answers["revocation"].clause


def test_a_revoked_and_expired_signer_without_time_stamp(clip: bytes, judge: Judge, tmp_path: Path) -> None:
    laboratory = make_authority(tmp_path / "pki")
    unstamped = sign_elsewhere(clip, "video/mp4", laboratory.identity)
    revoke_certificate(laboratory.folder, "claim_signing", reason="key-compromise", now=NOW)
    verdict, answers, _ = judge(unstamped, anchors=TrustAnchors.from_folder(laboratory.folder), at=LATER)
    assert verdict.state is not State.VERIFIED_RELEASE
    assert answers["time stamp"].state == "failed"
    assert answers["revocation"].state != "passed"


def test_the_manifest_of_another_clip(release: bytes, authority: Authority, judge: Judge) -> None:
    other = make_clip(seed=1)
    boxes = top_level_boxes(io.BytesIO(release))
    credentials = next(b for b in boxes if b.is_c2pa)
    head = boxes[0].length
    stolen = release[credentials.offset : credentials.offset + credentials.length]
    verdict, answers, _ = judge(other[:head] + stolen + other[head:])
    assert verdict.state is State.CREDENTIALS_BROKEN
    assert answers["integrity"].state == "failed"


def test_a_mark_that_names_another_manifest(release: bytes, judge: Judge) -> None:
    verdict, answers, _ = judge(release, marked=RELEASE + 1)
    assert (verdict.state, verdict.decided_by) == (State.CREDENTIALS_BROKEN, "watermark")
    assert answers["watermark"].state == "failed"
    assert f"{RELEASE + 1:016x}" in answers["watermark"].answer


def test_a_soft_binding_that_names_another_release_than_the_record(
    clip: bytes, authority: Authority, judge: Judge
) -> None:
    twisted = sign(clip, authority, manifest_id=RELEASE, soft_binding_value=(RELEASE + 1).to_bytes(8, "big"))
    verdict, answers, _ = judge(twisted)
    assert (verdict.state, verdict.decided_by) == (State.CREDENTIALS_BROKEN, "watermark")
    assert "differ" in answers["watermark"].answer


def test_sound_of_another_release_under_a_valid_manifest(release: bytes, authority: Authority, tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(release)
    report = verify_clip(path, authority.anchors)
    evidence = Evidence(report, video_mark=mark("video", RELEASE), audio_mark=mark("audio", 5), log=PROVED)
    assert fold(evidence).state is State.CREDENTIALS_BROKEN


def test_a_portrait_that_the_release_does_not_name_is_a_failed_check_and_a_conflict(
    release: bytes, authority: Authority, tmp_path: Path
) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(release)
    report = verify_clip(path, authority.anchors)
    assert report.portrait_sha256 is not None
    right = Evidence(report, given={"portrait": report.portrait_sha256})
    wrong = replace(right, given={"portrait": "0" * 64})
    assert {check.name: check.state for check in checks(right)}["made from"] == "passed"
    assert {check.name: check.state for check in checks(wrong)}["made from"] == "failed"
    assert any("Not what the release names" in conflict for conflict in fold(wrong).conflicts)


def test_every_finding_names_its_clause_and_says_what_it_means(
    release: bytes, authority: Authority, tmp_path: Path
) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(flip(release, in_pictures(release)))
    findings = verify_clip(path, authority.anchors).findings
    assert len(findings) > 10
    for finding in findings:
        assert finding.clause
        assert finding.meaning.endswith(".")
        assert finding.meaning != "A check of the credentials has this result.", finding.code


def test_a_clip_that_is_swapped_for_another_one_while_it_is_read(
    clip: bytes, release: bytes, authority: Authority, tmp_path: Path
) -> None:
    """Its SHA-256 would be that of one file, its evidence another's."""
    path, other = tmp_path / "clip.mp4", tmp_path / "other.mp4"
    path.write_bytes(clip)
    other.write_bytes(release)
    auditor = ClipAuditor(authority.anchors)
    with pytest.raises(MediaError, match="changed while it was read"):
        auditor.audit(path, progress=lambda _seconds: other.exists() and other.replace(path))
    assert auditor.audit(path).sha256 == hashlib.sha256(release).hexdigest()
