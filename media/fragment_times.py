"""Moves the fragments of a fragmented MP4 along the time line, so that clips play on where others end."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from fractions import Fraction
from typing import BinaryIO

_PARENTS = (b"moov", b"trak", b"mdia", b"moof", b"traf")


def start_fragments_at(clip: BinaryIO, start_s: Fraction) -> None:
    """Add `start_s` seconds to the decode time of every fragment of `clip`, in place (ISO/IEC 14496-12, 8.8.12).

    For clips of `ClipWriter(fragmented=True)`; ValueError where a box is not as that writes it.
    """
    rates: list[int] = []
    track = 0
    for kind, offset, length in list(_boxes(clip, 0, clip.seek(0, 2))):
        clip.seek(offset)
        body = clip.read(min(length, 32))
        if kind == b"mdhd":  # in the order of the tracks, which are numbered from 1
            rates.append(int.from_bytes(body[20:24] if body[0] else body[12:16], "big"))
        elif kind == b"tfhd":
            track = int.from_bytes(body[4:8], "big")
        elif kind == b"tfdt":
            if body[0] != 1 or not 0 < track <= len(rates):
                raise ValueError("a fragment's decode time is not of 64 bits, or its track is not known")
            time = int.from_bytes(body[4:12], "big") + round(start_s * rates[track - 1])
            clip.seek(offset + 4)
            clip.write(struct.pack(">Q", time))
    clip.flush()


def _boxes(clip: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Kind, offset and length of the content of every box, parents before children."""
    while start + 8 <= end:
        clip.seek(start)
        head = clip.read(16)
        length, kind = int.from_bytes(head[:4], "big"), head[4:8]
        header = 16 if length == 1 else 8
        length = int.from_bytes(head[8:16], "big") if length == 1 else length
        if length < header or start + length > end:
            raise ValueError(f"the box {kind!r} at byte {start} is longer than the file")
        yield kind, start + header, length - header
        if kind in _PARENTS:
            yield from _boxes(clip, start + header, start + length)
        start += length
