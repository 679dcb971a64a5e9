"""Our own walk over the boxes of an MP4: what a signed hash leaves out."""

import io
import struct

import pytest

from provenance import ProvenanceError
from provenance.bmff_boxes import C2PA_BOX_ID, top_level_boxes
from provenance.bmff_coverage import measure_coverage


def box(kind: bytes, payload: bytes = b"") -> bytes:
    return struct.pack(">I4s", 8 + len(payload), kind) + payload


def manifest(*exclusions: dict[str, object]) -> dict[str, object]:
    return {"assertions": [{"label": "c2pa.hash.bmff.v3", "data": {"exclusions": list(exclusions)}}]}


FILE = box(b"ftyp", b"isom") + box(b"free", bytes(4)) + box(b"moov", b"index") + box(b"mdat", b"pictures")


def unhashed(*exclusions: dict[str, object]) -> list[tuple[str, int, bool]]:
    boxes = measure_coverage(io.BytesIO(FILE)).unhashed(manifest(*exclusions))
    return [(box.kind, box.length, box.payload_is_zero) for box in boxes]


def test_only_what_the_manifest_excludes_counts() -> None:
    assert unhashed() == []
    assert unhashed({"xpath": "/ftyp"}) == [("ftyp", 12, False)]
    assert unhashed({"xpath": "/free"}) == [("free", 12, True)]


def test_a_signer_that_leaves_out_the_pictures_is_seen() -> None:
    assert unhashed({"xpath": "/mdat"}) == [("mdat", 16, False)]
    assert unhashed({"xpath": "/moov/trak[1]"}) == [("moov", 13, False)]


def test_the_exclusion_of_the_credentials_box_is_no_gap() -> None:
    assert unhashed({"xpath": "/uuid", "data": [{"offset": 8, "value": "2P7D1hsOSDySl1goh37EgQ=="}]}) == []


@pytest.mark.parametrize(
    "content",
    [
        b"\0\0\0\7ftyp",
        b"\0\0\0\x40ftypisom",
        FILE + b"\0\0\0",
        struct.pack(">I4sQ", 1, b"mdat", 8),
        struct.pack(">I4sQ", 1, b"mdat", 2**63),
        struct.pack(">I4s", 20, b"uuid") + bytes(12),
    ],
)
def test_a_box_that_does_not_fit_is_damage(content: bytes) -> None:
    with pytest.raises(ProvenanceError, match="box at byte"):
        top_level_boxes(io.BytesIO(content))
    assert measure_coverage(io.BytesIO(content)).damage


def test_large_and_open_ended_boxes_are_read() -> None:
    large = struct.pack(">I4sQ", 1, b"mdat", 20) + b"data"
    open_ended = struct.pack(">I4s", 0, b"mdat") + b"to the end"
    boxes = top_level_boxes(io.BytesIO(FILE + large + open_ended))
    assert [(b.kind, b.length) for b in boxes[-2:]] == [("mdat", 20), ("mdat", 18)]


def test_too_many_boxes_are_refused() -> None:
    with pytest.raises(ProvenanceError, match="more than"):
        top_level_boxes(io.BytesIO(box(b"free") * 100_001))


def test_a_credentials_box_with_bytes_behind_its_store_is_named() -> None:
    store = struct.pack(">I4s", 12, b"jumb") + b"none"
    payload = C2PA_BOX_ID + b"\0\0\0\0manifest\0" + bytes(8) + store
    clean = measure_coverage(io.BytesIO(FILE + box(b"uuid", payload)))
    assert (clean.store, clean.loose_bytes, clean.layout_fault) == (store, 0, "")
    hidden = measure_coverage(io.BytesIO(FILE + box(b"uuid", payload + b"hidden")))
    assert (hidden.loose_bytes, hidden.layout_fault) == (6, "6 bytes follow the store inside its box")
