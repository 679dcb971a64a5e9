"""A strict reader of the CBOR (RFC 8949) that signatures use: definite lengths, no key twice, little nesting.

`require_well_formed` takes any CBOR, and is for what other readers are given: some reserve memory for as many items as
a length declares, so that 15 kB can cost hundreds of MB.
"""

from collections.abc import Hashable
from dataclasses import dataclass

from provenance.errors import ProvenanceError

_COSE_SIGN1 = 18
_MAX_DEPTH = 16
_MAX_WELL_FORMED_DEPTH = 128
_BREAK = 0xFF


@dataclass
class _Cursor:
    content: bytes
    offset: int = 0

    def take(self, size: int) -> bytes:
        part = self.content[self.offset : self.offset + size]
        if len(part) != size:
            raise ProvenanceError("CBOR: ends too early")
        self.offset += size
        return part


def decode_cbor(content: bytes) -> tuple[object, int]:
    """The first item in `content` and how many bytes it takes; raises ProvenanceError for anything malformed."""
    cursor = _Cursor(content)
    try:
        return _decode(cursor), cursor.offset
    except (UnicodeDecodeError, TypeError) as error:
        raise ProvenanceError(f"CBOR: {error}") from error


def _decode(cursor: _Cursor, depth: int = 0) -> object:
    if depth > _MAX_DEPTH:
        raise ProvenanceError("CBOR: nested too deeply")
    (head,) = cursor.take(1)
    major, argument = head >> 5, _argument(cursor, head & 0x1F)
    if major == 0:
        return argument
    if major == 1:
        return -1 - argument
    if major == 2:
        return cursor.take(argument)
    if major == 3:
        return cursor.take(argument).decode("utf-8")
    if major == 4:
        return [_decode(cursor, depth + 1) for _ in range(min(argument, len(cursor.content)))]
    if major == 5:
        return _decode_map(cursor, argument, depth)
    if major == 6:
        if depth == 0 and argument != _COSE_SIGN1:
            raise ProvenanceError(f"CBOR: expected tag {_COSE_SIGN1}, got {argument}")
        return _decode(cursor, depth + 1)
    return {20: False, 21: True, 22: None}.get(argument, argument)


def _decode_map(cursor: _Cursor, size: int, depth: int) -> dict[Hashable, object]:
    entries: dict[Hashable, object] = {}
    for _ in range(min(size, len(cursor.content))):
        key = _decode(cursor, depth + 1)
        if not isinstance(key, Hashable) or key in entries:
            raise ProvenanceError("CBOR: a map key stands twice or can't be a key")
        entries[key] = _decode(cursor, depth + 1)
    return entries


def _argument(cursor: _Cursor, low: int) -> int:
    if low < 24:
        return low
    if low > 27:
        raise ProvenanceError("CBOR: a length or value is reserved or, in a signature, indefinite")
    return int.from_bytes(cursor.take(1 << (low - 24)), "big")


def require_well_formed(content: bytes) -> None:
    """Raise ProvenanceError unless `content` is one whole item of CBOR and nothing else (RFC 8949, appendix C).

    Then no array, map or string in it declares more than it holds.
    """
    cursor, open_items = _Cursor(content), [1]  # items still to come at each depth; -1: until a break
    while open_items:
        if open_items[-1] == 0:
            open_items.pop()
            continue
        (head,) = cursor.take(1)
        if head == _BREAK and open_items[-1] == -1:
            open_items.pop()
            continue
        if open_items[-1] > 0:
            open_items[-1] -= 1
        open_items += _inner_items(cursor, head)
        if len(open_items) > _MAX_WELL_FORMED_DEPTH:
            raise ProvenanceError("CBOR: nested too deeply")
    if cursor.offset != len(content):
        raise ProvenanceError(f"CBOR: {len(content) - cursor.offset} bytes follow the item")


def _inner_items(cursor: _Cursor, head: int) -> list[int]:
    """How many items stand inside the one that `head` begins; strings and numbers are passed over."""
    major, low = head >> 5, head & 0x1F
    if low == 31 and major in (2, 3, 4, 5):
        return [-1]
    argument = _argument(cursor, low)
    left = len(cursor.content) - cursor.offset
    if major in (2, 3):
        cursor.take(argument)
    elif major in (4, 5):
        count = argument * (major - 3)
        if count > left:
            raise ProvenanceError(f"CBOR: {count} items are declared in {left} bytes")
        return [count]
    return [1] if major == 6 else []
