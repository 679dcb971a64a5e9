"""Signing fails closed, keeps its key, and says what went wrong."""

import dataclasses
import io
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from provenance import CertificateError, ProvenanceError, SettingsError, SigningError, SigningIdentity, sign_clip
from provenance.engine_settings import EngineSettings
from provenance.time_stamping import TimeStampAuthority
from tests.provenance.conftest import NOW, Authority, make_authority, make_manifest


class BrokenKeyError(Exception):
    """Raised by a key that can't sign."""


def test_the_returned_store_is_the_one_in_the_clip(clip: bytes, authority: Authority) -> None:
    sink = io.BytesIO()
    store = sign_clip(io.BytesIO(clip), sink, make_manifest(), authority.identity)
    assert store in sink.getvalue()
    assert sink.tell() == 0


def test_an_error_of_the_key_reaches_the_caller(
    clip: bytes, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: SigningIdentity, message: bytes) -> bytes:
        raise BrokenKeyError("the token was pulled out")

    monkeypatch.setattr(SigningIdentity, "sign", refuse)
    sink = io.BytesIO()
    with pytest.raises(SigningError, match="the token was pulled out") as caught:
        sign_clip(io.BytesIO(clip), sink, make_manifest(), authority.identity)
    assert isinstance(caught.value.__cause__, BrokenKeyError)
    assert sink.getvalue() == b""


def test_a_key_that_does_not_fit_the_certificate_leaves_nothing_behind(clip: bytes, authority: Authority) -> None:
    other = dataclasses.replace(authority.identity, key=ec.generate_private_key(ec.SECP256R1()))
    sink = io.BytesIO()
    with pytest.raises(SigningError):
        sign_clip(io.BytesIO(clip), sink, make_manifest(), other)
    assert sink.getvalue() == b""


def test_an_identity_outside_its_own_anchors_is_refused(clip: bytes, authority: Authority, tmp_path: Path) -> None:
    stranger = make_authority(tmp_path / "stranger", "Stranger")
    mixed = dataclasses.replace(authority.identity, anchors=stranger.anchors)
    sink = io.BytesIO()
    with pytest.raises(SigningError, match="expected Trusted"):
        sign_clip(io.BytesIO(clip), sink, make_manifest(), mixed)
    assert sink.getvalue() == b""


def test_a_time_stamp_of_an_unknown_authority_is_refused(clip: bytes, authority: Authority, tmp_path: Path) -> None:
    stranger = make_authority(tmp_path / "stranger", "Stranger")
    mixed = dataclasses.replace(authority.identity, time_stamps=stranger.identity.time_stamps)
    with pytest.raises(SigningError, match="time-stamped"):
        sign_clip(io.BytesIO(clip), io.BytesIO(), make_manifest(), mixed)


def test_a_time_stamping_authority_that_fails_stops_the_signing(
    clip: bytes, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: TimeStampAuthority, request: bytes, *, now: object) -> bytes:
        return b"no time stamp"

    monkeypatch.setattr(TimeStampAuthority, "answer", fail)
    sink = io.BytesIO()
    with pytest.raises(SigningError):
        sign_clip(io.BytesIO(clip), sink, make_manifest(), authority.identity)
    assert sink.getvalue() == b""


def test_an_expired_certificate_is_named_before_signing(clip: bytes, tmp_path: Path) -> None:
    old = make_authority(tmp_path / "old", now=NOW - timedelta(days=400))
    with pytest.raises(CertificateError, match="valid_now"):
        sign_clip(io.BytesIO(clip), io.BytesIO(), make_manifest(), old.identity)


@pytest.mark.parametrize("content", [b"", b"no MP4 at all", b"\0\0\0\x18ftypisom" + bytes(12)])
def test_what_is_no_clip_is_not_signed(content: bytes, authority: Authority) -> None:
    sink = io.BytesIO()
    with pytest.raises(ProvenanceError):
        sign_clip(io.BytesIO(content), sink, make_manifest(), authority.identity)
    assert sink.getvalue() == b""


def test_a_signed_clip_is_not_signed_again(signed: bytes, authority: Authority) -> None:
    with pytest.raises(SigningError, match="unsigned MP4"):
        sign_clip(io.BytesIO(signed), io.BytesIO(), make_manifest(), authority.identity)


def test_a_sink_that_can_not_be_read_back_is_refused(clip: bytes, authority: Authority, tmp_path: Path) -> None:
    with (tmp_path / "out.mp4").open("wb") as sink, pytest.raises(SigningError, match="w\\+b"):
        sign_clip(io.BytesIO(clip), sink, make_manifest(), authority.identity)


def test_a_private_key_never_shows_in_text(authority: Authority) -> None:
    assert "PRIVATE" not in repr(authority.identity)
    assert "key=" not in repr(authority.identity)


def test_an_unknown_engine_setting_is_an_error_with_a_suggestion() -> None:
    with pytest.raises(SettingsError, match="hash_free_and_skip_boxes"):
        EngineSettings.from_mapping({"hash_free_and_skip_box": True})
    with pytest.raises(SettingsError, match="must be"):
        EngineSettings.from_mapping({"verify_after_sign": "yes"})
    assert EngineSettings.from_mapping({"verify_after_sign": True}).verify_after_sign


def test_every_engine_setting_keeps_the_network_off_and_verification_on() -> None:
    for settings in (EngineSettings(), EngineSettings(verify_after_sign=True, hash_free_and_skip_boxes=False)):
        document = settings.as_dict()
        assert document["core"] == {"allowed_network_hosts": []}
        verify = document["verify"]
        assert isinstance(verify, dict)
        assert not verify["remote_manifest_fetch"]
        assert not verify["ocsp_fetch"]
        assert verify["verify_after_reading"]
        assert verify["verify_trust"]


def test_anchors_that_are_no_certificates_are_refused() -> None:
    with pytest.raises(SettingsError):
        EngineSettings(manifest_anchors_pem="no certificate")
