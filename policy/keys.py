"""Ed25519 keys of the roles, in PKCS #8 PEM files that only their owner can read.

Roles: consent registry, accreditation authority, gate, log, researcher. A key is named by its
RFC 7638 thumbprint, which is also its `kid` and the `jkt` that binds a token to its holder.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from policy.canonical import b64url, b64url_decode, canonical_json
from policy.errors import KeyFileError

JWK_MEMBERS = frozenset({"kty", "crv", "x"})
KEPT_KEYS = 256


def write_secret(path: Path, data: bytes, *, overwrite: bool = False) -> None:
    """Write `data` to `path`, mode 0600, whole or not at all.

    Raises KeyFileError when the file exists and `overwrite` is False.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.part")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if overwrite:
            temporary.replace(path)
        else:
            os.link(temporary, path)
    except FileExistsError:
        raise KeyFileError(f"{path} exists already; move it away first, keys are never overwritten") from None
    finally:
        temporary.unlink(missing_ok=True)


def read_secret(path: Path) -> bytes:
    """Read a secret file; raises KeyFileError when it is missing or other users can read it."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode  # of what is read, whatever the name means by now
            data = file.read()
    except OSError as error:
        raise KeyFileError(f"{path}: cannot be read ({error.strerror})") from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise KeyFileError(f"{path}: other users can read it (mode {stat.S_IMODE(mode):04o}); run: chmod 600 {path}")
    return data


def write_private_key(path: Path, key: Ed25519PrivateKey) -> None:
    """Write `key` as unencrypted PKCS #8 PEM, mode 0600; never overwrites."""
    write_secret(
        path,
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )


def read_private_key(path: Path) -> Ed25519PrivateKey:
    """Read an Ed25519 key of `write_private_key`; raises KeyFileError."""
    try:
        key = serialization.load_pem_private_key(read_secret(path), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeyFileError(f"{path}: expected an unencrypted Ed25519 key in PKCS #8 PEM") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFileError(f"{path}: expected an Ed25519 key, got {type(key).__name__}")
    return key


def public_jwk(key: Ed25519PublicKey) -> dict[str, str]:
    """The public key as JWK with exactly the members of RFC 8037: kty, crv, x."""
    return {"kty": "OKP", "crv": "Ed25519", "x": b64url(key.public_bytes_raw())}


def key_from_jwk(jwk: Mapping[str, Any]) -> Ed25519PublicKey:
    """Read a public JWK; any other member, type or length raises ValueError."""
    if set(jwk) != JWK_MEMBERS or jwk["kty"] != "OKP" or jwk["crv"] != "Ed25519":
        raise ValueError("expected a JWK with exactly kty=OKP, crv=Ed25519 and x")
    if not isinstance(jwk["x"], str):
        raise ValueError("JWK member x is not a string")
    return _public_key(jwk["x"])


def thumbprint(key: Ed25519PublicKey | Ed25519PrivateKey) -> str:
    """RFC 7638 thumbprint (SHA-256, base64url) of the public key."""
    public = key.public_key() if isinstance(key, Ed25519PrivateKey) else key
    return _thumbprint(public.public_bytes_raw())


@lru_cache(KEPT_KEYS)
def _public_key(x: str) -> Ed25519PublicKey:
    """The key of a JWK's `x`; kept, as reading it anew costs a tenth of a verification."""
    return Ed25519PublicKey.from_public_bytes(b64url_decode(x))


@lru_cache(KEPT_KEYS)
def _thumbprint(public: bytes) -> str:
    return b64url(hashlib.sha256(canonical_json(public_jwk(Ed25519PublicKey.from_public_bytes(public)))).digest())
