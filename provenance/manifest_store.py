"""Cutting the manifest store out of a file ourselves, whatever its format, to look at what the engines don't."""

import mmap
from typing import BinaryIO

_STORE_MARK = b"jumdc2pa"  # description box of the outermost JUMBF superbox
_MARK_OFFSET = 12  # store length, "jumb", description length
_MAX_STORE_BYTES = 256 << 20
_APP11, _START_OF_SCAN = 0xEB, 0xDA
_SEGMENT_HEAD = 8  # "JP", box instance, sequence number
_BOX_HEAD = 8  # repeated in every segment after the first


def find_store(file: BinaryIO, media_type: str) -> bytes | None:
    """The manifest store in `file`, or None when there is none or it is cut off."""
    try:
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            if media_type == "image/jpeg":
                return _from_jpeg(content)
            return _cut(content, content.find(_STORE_MARK) - _MARK_OFFSET)
    except (ValueError, OSError):  # an empty file, or one that can't be mapped
        return None


def _cut(content: mmap.mmap | bytes, start: int) -> bytes | None:
    if start < 0:
        return None
    size = int.from_bytes(content[start : start + 4], "big")
    return bytes(content[start : start + size]) if _MARK_OFFSET < size <= _MAX_STORE_BYTES else None


def _from_jpeg(content: mmap.mmap) -> bytes | None:
    """Join the APP11 segments that carry one JUMBF box (ISO/IEC 19566-5 annex D)."""
    joined, offset = b"", 2
    while offset + 4 <= len(content) and content[offset] == 0xFF and content[offset + 1] != _START_OF_SCAN:
        length = int.from_bytes(content[offset + 2 : offset + 4], "big")
        payload = content[offset + 4 : offset + 2 + length]
        if content[offset + 1] == _APP11 and payload[:2] == b"JP":
            joined += payload[_SEGMENT_HEAD + (_BOX_HEAD if joined else 0) :]
        offset += 2 + length
    return _cut(joined, joined.find(_STORE_MARK) - _MARK_OFFSET)
