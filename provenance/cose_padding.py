"""The part of a claim signature that nothing signs: its unprotected header, with up to kilobytes of padding.

Both engines read a file whose padding was overwritten as trusted, so data can hide there. This reads the
COSE_Sign1 structure (RFC 9052 section 4.2) just far enough to look. CBOR after RFC 8949, definite lengths only.

What stays open: some 25 bytes of framing inside the time stamp (algorithm identifiers that CMS does not sign). They
can't carry content without changing how the engines read the stamp, and they never change the stamped time.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

from provenance.errors import ProvenanceError

_PADDING = ("pad", "pad2")
_KNOWN = frozenset({*_PADDING, "sigTst", "sigTst2", "rVals", "x5chain", 33})
_COSE_SIGN1 = 18
_MAX_DEPTH = 16


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


def check_unsigned_header(signature: bytes) -> str | None:
    """None when the unprotected header holds only known entries and zero padding; else what it hides."""
    cursor = _Cursor(signature)
    try:
        value = _decode(cursor)
    except (ProvenanceError, UnicodeDecodeError, TypeError) as error:
        return f"the signature is not well formed: {error}"
    if not isinstance(value, list) or len(value) != 4 or not isinstance(value[1], Mapping):
        return "the signature is no COSE_Sign1 structure"
    header = value[1]
    if value[2] not in (None, b""):
        return "the signature carries a payload of its own"
    for name in _PADDING:
        padding = header.get(name, b"")
        if not isinstance(padding, bytes) or any(padding):
            return f"the padding {name!r} of the signature holds content"
    unknown = sorted(str(name) for name in set(header) - _KNOWN)
    if unknown:
        return f"the unsigned header of the signature holds {unknown[0]!r}"
    if any(signature[cursor.offset :]):
        return f"{len(signature) - cursor.offset} bytes follow the signature"
    return None


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
        raise ProvenanceError("CBOR: indefinite lengths are not used in signatures")
    return int.from_bytes(cursor.take(1 << (low - 24)), "big")
