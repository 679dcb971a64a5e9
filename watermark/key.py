"""The secret that places a mark and proves it."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from watermark.errors import WatermarkError

SECRET_BYTES = 32
KEY_ID_BITS = 12
KEY_IDS = 1 << KEY_ID_BITS
MAGIC = b"VMK1"


@dataclass(frozen=True)
class MarkKey:
    """A 32-byte secret and its public 12-bit number. The secret never shows in `repr` or in an error."""

    secret: bytes = field(repr=False)
    key_id: int

    def __post_init__(self) -> None:
        if not isinstance(self.secret, bytes) or len(self.secret) != SECRET_BYTES:
            raise WatermarkError(f"a mark key's secret is {SECRET_BYTES} bytes; make one with MarkKey.generate()")
        if isinstance(self.key_id, bool) or not isinstance(self.key_id, int):
            raise WatermarkError(f"a key id is an integer, not {type(self.key_id).__name__}")
        if not 0 <= self.key_id < 1 << KEY_ID_BITS:
            raise WatermarkError(f"a key id lies in 0..{(1 << KEY_ID_BITS) - 1}, got {self.key_id}")

    @classmethod
    def generate(cls, *, key_id: int | None = None) -> MarkKey:
        """A fresh key from the system's random source; without `key_id` its number is random too."""
        number = secrets.randbelow(1 << KEY_ID_BITS) if key_id is None else key_id
        return cls(secrets.token_bytes(SECRET_BYTES), number)

    def to_bytes(self) -> bytes:
        """38 bytes: magic, key id (big endian), secret. Store them like a private key."""
        return MAGIC + self.key_id.to_bytes(2, "big") + self.secret

    @classmethod
    def from_bytes(cls, data: bytes) -> MarkKey:
        """The inverse of `to_bytes`; anything else is a `WatermarkError`."""
        if len(data) != len(MAGIC) + 2 + SECRET_BYTES or data[: len(MAGIC)] != MAGIC:
            raise WatermarkError(f"not a mark key: expected {len(MAGIC) + 2 + SECRET_BYTES} bytes from to_bytes()")
        return cls(data[len(MAGIC) + 2 :], int.from_bytes(data[len(MAGIC) : len(MAGIC) + 2], "big"))
