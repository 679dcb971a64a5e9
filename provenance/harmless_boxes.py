"""Whether a box that no hash covers holds only what a file of this kind must have there, or content of its own.

`ftyp` and `mfra` are left out of every C2PA hash (specification 2.3, section 18.6), `free` and `skip` of many. Both
engines read a file as trusted whatever stands in them; here a box is harmless only when it says nothing beyond its job:
padding is zeros, `ftyp` lists registered brands, `mfra` points at fragments that exist (ISO/IEC 14496-12, 4.3 and 8.8).
"""

import struct
from collections.abc import Iterator, Set
from typing import BinaryIO

from provenance.bmff_boxes import PADDING, READ_BYTES, Box

MAX_LOOKED_AT_BYTES = 1 << 22
MAX_BRANDS = 24
# Brands registered at mp4ra.org that video, sound and picture files of today carry; zeros are QuickTime's padding.
_BRAND_LIST = """isom iso2 iso3 iso4 iso5 iso6 iso7 iso8 iso9 isoa isob isoc mp41 mp42 mp71 avc1 av01 hvc1 hev1 dash
msdh msix risx lmsg cmfc cmf2 cmff cmfl cmfs cmfd ccff piff 3gp4 3gp5 3gp6 3gp7 3gp8 3gp9 3gg6 3gr6 3gs6 3ge6 3g2a 3g2b
3g2c M4A M4B M4V M4P M4VH M4VP qt f4v F4V MSNV NDSC XAVC dby1 mif1 msf1 heic heix hevc avif avis miaf"""
BRANDS = frozenset(_BRAND_LIST.split()) | {"\0\0\0\0"}


def is_harmless(file: BinaryIO, box: Box, fragments: Set[int]) -> bool:
    """Whether `box` holds nothing but what its kind is for; `fragments`: where the file's `moof` boxes begin."""
    if box.kind in PADDING:
        return _is_zero(file, box)
    if box.kind not in ("ftyp", "mfra") or box.length > MAX_LOOKED_AT_BYTES:
        return False
    file.seek(box.offset + box.header_bytes)
    payload = file.read(box.length - box.header_bytes)
    if box.kind == "ftyp":
        return box.offset == 0 and _lists_brands(payload)
    return _indexes_fragments(payload, box.length, fragments)


def _is_zero(file: BinaryIO, box: Box) -> bool:
    file.seek(box.offset + box.header_bytes)
    left = box.length - box.header_bytes
    while left:
        part = file.read(min(left, READ_BYTES))
        if not part or part.count(0) != len(part):
            return False
        left -= len(part)
    return True


def _lists_brands(payload: bytes) -> bool:
    """Major brand, minor version (free 32 bits), compatible brands."""
    brands = [payload[:4], *(payload[at : at + 4] for at in range(8, len(payload), 4))]
    if len(payload) < 8 or len(payload) % 4 or len(brands) > MAX_BRANDS:
        return False
    return all(brand.decode("latin-1").rstrip(" ") in BRANDS for brand in brands)


def _indexes_fragments(payload: bytes, length: int, fragments: Set[int]) -> bool:
    """One `tfra` per track whose entries are existing fragments, then an `mfro` with the length of it all."""
    try:
        parts = list(_children(payload))
        *indices, (last, end) = parts
        if last != b"mfro" or end != struct.pack(">II", 0, length) or not fragments:
            return False
        return all(kind == b"tfra" and _points_at(body, fragments) for kind, body in indices)
    except (struct.error, ValueError):
        return False


def _points_at(body: bytes, fragments: Set[int]) -> bool:
    flags, _track, sizes, count = struct.unpack(">IIII", body[:16])
    version = flags >> 24
    if flags not in (0, 1 << 24) or sizes >> 6:
        return False
    wide = ">QQ" if version else ">II"
    tail = sum((sizes >> shift & 3) + 1 for shift in (0, 2, 4))
    step = struct.calcsize(wide) + tail
    if len(body) != 16 + count * step or count > len(fragments):
        return False
    entries = [struct.unpack(wide, body[at : at + step - tail]) for at in range(16, len(body), step)]
    times = [time for time, _ in entries]
    return times == sorted(times) and all(offset in fragments for _, offset in entries)


def _children(payload: bytes) -> Iterator[tuple[bytes, bytes]]:
    offset = 0
    while offset < len(payload):
        (size,) = struct.unpack(">I", payload[offset : offset + 4])
        if size < 8 or offset + size > len(payload):
            raise ValueError("a box does not fit into its parent")
        yield payload[offset + 4 : offset + 8], payload[offset + 8 : offset + size]
        offset += size
