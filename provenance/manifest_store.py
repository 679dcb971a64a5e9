"""Cutting the manifest store out of a file ourselves, whatever its format, to look at what the engines don't."""

import mmap
from dataclasses import dataclass
from typing import BinaryIO

_STORE_MARK = b"jumdc2pa"  # description box of the outermost JUMBF superbox
_MARK_OFFSET = 12  # store length, "jumb", description length
MAX_STORE_BYTES = 256 << 20
_APP11, _START_OF_SCAN = 0xEB, 0xDA
_SEGMENT_HEAD = 8  # "JP", box instance, sequence number
_BOX_HEAD = 8  # repeated in every segment after the first
_FRAMING_BYTES = {"image/png": 12, "audio/wav": 8}  # what a chunk adds to its content; MP3 and FLAC: nothing


@dataclass(frozen=True)
class FoundStore:
    """A manifest store and how many bytes it takes up in its file, chunk or segment headers included."""

    store: bytes
    framed_bytes: int


def find_store(file: BinaryIO, media_type: str) -> FoundStore | None:
    """The manifest store in `file`, or None when there is none or it is cut off."""
    try:
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            if media_type == "image/jpeg":
                return _from_jpeg(content)
            store = _cut(content, content.find(_STORE_MARK) - _MARK_OFFSET)
    except (ValueError, OSError):  # an empty file, or one that can't be mapped
        return None
    if store is None:
        return None
    padding = len(store) & 1 if media_type == "audio/wav" else 0
    return FoundStore(store, len(store) + _FRAMING_BYTES.get(media_type, 0) + padding)


def _cut(content: mmap.mmap | bytearray, start: int) -> bytes | None:
    if start < 0:
        return None
    size = int.from_bytes(content[start : start + 4], "big")
    if not _MARK_OFFSET < size <= MAX_STORE_BYTES:
        return None
    return bytes(content[start : start + size])


def _from_jpeg(content: mmap.mmap) -> FoundStore | None:
    """Join the APP11 segments that carry one JUMBF box (ISO/IEC 19566-5 annex D)."""
    joined, framed, offset = bytearray(), 0, 2
    while offset + 4 <= len(content) and content[offset] == 0xFF and content[offset + 1] != _START_OF_SCAN:
        length = int.from_bytes(content[offset + 2 : offset + 4], "big")
        payload = content[offset + 4 : offset + 2 + length]
        if content[offset + 1] == _APP11 and payload[:2] == b"JP":
            joined += payload[_SEGMENT_HEAD + (_BOX_HEAD if joined else 0) :]
            framed += 2 + length
        offset += 2 + length
    start = joined.find(_STORE_MARK) - _MARK_OFFSET
    store = _cut(joined, start)
    if store is None:
        return None
    return FoundStore(store, framed - (len(joined) - len(store)))
