"""What a mark carries: 128 authenticated bits.

    version 4 | key id 12 | manifest id 64 | tag 48        (big endian, first bit first)

The tag is HMAC-SHA256 over the first 80 bits under a subkey of its own, cut to 48 bits. A reader
who holds the key accepts only a matching tag, so random bits pass with probability 2^-48.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from watermark.errors import WatermarkError
from watermark.key import KEY_ID_BITS, MarkKey
from watermark.prf import derive

VERSION = 1
VERSION_BITS = 4
MANIFEST_ID_BITS = 64
TAG_BITS = 48
HEADER_BITS = VERSION_BITS + KEY_ID_BITS  # known to a reader who tries a certain key
WIRE_BITS = HEADER_BITS + MANIFEST_ID_BITS + TAG_BITS


@dataclass(frozen=True)
class Payload:
    """The number under which a clip's manifest is registered, 64 bits."""

    manifest_id: int

    def __post_init__(self) -> None:
        if isinstance(self.manifest_id, bool) or not isinstance(self.manifest_id, int):
            raise WatermarkError(f"a manifest id is an integer, not {type(self.manifest_id).__name__}")
        if not 0 <= self.manifest_id < 1 << MANIFEST_ID_BITS:
            raise WatermarkError(f"a manifest id has {MANIFEST_ID_BITS} bits, got {self.manifest_id}")


def header_bits(key: MarkKey) -> NDArray[np.uint8]:
    """Version and key id, uint8 [16] in {0, 1}."""
    return np.unpackbits(np.frombuffer(_header(key), np.uint8))


def pack(payload: Payload, key: MarkKey) -> NDArray[np.uint8]:
    """The wire form, uint8 [128] in {0, 1}."""
    body = _header(key) + payload.manifest_id.to_bytes(MANIFEST_ID_BITS // 8, "big")
    return np.unpackbits(np.frombuffer(body + _tag(body, key), np.uint8))


def unpack(bits: NDArray[np.uint8], key: MarkKey) -> Payload | None:
    """The payload if version, key id and tag are this key's, else None. `bits` is uint8 [128]."""
    wire = np.packbits(bits).tobytes()
    if len(wire) * 8 != WIRE_BITS:
        raise WatermarkError(f"a payload has {WIRE_BITS} bits, got {len(bits)}")
    body, tag = wire[: -TAG_BITS // 8], wire[-TAG_BITS // 8 :]
    genuine = hmac.compare_digest(tag, _tag(body, key)) and hmac.compare_digest(body[:2], _header(key))
    return Payload(int.from_bytes(body[2:], "big")) if genuine else None


def _header(key: MarkKey) -> bytes:
    return (VERSION << KEY_ID_BITS | key.key_id).to_bytes(HEADER_BITS // 8, "big")


def _tag(body: bytes, key: MarkKey) -> bytes:
    return hmac.digest(derive(key, "tag"), body, "sha256")[: TAG_BITS // 8]
