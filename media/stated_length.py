"""How many bytes a file says it has, from the outermost structure of its container.

A cut-off MP4, Matroska, WAV or AVI file still states its full length: the cheapest exact sign of a cut.
"""

from __future__ import annotations

from collections.abc import Callable

ReadAt = Callable[[int, int], bytes]
"""Reads up to `count` bytes from `offset`: read_at(offset, count)."""

_TOP_BOXES = b"ftyp moov mdat moof free skip wide uuid sidx styp mfra meta udta pdin emsg prft ssix pnot junk".split()
_MAX_BOXES = 200_000
_EBML_HEADER = 0x1A45DFA3
_SEGMENT = 0x18538067


def stated_length(read_at: ReadAt, size: int) -> int | None:
    """The length in bytes that the container states, or None where it states none. `size` is the real one."""
    start = read_at(0, 12)
    if start[4:8] in _TOP_BOXES:
        return _boxes_end(read_at, size)
    if start[:4] == _EBML_HEADER.to_bytes(4, "big"):
        return _segment_end(read_at)
    if start[:4] == b"RIFF" and start[8:12] in (b"WAVE", b"AVI "):
        stated = int.from_bytes(start[4:8], "little")
        # The size leaves out these 8 bytes, but some writers count them in.
        return None if stated in (0, 0xFFFFFFFF) else stated
    return None


def _boxes_end(read_at: ReadAt, size: int) -> int | None:
    """The end of the last top-level box (ISO/IEC 14496-12, 4.2); None after data that is no box."""
    place = 0
    for _ in range(_MAX_BOXES):
        header = read_at(place, 16)
        if len(header) < 8:
            return place + 8
        if header[4:8] not in _TOP_BOXES:
            return None
        length = int.from_bytes(header[:4], "big")
        if length == 1:
            length = int.from_bytes(header[8:], "big")
        if length == 0:
            return None
        place += max(length, 8)
        if place >= size:
            return place
    return None


def _segment_end(read_at: ReadAt) -> int | None:
    """The end of the first segment (RFC 8794 and 9559); None if its size is open, as in live recordings."""
    place = 0
    for wanted in (_EBML_HEADER, _SEGMENT):
        head = read_at(place, 12)
        if len(head) < 5 or int.from_bytes(head[:4], "big") != wanted or head[4] == 0:
            return None
        width = 9 - head[4].bit_length()
        value = int.from_bytes(head[4 : 4 + width], "big") & ((1 << 7 * width) - 1)
        if value == (1 << 7 * width) - 1:
            return None
        place += 4 + width + value
    return place
