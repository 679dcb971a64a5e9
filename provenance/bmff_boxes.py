"""The boxes of an MP4 family file that the C2PA hard binding leaves out, found by our own parser.

`c2pa.hash.bmff` excludes `ftyp`, `mfra` and, in many files, `free` and `skip`; both engines read a file whose
excluded boxes were changed or added as trusted. ISO/IEC 14496-12 section 4.2 describes the box header.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO

from provenance.errors import ProvenanceError

C2PA_BOX_ID = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
ALWAYS_EXCLUDED = ("ftyp", "mfra")
PADDING = ("free", "skip")
CONTAINERS = frozenset(
    ["moov", "trak", "edts", "mdia", "minf", "dinf", "stbl", "tref", "udta", "meta", "mvex", "moof", "traf", "mfra"]
)
"""Kinds of boxes whose inner boxes the first engine lists one by one."""
MAX_BOXES = 32_000
"""In a whole file: an hour and a half of fragments of two seconds. The first engine's time grows with the square of
their number, 10 s at this one; 1 MB of empty boxes would take it minutes."""
READ_BYTES = 1 << 20


class TooManyBoxesError(ProvenanceError):
    """A file has more than `MAX_BOXES`, at any depth."""


@dataclass(frozen=True)
class Box:
    """A top-level box: where it starts, header and whole length in bytes; `uuid` for extended types."""

    kind: str
    offset: int
    header_bytes: int
    length: int
    uuid: bytes | None = None

    @property
    def is_c2pa(self) -> bool:
        """Whether this is a C2PA box (manifest store or Merkle data)."""
        return self.uuid == C2PA_BOX_ID


def top_level_boxes(file: BinaryIO) -> tuple[Box, ...]:
    """All top-level boxes in order; raises ProvenanceError where the chain breaks, TooManyBoxesError for too many."""
    boxes: list[Box] = []
    try:
        for box in _boxes_between(file, 0, file.seek(0, os.SEEK_END)):
            if len(boxes) >= MAX_BOXES:
                raise TooManyBoxesError(f"MP4: more than {MAX_BOXES} boxes")
            boxes.append(box)
    finally:
        _require_countable(file, boxes)
    return tuple(boxes)


def _require_countable(file: BinaryIO, boxes: Sequence[Box]) -> None:
    """Raise TooManyBoxesError for too many inside of them; an inner chain that breaks is the engines' matter."""
    left, containers = MAX_BOXES - len(boxes), [box for box in boxes if box.kind in CONTAINERS]
    while containers:
        outer = containers.pop()
        start = outer.offset + outer.header_bytes + (4 if outer.kind == "meta" else 0)  # version and flags
        with suppress(ProvenanceError):
            for box in _boxes_between(file, start, outer.offset + outer.length):
                left -= 1
                if left < 0:
                    break
                if box.kind in CONTAINERS:
                    containers.append(box)
        if left < 0:
            raise TooManyBoxesError(f"MP4: more than {MAX_BOXES} boxes")


def _boxes_between(file: BinaryIO, offset: int, end: int) -> Iterator[Box]:
    while offset < end:
        box = _read_header(file, offset, end)
        yield box
        offset += box.length


def _read_header(file: BinaryIO, offset: int, end: int) -> Box:
    file.seek(offset)
    head = file.read(32)
    size = int.from_bytes(head[:4], "big")
    header_bytes = 8
    if size == 1:
        size, header_bytes = int.from_bytes(head[8:16], "big"), 16
    elif size == 0:  # to the end of the file
        size = end - offset
    uuid = None
    if head[4:8] == b"uuid":
        uuid, header_bytes = head[header_bytes : header_bytes + 16], header_bytes + 16
    if size < header_bytes or offset + size > end or len(head) < header_bytes:
        raise ProvenanceError(f"MP4: the box at byte {offset} claims {size} bytes, {end - offset} are left")
    return Box(head[4:8].decode("latin-1"), offset, header_bytes, size, uuid)


def hash_unhashed_boxes(file: BinaryIO, boxes: Iterable[Box]) -> str:
    """SHA-256 hex over every whole box that a hard binding may leave out (`ftyp`, `mfra`), in file order."""
    digest = hashlib.sha256()
    for box in boxes:
        if box.kind in ALWAYS_EXCLUDED:
            file.seek(box.offset)
            left = box.length
            while left:
                part = file.read(min(left, READ_BYTES))
                if not part:
                    raise ProvenanceError(f"MP4: the file ended inside the {box.kind} box")
                digest.update(part)
                left -= len(part)
    return digest.hexdigest()
