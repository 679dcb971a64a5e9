"""CBOR that other readers are given: whole, or refused before they reserve memory for it."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provenance import ProvenanceError, RepositoryError, read_stored_manifest, verify_clip
from provenance.bmff_coverage import measure_coverage
from provenance.cbor import require_well_formed
from provenance.jumbf import cbor_fault
from tests.provenance.conftest import Authority

WHOLE = [  # RFC 8949, appendix A
    "00", "1bffffffffffffffff", "3903e7", "f90001", "fb3ff199999999999a", "f4", "f8ff", "c06431303132",
    "40", "4401020304", "6449455446", "80", "8301820203820405", "a26161016162820203", "5f42010243030405ff",
    "9fff", "9f018202039f0405ffff", "bf61610161629f0203ffff", "d818456449455446",
]  # fmt: skip
NOT_WHOLE = [  # appendix F, and lengths that declare more than there is
    "", "18", "1a0102", "41", "62ff", "5affffffff00", "9a7fffffff00", "baffffffff00", "9bffffffffffffffff", "81",
    "818181", "8200", "a1", "a101", "9f", "ff", "81ff", "1c", "fc", "3f", "df00", "0000",
]  # fmt: skip


@pytest.mark.parametrize("text", WHOLE)
def test_whole_items_pass(text: str) -> None:
    require_well_formed(bytes.fromhex(text))


@pytest.mark.parametrize("text", NOT_WHOLE)
def test_what_is_cut_short_or_declares_too_much_is_refused(text: str) -> None:
    with pytest.raises(ProvenanceError, match="CBOR"):
        require_well_formed(bytes.fromhex(text))


def test_nesting_has_an_end() -> None:
    with pytest.raises(ProvenanceError, match="nested"):
        require_well_formed(b"\x81" * 100_000 + b"\x00")


@given(st.binary(max_size=64))
def test_any_bytes_are_whole_or_refused(content: bytes) -> None:
    try:
        require_well_formed(content)
    except ProvenanceError:
        return
    with pytest.raises(ProvenanceError):
        require_well_formed(content + b"\x00")


def bomb(content: bytes) -> bytes:
    """The list of exclusions from the hash, declared to have billions of entries."""
    at = content.index(b"jexclusions") + len(b"jexclusions")
    assert content[at] >> 5 == 4
    return content[:at] + b"\x9a" + content[at + 1 :]


def test_a_store_with_a_list_of_billions_is_refused_before_an_engine_sees_it(
    signed: bytes, authority: Authority, as_file: Callable[..., Path]
) -> None:
    store = bomb(measure_coverage(io.BytesIO(signed)).stores[0])
    with pytest.raises(RepositoryError, match="items are declared in"):
        read_stored_manifest(store)
    report = verify_clip(as_file(bomb(signed)), authority.anchors)
    assert report.state == "broken"
    assert report.engines == ()
    assert "vasari.manifestBoxMalformed" in [finding.code for finding in report.findings]


def box(kind: bytes, *children: bytes) -> bytes:
    payload = b"".join(children)
    return struct.pack(">I4s", 8 + len(payload), kind) + payload


def test_a_store_of_boxes_without_end_or_number_is_refused_before_it_costs_time_or_memory() -> None:
    nested = b""
    for _ in range(10_000):
        nested = box(b"jumb", nested)
    many, squeezed = box(b"jumb", box(b"free") * 300_000), box(b"jumb", box(b"jumb", box(b"brob")) * 9)
    for store, fault in ((nested, "nested more than"), (many, "JUMBF boxes"), (squeezed, "compressed manifests")):
        assert fault in (cbor_fault(store) or "")
        with pytest.raises(RepositoryError, match=fault):
            read_stored_manifest(store)
