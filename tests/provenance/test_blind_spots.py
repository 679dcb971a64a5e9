"""Places that both engines read as trusted whatever stands there, and what we see in them."""

import io
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from provenance import CredentialsReport, verify_clip
from provenance.bmff_boxes import top_level_boxes
from tests.provenance.conftest import Authority, sign_elsewhere

WriteFile = Callable[..., Path]


def box(kind: bytes, payload: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(payload), kind) + payload


def failures(report: CredentialsReport) -> set[str]:
    return {finding.code for finding in report.failures}


@pytest.fixture(scope="module")
def updated(signed: bytes, authority: Authority) -> bytes:
    return sign_elsewhere(signed, "video/mp4", authority.identity, update=True, time_stamped=True)


def test_an_update_manifest_keeps_the_release_that_it_updates(
    updated: bytes, authority: Authority, as_file: WriteFile
) -> None:
    report = verify_clip(as_file(updated), authority.anchors)
    assert report.state == "verified", report.failures
    assert report.manifest_id == 0xF0E1D2C3B4A59687
    assert report.unhashed_bytes == 0
    assert [(step.depth, step.state) for step in report.sources] == [
        (0, "validated"), (1, "no credentials"), (1, "no credentials"),
    ]  # fmt: skip


def test_content_hidden_under_an_update_manifest_is_broken(
    clip: bytes, authority: Authority, as_file: WriteFile
) -> None:
    plain = sign_elsewhere(clip, "video/mp4", authority.identity, exclude_padding=True, time_stamped=True)
    hidden = sign_elsewhere(
        plain + box(b"free", b"hidden content"), "video/mp4", authority.identity,
        exclude_padding=True, update=True, time_stamped=True,
    )  # fmt: skip
    report = verify_clip(as_file(hidden), authority.anchors)
    assert report.engines[0].state == "verified"
    assert report.state == "broken"
    assert "vasari.hiddenBytes" in failures(report)


def test_content_in_the_signature_padding_of_an_update_is_broken(
    updated: bytes, authority: Authority, as_file: WriteFile
) -> None:
    last = [b for b in top_level_boxes(io.BytesIO(updated)) if b.is_c2pa][-1]
    changed = bytearray(updated)
    changed[last.offset + last.length - 400] ^= 1
    report = verify_clip(as_file(bytes(changed)), authority.anchors)
    assert report.state == "broken"
    assert "vasari.manifestBoxMalformed" in failures(report)


@pytest.mark.parametrize(
    "hidden",
    [
        box(b"mfra", box(b"free", b"hidden content" * 9)),
        box(b"mfra", box(b"tfra", b"hidden content") + box(b"mfro", bytes(8))),
        box(b"mfra", b""),
    ],
    ids=["in a box of its own", "in an index", "nothing, but where no fragments are"],
)
def test_content_hidden_in_an_excluded_fragment_index_is_broken(
    hidden: bytes, clip: bytes, authority: Authority, as_file: WriteFile
) -> None:
    foreign = sign_elsewhere(clip, "video/mp4", authority.identity, time_stamped=True)
    report = verify_clip(as_file(foreign + hidden), authority.anchors)
    assert report.engines[0].state == "verified"
    assert report.state == "broken"
    assert [(gap.kind, gap.offset, gap.hidden) for gap in report.uncovered if gap.hidden] == [
        ("mfra", len(foreign), True)
    ]


def test_a_brand_that_no_player_knows_is_hidden_content(clip: bytes, authority: Authority, as_file: WriteFile) -> None:
    foreign = bytearray(sign_elsewhere(clip, "video/mp4", authority.identity, time_stamped=True))
    assert verify_clip(as_file(bytes(foreign)), authority.anchors).state == "verified"
    foreign[16:20] = b"evil"
    report = verify_clip(as_file(bytes(foreign)), authority.anchors)
    assert report.engines[0].state == "verified"
    assert report.state == "broken"
    assert "vasari.hiddenBytes" in failures(report)
