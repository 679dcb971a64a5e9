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
    return [(box.kind, box.length, box.harmless) for box in boxes]


def test_only_what_the_manifest_excludes_counts() -> None:
    assert unhashed() == []
    assert unhashed({"xpath": "/ftyp"}) == [("ftyp", 12, False)]  # no minor version
    assert unhashed({"xpath": "/free"}) == [("free", 12, True)]


def test_a_signer_that_leaves_out_the_pictures_is_seen() -> None:
    assert unhashed({"xpath": "/mdat"}) == [("mdat", 16, False)]
    assert unhashed({"xpath": "/moov/trak[1]"}) == [("moov", 13, False)]


def test_the_exclusion_of_the_credentials_box_is_no_gap() -> None:
    assert unhashed({"xpath": "/uuid", "data": [{"offset": 8, "value": "2P7D1hsOSDySl1goh37EgQ=="}]}) == []


def test_an_exclusion_that_only_looks_like_the_credentials_box_is_a_gap() -> None:
    same_data = [{"offset": 8, "value": "2P7D1hsOSDySl1goh37EgQ=="}]
    assert unhashed({"xpath": "/mdat", "data": same_data}) == [("mdat", 16, False)]
    extended = box(b"uuid", bytes(16) + b"hidden content")
    coverage = measure_coverage(io.BytesIO(FILE + extended))
    other_data = {"xpath": "/uuid", "data": [{"offset": 8, "value": "AAAAAA=="}]}
    assert [(b.kind, b.harmless) for b in coverage.unhashed(manifest(other_data))] == [("uuid", False)]


def harmless(content: bytes) -> dict[str, bool]:
    found = measure_coverage(io.BytesIO(content)).candidates
    return {b.kind: b.harmless for b in found}


def test_a_file_type_box_may_list_known_brands_only() -> None:
    usual = b"isom\0\0\2\0isomiso2avc1mp41"
    assert harmless(box(b"ftyp", usual))["ftyp"]
    assert not harmless(box(b"ftyp", usual + b"evil"))["ftyp"]
    assert not harmless(box(b"ftyp", usual + b"isom" * 30))["ftyp"]
    assert not harmless(box(b"mdat") + box(b"ftyp", usual))["ftyp"]


def test_a_fragment_index_may_point_at_fragments_only() -> None:
    moof, start = box(b"moof", bytes(8)), 0
    entries = struct.pack(">IIII", 0, 1, 0, 1) + struct.pack(">II", 0, start) + bytes([1, 1, 1])
    index = box(b"tfra", entries)
    end = box(b"mfro", struct.pack(">II", 0, 8 + len(index) + 16))
    assert harmless(moof + box(b"mfra", index + end))["mfra"]
    for hidden in (
        box(b"free", b"hidden") + end,
        index + box(b"mfro", b"hidden!!"),
        box(b"tfra", entries + b"hidden") + end,
        box(b"tfra", entries[:16] + struct.pack(">II", 0, 99) + b"\1\1\1") + end,
        b"hidden content",
    ):
        assert not harmless(moof + box(b"mfra", hidden))["mfra"]
    assert not harmless(box(b"mfra", end))["mfra"]


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
    assert (clean.stores, clean.loose_bytes, clean.layout_fault) == ((store,), 0, "")
    hidden = measure_coverage(io.BytesIO(FILE + box(b"uuid", payload + b"hidden")))
    assert (hidden.loose_bytes, hidden.layout_fault) == (6, "6 bytes follow the store inside its box")
