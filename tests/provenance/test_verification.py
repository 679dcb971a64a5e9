"""What a signed clip reads as, and what every change to it reads as."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from provenance import verify_clip
from tests.provenance.conftest import (
    AUDIO_SHA256,
    CONSENT_SHA256,
    DECISION_SHA256,
    NOW,
    PORTRAIT_SHA256,
    Authority,
)

WriteFile = Callable[..., Path]


def test_a_signed_clip_is_verified_by_both_engines(signed: bytes, authority: Authority, as_file: WriteFile) -> None:
    report = verify_clip(as_file(signed), authority.anchors)
    assert report.state == "verified", report.failures
    assert [engine.state for engine in report.engines] == ["verified", "verified"]
    assert report.engines_agree
    assert report.failures == ()


def test_a_report_gives_back_what_was_signed(signed: bytes, authority: Authority, as_file: WriteFile) -> None:
    report = verify_clip(as_file(signed), authority.anchors)
    assert report.manifest_id == 0xF0E1D2C3B4A59687
    assert (report.portrait_sha256, report.audio_sha256) == (PORTRAIT_SHA256, AUDIO_SHA256)
    assert (report.consent_sha256, report.decision_sha256) == (CONSENT_SHA256, DECISION_SHA256)
    assert [source.sha256 for source in report.ingredients] == [PORTRAIT_SHA256, AUDIO_SHA256]
    assert report.soft_binding_value == bytes(range(16))
    assert report.log_proof is not None
    assert report.log_proof.startswith("c2sp.org/tlog-proof@v1\n")
    assert report.signer == "Test Laboratory Claim Signing"
    assert report.signed_at is not None
    assert abs(report.signed_at - NOW) < timedelta(minutes=5)
    assert report.unhashed_bytes == 0
