"""The secrets of a mark: one that proves it, and one by which its place is found."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

from watermark.errors import WatermarkError

SECRET_BYTES = 32
KEY_ID_BITS = 12
KEY_IDS = 1 << KEY_ID_BITS
OWN_PILOT, SHARED_PILOT = b"VMK1", b"VMK2"  # how a stored key begins


@dataclass(frozen=True)
class MarkKey:
    """A 32-byte secret, its public 12-bit number, and the secret of the pilot that the keys of a site have in common.

    The pilot is what a search begins with: one for all keys that share it. A key without `pilot_secret` has a pilot of
    its own. No secret ever shows in `repr` or in an error.
    """

    secret: bytes = field(repr=False)
    key_id: int
    pilot_secret: bytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        secrets_held = [self.secret] if self.pilot_secret is None else [self.secret, self.pilot_secret]
        if not all(isinstance(one, bytes) and len(one) == SECRET_BYTES for one in secrets_held):
            raise WatermarkError(f"a mark key's secrets are {SECRET_BYTES} bytes; make one with MarkKey.generate()")
        if isinstance(self.key_id, bool) or not isinstance(self.key_id, int):
            raise WatermarkError(f"a key id is an integer, not {type(self.key_id).__name__}")
        if not 0 <= self.key_id < 1 << KEY_ID_BITS:
            raise WatermarkError(f"a key id lies in 0..{(1 << KEY_ID_BITS) - 1}, got {self.key_id}")

    @classmethod
    def generate(cls, *, key_id: int | None = None, beside: MarkKey | None = None) -> MarkKey:
        """A fresh key from the system's random source; without `key_id` its number is random too.

        It shares the pilot of the key `beside` it, if that one's can be shared, and else gets a fresh one.
        """
        number = secrets.randbelow(1 << KEY_ID_BITS) if key_id is None else key_id
        shared = None if beside is None else beside.pilot_secret
        return cls(secrets.token_bytes(SECRET_BYTES), number, shared or secrets.token_bytes(SECRET_BYTES))

    @property
    def pilot(self) -> MarkKey:
        """The key from which the pilot is drawn: equal for keys that share it."""
        return self if self.pilot_secret is None else MarkKey(self.pilot_secret, 0)

    def to_bytes(self) -> bytes:
        """Magic, key id (big endian), secret, and the shared pilot's secret: 38 or 70 bytes, to be kept secret."""
        magic = OWN_PILOT if self.pilot_secret is None else SHARED_PILOT
        return magic + self.key_id.to_bytes(2, "big") + self.secret + (self.pilot_secret or b"")

    @classmethod
    def from_bytes(cls, data: bytes) -> MarkKey:
        """The inverse of `to_bytes`; anything else is a `WatermarkError`."""
        magic, number, held = data[:4], data[4:6], data[6:]
        lengths = {OWN_PILOT: SECRET_BYTES, SHARED_PILOT: 2 * SECRET_BYTES}
        if len(held) != lengths.get(magic):
            raise WatermarkError("not a mark key: expected the 38 or 70 bytes of to_bytes()")
        return cls(held[:SECRET_BYTES], int.from_bytes(number, "big"), held[SECRET_BYTES:] or None)


def by_pilot(keys: Sequence[MarkKey]) -> list[tuple[MarkKey, list[MarkKey]]]:
    """The pilots' keys with the keys that share each; the order is that of the first of each."""
    groups: dict[MarkKey, list[MarkKey]] = {}
    for key in keys:
        groups.setdefault(key.pilot, []).append(key)
    return list(groups.items())
