"""Which bytes of an MP4 family file its signed hash covers, and how its credentials box is laid out."""

import base64
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from provenance.bmff_boxes import (
    ALWAYS_EXCLUDED,
    C2PA_BOX_ID,
    Box,
    TooManyBoxesError,
    hash_unhashed_boxes,
    top_level_boxes,
)
from provenance.errors import ProvenanceError
from provenance.harmless_boxes import is_harmless
from provenance.manifest_store import MAX_STORE_BYTES

_EMPTY_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
_LAYOUTS = (("manifest",), ("original", "update"))  # purposes of the C2PA boxes, in order (Appendix A)
_VERSION_AND_FLAGS = bytes(4)
_OFFSET_BYTES = 8
_LONGEST_HEAD = 32
_MOST_STORES = 4
_C2PA_BOX_ALONE = {"offset": 8, "value": base64.b64encode(C2PA_BOX_ID).decode()}


@dataclass(frozen=True)
class UnhashedBox:
    """A box that a hard binding may leave out; `harmless` tells what its kind must hold from content of its own."""

    kind: str
    offset: int
    length: int
    harmless: bool


@dataclass(frozen=True)
class Coverage:
    """What our walk over the top-level boxes found.

    `stores` are the manifest stores cut out by us, the active one last (two where an update manifest was added);
    `excluded_sha256` the hash over `ftyp` and `mfra`; `loose_bytes` what lies in the credentials boxes beside the
    stores. Texts are empty when nothing is wrong.
    """

    candidates: tuple[UnhashedBox, ...]
    excluded_sha256: str
    stores: tuple[bytes, ...] = ()
    loose_bytes: int = 0
    damage: str = ""
    extra_credentials: str = ""
    layout_fault: str = ""
    covered_by_release: tuple[str, ...] = ALWAYS_EXCLUDED
    crowded: bool = False
    """More boxes than an engine should be given; nothing but `damage` is known."""

    def unhashed(self, manifest: Mapping[str, Any]) -> tuple[UnhashedBox, ...]:
        """The boxes that this manifest's hard binding leaves out."""
        kinds = _excluded_kinds(manifest)
        return tuple(box for box in self.candidates if box.kind in kinds)


def measure_coverage(file: BinaryIO) -> Coverage:
    """Walk the boxes of an open file; damage is reported, not raised."""
    try:
        boxes = top_level_boxes(file)
        fragments = {box.offset for box in boxes if box.kind == "moof"}
        candidates = tuple(
            UnhashedBox(box.kind, box.offset, box.length, is_harmless(file, box, fragments))
            for box in boxes
            if not box.is_c2pa
        )
        excluded = hash_unhashed_boxes(file, boxes)
    except ProvenanceError as error:
        return Coverage((), _EMPTY_SHA256, damage=str(error), crowded=isinstance(error, TooManyBoxesError))
    coverage = Coverage(candidates, excluded)
    held = [box for box in boxes if box.is_c2pa]
    purposes = []
    for box in held[:_MOST_STORES]:
        purpose, coverage = _with_store(file, box, coverage)
        purposes.append(purpose)
    if held and tuple(purposes) not in _LAYOUTS and (len(held) > 1 or not coverage.layout_fault):
        extra = f"{len(held)} boxes of purpose {', '.join(purposes)}, the last at byte {held[-1].offset}"
        coverage = dataclasses.replace(coverage, extra_credentials=extra)
    if len(held) > _MOST_STORES:
        coverage = dataclasses.replace(coverage, extra_credentials=f"{len(held)} boxes")
    return coverage


def _with_store(file: BinaryIO, box: Box, coverage: Coverage) -> tuple[str, Coverage]:
    """The purpose of one C2PA box, and `coverage` with its store."""
    length = box.length - box.header_bytes
    if length > MAX_STORE_BYTES:
        return "", dataclasses.replace(coverage, layout_fault=f"the credentials box has {length} bytes")
    file.seek(box.offset + box.header_bytes)
    payload = file.read(length)
    name, terminator, _ = payload[len(_VERSION_AND_FLAGS) : _LONGEST_HEAD].partition(b"\0")
    start = len(_VERSION_AND_FLAGS) + len(name) + 1 + _OFFSET_BYTES
    known = {purpose.encode() for layout in _LAYOUTS for purpose in layout}
    if not payload.startswith(_VERSION_AND_FLAGS) or not terminator or name not in known or len(payload) < start + 8:
        fault = "a credentials box does not start as the specification says"
        return "unknown", dataclasses.replace(coverage, layout_fault=fault)
    size = int.from_bytes(payload[start : start + 4], "big")
    store, rest = payload[start : start + size], payload[start + size :]
    hidden = any(payload[start - _OFFSET_BYTES : start]) or any(rest)
    fault = f"{len(rest)} bytes follow the store inside its box" if hidden else coverage.layout_fault
    loose = coverage.loose_bytes + len(rest)
    return name.decode(), dataclasses.replace(
        coverage, stores=(*coverage.stores, store), loose_bytes=loose, layout_fault=fault
    )


def _excluded_kinds(manifest: Mapping[str, Any]) -> frozenset[str]:
    """Kinds of top-level boxes left out, wholly or in part; the exclusion of the C2PA box alone is no gap."""
    kinds: set[str] = set()
    for assertion in manifest.get("assertions", []):
        if str(assertion.get("label", "")).startswith("c2pa.hash.bmff"):
            data = assertion.get("data")
            exclusions = data.get("exclusions") if isinstance(data, Mapping) else None
            for exclusion in exclusions if isinstance(exclusions, list) else []:
                if not isinstance(exclusion, Mapping):
                    continue
                kind = str(exclusion.get("xpath", "")).lstrip("/").split("/")[0].split("[")[0]
                if kind != "uuid" or exclusion.get("data") != [_C2PA_BOX_ALONE]:
                    kinds.add(kind)
    return frozenset(kinds)
