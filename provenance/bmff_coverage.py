"""Which bytes of an MP4 family file its signed hash covers, and how its credentials box is laid out."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from provenance.bmff_boxes import (
    ALWAYS_EXCLUDED,
    Box,
    UnhashedBox,
    excludable_boxes,
    hash_unhashed_boxes,
    top_level_boxes,
)
from provenance.errors import ProvenanceError
from provenance.manifest_store import MAX_STORE_BYTES

_EMPTY_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
_PURPOSE = b"\0\0\0\0manifest\0"
_OFFSET_BYTES = 8


@dataclass(frozen=True)
class Coverage:
    """What our walk over the top-level boxes found.

    `store` is the manifest store cut out by us; `excluded_sha256` the hash over `ftyp` and `mfra`;
    `loose_bytes` what lies in the credentials box beside the store. Texts are empty when nothing is wrong.
    """

    candidates: tuple[UnhashedBox, ...]
    excluded_sha256: str
    store: bytes | None = None
    loose_bytes: int = 0
    damage: str = ""
    extra_credentials: str = ""
    layout_fault: str = ""
    covered_by_release: tuple[str, ...] = ALWAYS_EXCLUDED

    def unhashed(self, manifest: Mapping[str, Any]) -> tuple[UnhashedBox, ...]:
        """The boxes that this manifest's hard binding leaves out."""
        kinds = _excluded_kinds(manifest)
        return tuple(box for box in self.candidates if box.kind in kinds)


def measure_coverage(file: BinaryIO) -> Coverage:
    """Walk the boxes of an open file; damage is reported, not raised."""
    try:
        boxes = top_level_boxes(file)
        candidates = excludable_boxes(file, boxes)
        excluded = hash_unhashed_boxes(file, boxes)
    except ProvenanceError as error:
        return Coverage((), _EMPTY_SHA256, damage=str(error))
    stores = [box for box in boxes if box.is_c2pa]
    if not stores:
        return Coverage(candidates, excluded)
    extra = "" if len(stores) == 1 else f"{len(stores)} boxes, the second at byte {stores[1].offset}"
    return _with_store(file, stores[0], Coverage(candidates, excluded, extra_credentials=extra))


def _with_store(file: BinaryIO, box: Box, coverage: Coverage) -> Coverage:
    length = box.length - box.header_bytes
    if length > MAX_STORE_BYTES:
        return dataclasses.replace(coverage, layout_fault=f"the credentials box has {length} bytes")
    file.seek(box.offset + box.header_bytes)
    payload = file.read(length)
    start = len(_PURPOSE) + _OFFSET_BYTES
    if not payload.startswith(_PURPOSE) or len(payload) < start + 8:
        return dataclasses.replace(
            coverage, layout_fault="the credentials box does not start as the specification says"
        )
    size = int.from_bytes(payload[start : start + 4], "big")
    store, rest = payload[start : start + size], payload[start + size :]
    hidden = any(payload[len(_PURPOSE) : start]) or any(rest)
    fault = f"{len(rest)} bytes follow the store inside its box" if hidden else ""
    return dataclasses.replace(coverage, store=store, loose_bytes=len(rest), layout_fault=fault)


def _excluded_kinds(manifest: Mapping[str, Any]) -> frozenset[str]:
    """Kinds of top-level boxes left out, wholly or in part. An exclusion with `data` means the C2PA box alone."""
    kinds: set[str] = set()
    for assertion in manifest.get("assertions", []):
        if str(assertion.get("label", "")).startswith("c2pa.hash.bmff"):
            data = assertion.get("data")
            exclusions = data.get("exclusions") if isinstance(data, Mapping) else None
            kinds |= {
                str(exclusion.get("xpath", "")).lstrip("/").split("/")[0].split("[")[0]
                for exclusion in (exclusions if isinstance(exclusions, list) else [])
                if isinstance(exclusion, Mapping) and not exclusion.get("data")
            }
    return frozenset(kinds)
