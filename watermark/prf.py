"""Keyed randomness: HMAC-SHA256 separates the domains, ChaCha20 (RFC 8439) makes the stream.

Every pattern of a mark is a pure function of the key and a text label. Without the secret the
patterns can't be told from coin tosses, which is what the false-positive bound rests on.
"""

from __future__ import annotations

import hmac

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from numpy.typing import NDArray

from watermark.key import MarkKey

DOMAIN = b"vasari.watermark.v1"


def derive(key: MarkKey, label: str) -> bytes:
    """A 32-byte subkey for one purpose, independent of every other label's."""
    message = b"\x00".join((DOMAIN, key.key_id.to_bytes(2, "big"), label.encode()))
    return hmac.digest(key.secret, message, "sha256")


def stream(key: MarkKey, label: str, length: int) -> bytes:
    """`length` keyed bytes. The subkey is used for this one stream, so the nonce may be zero."""
    cipher = Cipher(algorithms.ChaCha20(derive(key, label), bytes(16)), mode=None)
    return cipher.encryptor().update(bytes(length))


def signs(key: MarkKey, label: str, count: int) -> NDArray[np.int8]:
    """`count` fair keyed signs in {-1, +1}."""
    raw = np.frombuffer(stream(key, label, (count + 7) // 8), np.uint8)
    return (1 - 2 * np.unpackbits(raw)[:count].astype(np.int8)).astype(np.int8)


def permutation(key: MarkKey, label: str, count: int) -> NDArray[np.int64]:
    """A keyed permutation of 0..count-1, by sorting 64-bit keyed numbers."""
    return np.argsort(np.frombuffer(stream(key, label, 8 * count), "<u8"), kind="stable")
