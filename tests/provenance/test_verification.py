"""What a signed clip reads as, and what every change to it reads as."""

import io
import struct
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import provenance.engine_encypher
import provenance.verification
from provenance import CertificateError, CredentialsReport, TrustAnchors, verify_clip
from provenance.bmff_boxes import C2PA_BOX_ID, MAX_BOXES, Box, top_level_boxes
from tests.provenance.conftest import (
    AUDIO_SHA256,
    CONSENT_SHA256,
    DECISION_SHA256,
    NOW,
    PORTRAIT_SHA256,
    Authority,
    make_authority,
    make_clip,
    sign,
    sign_elsewhere,
)

WriteFile = Callable[..., Path]


def box_of(content: bytes, kind: str) -> Box:
    return next(box for box in top_level_boxes(io.BytesIO(content)) if box.kind == kind)


def flip(content: bytes, offset: int) -> bytes:
    changed = bytearray(content)
    changed[offset] ^= 1
    return bytes(changed)


def box(kind: bytes, payload: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(payload), kind) + payload


def codes(report: CredentialsReport, severity: str = "failure") -> set[str]:
    return {finding.code for finding in report.findings if finding.severity == severity}


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
    assert NOW - timedelta(seconds=1) < report.signed_at <= datetime.now(UTC)
    assert report.unhashed_bytes == 0


TAMPERED: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "a byte of picture data": (lambda c: flip(c, box_of(c, "mdat").offset + 100), "assertion.bmffHash.mismatch"),
    "a byte of the index": (lambda c: flip(c, box_of(c, "moov").offset + 200), "assertion.bmffHash.mismatch"),
    "cut at the end": (lambda c: c[:-50], "vasari.containerDamaged"),
    "cut in the credentials": (lambda c: c[: len(c) // 3], "vasari.containerDamaged"),
    "garbage appended": (lambda c: c + b"garbage, garbage", "vasari.containerDamaged"),
    "an unknown box appended": (lambda c: c + box(b"junk", b"hidden"), "assertion.bmffHash.mismatch"),
    "a free box appended": (lambda c: c + box(b"free", b"hidden content"), "assertion.bmffHash.mismatch"),
    "an empty free box appended": (lambda c: c + box(b"free", b""), "assertion.bmffHash.mismatch"),
    "a skip box appended": (lambda c: c + box(b"skip", b"hidden content"), "assertion.bmffHash.mismatch"),
    "an mfra box appended": (lambda c: c + box(b"mfra", b"hidden content"), "assertion.bmffHash.mismatch"),
    "the minor version in ftyp": (lambda c: flip(c, 15), "vasari.unhashedBytesChanged"),
    "a brand in ftyp": (lambda c: flip(c, 20), "vasari.unhashedBytesChanged"),
    "a second credentials box": (
        lambda c: c + box(b"uuid", C2PA_BOX_ID + b"hidden content" * 3),
        "vasari.extraCredentialsBox",
    ),
    "a byte of an assertion": (lambda c: flip(c, c.index(CONSENT_SHA256.encode())), "assertion.hashedURI.mismatch"),
    "an assertion's label": (lambda c: flip(c, c.index(b"org.vasari.release\0")), "assertion.undeclared"),
    "the claim's label": (lambda c: flip(c, c.index(b"c2pa.claim.v2\0")), "vasari.manifestBoxMalformed"),
    "a byte of the claim": (lambda c: flip(c, c.index(b"c2pa.claim.v2\0") + 60), "claimSignature.mismatch"),
    "the padding of the signature": (
        lambda c: flip(c, box_of(c, "uuid").offset + box_of(c, "uuid").length - 400),
        "vasari.manifestBoxMalformed",
    ),
    "a byte of the time stamp": (lambda c: flip(c, c.index(b"sigTst2") + 700), "vasari.notTimeStamped"),
}


@pytest.mark.parametrize("change", TAMPERED)
def test_a_changed_clip_is_never_verified(change: str, signed: bytes, authority: Authority, as_file: WriteFile) -> None:
    tamper, code = TAMPERED[change]
    report = verify_clip(as_file(tamper(signed)), authority.anchors)
    assert report.state in ("broken", "untrusted"), report
    assert code in codes(report)


def time_stamp_of(signed: bytes) -> range:
    start = signed.index(b"0\x82", signed.index(b"sigTst2"))
    return range(start, start + 4 + int.from_bytes(signed[start + 2 : start + 4], "big"))


def test_no_byte_of_the_credentials_box_can_change_unnoticed(
    signed: bytes, authority: Authority, as_file: WriteFile
) -> None:
    credentials, stamp = box_of(signed, "uuid"), time_stamp_of(signed)
    outside = [at for at in range(credentials.offset, credentials.offset + credentials.length) if at not in stamp]
    green = [
        int(at) - credentials.offset
        for at in np.random.default_rng(7).choice(outside, 60, replace=False)
        if verify_clip(as_file(flip(signed, int(at))), authority.anchors).state == "verified"
    ]
    assert green == []


def test_a_changed_time_stamp_never_tells_another_time(signed: bytes, authority: Authority, as_file: WriteFile) -> None:
    true_time = verify_clip(as_file(signed), authority.anchors).signed_at
    for at in np.random.default_rng(8).choice(list(time_stamp_of(signed)), 40, replace=False):
        report = verify_clip(as_file(flip(signed, int(at))), authority.anchors)
        assert report.state != "verified" or report.signed_at == true_time


def test_an_unsigned_clip_has_no_credentials(clip: bytes, authority: Authority, as_file: WriteFile) -> None:
    report = verify_clip(as_file(clip), authority.anchors)
    assert report.state == "absent"
    assert report.engines_agree
    assert report.manifest_id is None


def test_a_stream_copy_loses_the_credentials(
    signed: bytes, authority: Authority, as_file: WriteFile, tmp_path: Path
) -> None:
    copied = tmp_path / "copied.mp4"
    with av.open(io.BytesIO(signed)) as source, av.open(str(copied), "w") as sink:
        stream = sink.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                sink.mux(packet)
    assert verify_clip(copied, authority.anchors).state == "absent"


@pytest.mark.parametrize("content", [b"", b"no media at all, just text", b"\xff\xd8\xff" + b"1" * 50])
def test_what_is_no_media_is_unreadable(content: bytes, authority: Authority, as_file: WriteFile) -> None:
    assert verify_clip(as_file(content), authority.anchors).state == "unreadable"


def test_a_missing_file_is_unreadable(authority: Authority, tmp_path: Path) -> None:
    assert verify_clip(tmp_path / "none.mp4", authority.anchors).state == "unreadable"


def test_a_foreign_signer_is_untrusted(signed: bytes, as_file: WriteFile, tmp_path: Path) -> None:
    stranger = make_authority(tmp_path / "stranger", "Stranger")
    report = verify_clip(as_file(signed), stranger.anchors)
    assert report.state == "untrusted"
    assert "signingCredential.untrusted" in codes(report)
    assert report.signed_at is None


def test_an_anchor_for_time_stamps_vouches_for_no_claim(
    signed: bytes, authority: Authority, as_file: WriteFile, tmp_path: Path
) -> None:
    stranger = make_authority(tmp_path / "stranger", "Stranger")
    leaking = TrustAnchors(manifest_pem=stranger.anchors.manifest_pem, tsa_pem=authority.anchors.manifest_pem)
    report = verify_clip(as_file(signed), leaking)
    assert report.state == "untrusted"
    assert "vasari.signerNotOnClaimList" in codes(report)


def test_an_anchor_for_claims_vouches_for_no_time_stamp(
    signed: bytes, authority: Authority, as_file: WriteFile, tmp_path: Path
) -> None:
    stranger = make_authority(tmp_path / "stranger", "Stranger")
    both = authority.anchors.manifest_pem + authority.anchors.tsa_pem
    report = verify_clip(as_file(signed), TrustAnchors(manifest_pem=both, tsa_pem=stranger.anchors.tsa_pem))
    assert report.state != "verified"
    assert report.signed_at is None


def test_one_certificate_in_both_lists_is_refused(authority: Authority) -> None:
    with pytest.raises(CertificateError, match="both"):
        TrustAnchors(manifest_pem=authority.anchors.manifest_pem, tsa_pem=authority.anchors.manifest_pem)


def test_a_clean_edit_over_a_tampered_parent_is_broken(
    signed: bytes, clip: bytes, authority: Authority, as_file: WriteFile
) -> None:
    tampered = flip(signed, box_of(signed, "mdat").offset + 100)
    laundered = sign_elsewhere(clip, "video/mp4", authority.identity, parent=tampered)
    report = verify_clip(as_file(laundered), authority.anchors)
    assert report.state == "broken"
    assert "assertion.bmffHash.mismatch" in codes(report)
    assert not report.engines_agree


def test_another_products_clip_is_verified_with_its_unhashed_bytes_named(
    clip: bytes, authority: Authority, as_file: WriteFile
) -> None:
    other = sign_elsewhere(clip, "video/mp4", authority.identity, time_stamped=True)
    report = verify_clip(as_file(other), authority.anchors)
    assert report.state == "verified", report.failures
    assert report.unhashed_bytes == box_of(other, "ftyp").length
    assert "vasari.unhashedBytes" in codes(report, "warning")


def test_content_hidden_in_an_excluded_free_box_is_broken(
    clip: bytes, authority: Authority, as_file: WriteFile
) -> None:
    other = sign_elsewhere(clip, "video/mp4", authority.identity, exclude_padding=True)
    hidden = verify_clip(as_file(other + box(b"free", b"hidden content")), authority.anchors)
    assert hidden.state == "broken"
    assert "vasari.hiddenBytes" in codes(hidden)
    padded = verify_clip(as_file(other + box(b"free", bytes(64))), authority.anchors)
    assert padded.state == "verified"
    assert "vasari.unhashedBytes" in codes(padded, "warning")


def test_a_fragmented_clip_is_covered_to_its_last_box(authority: Authority, as_file: WriteFile) -> None:
    signed = sign(make_clip(movflags="frag_keyframe+empty_moov+default_base_moof"), authority)
    report = verify_clip(as_file(signed), authority.anchors)
    assert report.state == "verified", report.failures
    assert report.unhashed_bytes == 0
    mfra = box_of(signed, "mfra")
    assert verify_clip(as_file(flip(signed, mfra.offset + mfra.length - 20)), authority.anchors).state == "broken"


def test_after_expiry_only_the_time_stamp_keeps_a_clip_valid(
    signed: bytes, clip: bytes, authority: Authority, as_file: WriteFile
) -> None:
    later = NOW + timedelta(days=800)
    assert verify_clip(as_file(signed), authority.anchors, validation_time=later).state == "verified"
    unstamped = sign_elsewhere(clip, "video/mp4", authority.identity)
    assert verify_clip(as_file(unstamped), authority.anchors).state == "verified"
    report = verify_clip(as_file(unstamped), authority.anchors, validation_time=later)
    assert report.state == "untrusted"
    assert report.engines_agree


def test_a_file_too_large_for_the_second_engine_is_not_green_there(
    signed: bytes, authority: Authority, as_file: WriteFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provenance.engine_encypher, "MAX_FILE_BYTES", len(signed) - 1)
    report = verify_clip(as_file(signed), authority.anchors)
    assert report.engines[1].state == "not_run"
    assert report.engines[1].reason.startswith("second engine not run: ")
    assert not report.engines_agree
    assert "vasari.secondEngineNotRun" in codes(report, "warning")


def test_a_relabelled_claim_is_seen_without_the_second_engine(
    signed: bytes, authority: Authority, as_file: WriteFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provenance.engine_encypher, "MAX_FILE_BYTES", 0)
    report = verify_clip(as_file(flip(signed, signed.index(b"c2pa.claim.v2\0"))), authority.anchors)
    assert report.engines[0].state == "verified"
    assert report.state == "broken"


def audio(container: str, codec: str, path: Path) -> bytes:
    samples = (np.random.default_rng(0).normal(size=(1, 22050)) * 3000).astype(np.int16)
    with av.open(str(path), "w", format=container) as sink:
        stream = sink.add_stream(codec, rate=44100, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate = 44100
        shape = av.AudioResampler(
            format=stream.codec_context.format, layout="mono", rate=44100, frame_size=stream.codec_context.frame_size
        )
        for part in [*shape.resample(frame), *shape.resample(None)]:
            sink.mux(stream.encode(part))
        sink.mux(stream.encode(None))
    return path.read_bytes()


def picture(codec: str, pixels: str, path: Path) -> bytes:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    with av.open(str(path), "w", format="image2") as sink:
        stream = sink.add_stream(codec, rate=1, width=64, height=64, pix_fmt=pixels)
        sink.mux(stream.encode(av.VideoFrame.from_ndarray(noise, format="rgb24").reformat(format=pixels)))
        sink.mux(stream.encode(None))
    return path.read_bytes()


FORMATS: dict[str, tuple[str, Callable[[Path], bytes]]] = {
    "clip.mov": ("video/quicktime", lambda path: b"\0\0\0\x14ftypqt  \0\0\0\0qt  " + make_clip()[32:]),
    "sound.m4a": ("audio/mp4", lambda path: audio("ipod", "aac", path)),
    "sound.wav": ("audio/wav", lambda path: audio("wav", "pcm_s16le", path)),
    "sound.mp3": ("audio/mpeg", lambda path: audio("mp3", "libmp3lame", path)),
    "sound.flac": ("audio/flac", lambda path: audio("flac", "flac", path)),
    "picture.jpg": ("image/jpeg", lambda path: picture("mjpeg", "yuvj420p", path)),
    "picture.png": ("image/png", lambda path: picture("png", "rgb24", path)),
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_supported_format_is_verified_and_its_change_is_not(
    name: str, authority: Authority, as_file: WriteFile, tmp_path: Path
) -> None:
    media_type, make = FORMATS[name]
    content = sign_elsewhere(make(tmp_path / name), media_type, authority.identity, time_stamped=True)
    report = verify_clip(as_file(content, name), authority.anchors)
    assert report.state == "verified", report.failures
    assert report.signed_at is not None
    assert report.unhashed_bytes == (box_of(content, "ftyp").length if "ftyp" in str(content[4:8]) else 0)
    assert verify_clip(as_file(flip(content, len(content) - 40), name), authority.anchors).state == "broken"


def test_no_verification_or_signing_reaches_beyond_loopback(
    clip: bytes, authority: Authority, as_file: WriteFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # anything sent through the proxy fails
    report = verify_clip(as_file(sign(clip, authority)), authority.anchors)
    assert report.state == "verified"


@pytest.mark.parametrize("member", range(4), ids=["version", "flag", "flag", "flag"])
def test_credentials_in_a_box_of_another_version_are_never_green(
    signed: bytes, authority: Authority, as_file: WriteFile, member: int
) -> None:
    """No signed hash covers the box's version and flags, and the engines read on whatever these are."""
    content = bytearray(signed)
    content[signed.index(C2PA_BOX_ID) + len(C2PA_BOX_ID) + member] ^= 1
    report = verify_clip(as_file(bytes(content)), authority.anchors)
    assert report.state == "broken"
    assert [finding.code for finding in report.findings] == ["vasari.manifestBoxMalformed"]


@given(
    changes=st.lists(st.tuples(st.integers(0, 2**20), st.integers(1, 255)), min_size=1, max_size=6),
    cut=st.one_of(st.none(), st.integers(0, 2**20)),
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_damage_gives_a_report_and_never_a_green_one(
    changes: list[tuple[int, int]],
    cut: int | None,
    signed: bytes,
    authority: Authority,
    as_file: WriteFile,
) -> None:
    stamp = time_stamp_of(signed)
    damaged = bytearray(signed)
    for at, difference in changes:
        at %= len(signed)
        if at not in stamp:
            damaged[at] ^= difference
    content = bytes(damaged if cut is None else damaged[: cut % len(damaged)])
    if content == signed:
        return
    report = verify_clip(as_file(content), authority.anchors)
    assert report.state != "verified"


@given(
    content=st.binary(max_size=400),
    head=st.sampled_from([b"", b"\0\0\0\x18ftypisom", b"RIFF0000WAVE", b"fLaC", b"ID3"]),
)
@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_arbitrary_bytes_give_a_report(content: bytes, head: bytes, authority: Authority, as_file: WriteFile) -> None:
    assert verify_clip(as_file(head + content), authority.anchors).state in ("absent", "unreadable", "broken")


def test_the_mark_of_a_store_inside_the_pictures_is_no_credential(
    clip: bytes, authority: Authority, as_file: WriteFile
) -> None:
    decoy = clip + box(b"mdat", b"\0\0\0\x40jumb\0\0\0\x1ejumdc2pa" + bytes(64))
    assert verify_clip(as_file(decoy), authority.anchors).state == "absent"


def test_a_cut_clip_that_never_had_credentials_has_none(clip: bytes, authority: Authority, as_file: WriteFile) -> None:
    assert verify_clip(as_file(clip[: len(clip) // 2]), authority.anchors).state == "absent"


def test_a_hash_that_leaves_out_more_than_the_credentials_is_seen(
    authority: Authority, as_file: WriteFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed = sign_elsewhere(picture("png", "rgb24", tmp_path / "in.png"), "image/png", authority.identity)
    read = provenance.verification.find_store
    shorter = lambda *given: replace(read(*given), framed_bytes=read(*given).framed_bytes - 100)  # noqa: E731
    monkeypatch.setattr(provenance.verification, "find_store", shorter)
    report = verify_clip(as_file(signed, "picture.png"), authority.anchors)
    assert report.state == "broken"
    assert report.unhashed_bytes == 100
    assert "vasari.hiddenBytes" in codes(report)


@pytest.mark.parametrize("place", ["beside", "inside"])
def test_a_clip_of_boxes_without_number_is_given_to_no_engine(
    signed: bytes, authority: Authority, as_file: Callable[..., Path], place: str
) -> None:
    """1 MB of empty boxes takes the first engine minutes."""
    empty = struct.pack(">I4s", 8, b"free") * (MAX_BOXES + 1)
    inside = struct.pack(">I4s", 8 + len(empty), b"mvex") + empty
    report = verify_clip(as_file(signed + (empty if place == "beside" else inside)), authority.anchors)
    assert (report.state, report.engines) == ("broken", ())
    assert [finding.code for finding in report.findings] == ["vasari.tooManyBoxes"]
