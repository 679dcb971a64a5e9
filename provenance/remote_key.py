"""Private keys that are used and never seen: in a hardware module, behind a key service, in another program.

They are cryptography's own key types, so that whoever signs with a key does not know where it lies. Every signature is
checked against the public key before it is used: a module that answers with another key is found at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from provenance.errors import KeySourceError

RAW_SIGNATURE_BYTES = 64
RawSign = Callable[[bytes], bytes]
"""Message -> signature: Ed25519 as in RFC 8032; ECDSA over SHA-256 as r and s, 32 bytes each, or in DER."""


class RemoteEd25519Key(Ed25519PrivateKey):
    """An Ed25519 key at `where`; raises KeySourceError when it does not answer, with the original error as cause."""

    def __init__(self, public: Ed25519PublicKey, sign: RawSign, *, where: str) -> None:
        self._public, self._sign, self._where = public, sign, where

    def __repr__(self) -> str:
        return f"RemoteEd25519Key({self._where})"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def public_key(self) -> Ed25519PublicKey:
        """The public half."""
        return self._public

    def sign(self, data: bytes) -> bytes:  # type: ignore[override]  # buffers are made bytes by the caller
        """An RFC 8032 signature, checked."""
        signature = self._sign(bytes(data))
        try:
            self._public.verify(signature, data)
        except InvalidSignature as error:
            raise KeySourceError(f"{self._where}: answers with signatures of another key") from error
        return signature

    def private_bytes(self, *args: object, **options: object) -> NoReturn:
        """The key can't leave."""
        raise KeySourceError(f"{self._where}: the private key can't be read, only used")

    private_bytes_raw = private_bytes


class RemoteP256Key(ec.EllipticCurvePrivateKey):
    """A P-256 key at `where`; signs ECDSA with SHA-256 only. Raises KeySourceError like `RemoteEd25519Key`."""

    def __init__(self, public: ec.EllipticCurvePublicKey, sign: RawSign, *, where: str) -> None:
        self._public, self._sign, self._where = public, sign, where

    def __repr__(self) -> str:
        return f"RemoteP256Key({self._where})"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    @property
    def curve(self) -> ec.EllipticCurve:
        """P-256."""
        return self._public.curve

    @property
    def key_size(self) -> int:
        """Bits."""
        return self._public.key_size

    def public_key(self) -> ec.EllipticCurvePublicKey:
        """The public half."""
        return self._public

    def sign(self, data: bytes, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:  # type: ignore[override]
        """A DER signature, checked."""
        if not isinstance(signature_algorithm.algorithm, hashes.SHA256):
            raise KeySourceError(f"{self._where}: signs over SHA-256 only")
        raw = self._sign(bytes(data))
        half = RAW_SIGNATURE_BYTES // 2
        signature = raw
        if len(raw) == RAW_SIGNATURE_BYTES:
            signature = encode_dss_signature(int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big"))
        try:
            self._public.verify(signature, data, signature_algorithm)
        except InvalidSignature as error:
            raise KeySourceError(f"{self._where}: answers with signatures of another key") from error
        return signature

    def exchange(self, *args: object, **options: object) -> NoReturn:
        """Not offered."""
        raise KeySourceError(f"{self._where}: this key signs, it agrees on no secrets")

    def private_numbers(self) -> NoReturn:
        """The key can't leave."""
        raise KeySourceError(f"{self._where}: the private key can't be read, only used")

    def private_bytes(self, *args: object, **options: object) -> NoReturn:
        """The key can't leave."""
        self.private_numbers()


SigningKey = Ed25519PrivateKey | ec.EllipticCurvePrivateKey
PublicKey = Ed25519PublicKey | ec.EllipticCurvePublicKey


def remote_key(public: PublicKey, sign: RawSign, *, where: str) -> SigningKey:
    """The key type that belongs to `public`."""
    if isinstance(public, Ed25519PublicKey):
        return RemoteEd25519Key(public, sign, where=where)
    return RemoteP256Key(public, sign, where=where)
