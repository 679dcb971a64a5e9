"""Key-encryption keys: what wraps the content keys of sealed weights. In a file, or in a hardware module.

file:keys/broker.kek      32 bytes, mode 0600
pkcs11:…                  an AES-256 key that never leaves the module
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from policy.errors import KeyFileError
from policy.keys import read_secret
from policy.locked_memory import LockedBuffer, wipe_bytes
from provenance import HsmSecretKey, KeySourceError

NONCE_BYTES, TAG_BYTES = 12, 16


class KeyEncryptionKey(Protocol):
    """Wraps and unwraps keys; `context` is authenticated. Both raise KeyFileError."""

    def wrap(self, key: bytes, *, context: bytes) -> bytes:
        """Nonce, cipher text and tag."""
        ...

    def unwrap(self, wrapped: bytes, *, context: bytes) -> LockedBuffer:
        """The key, in memory that is wiped after use."""
        ...


class FileKek:
    """A key-encryption key in a file that only its owner can read."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def wrap(self, key: bytes, *, context: bytes) -> bytes:
        """See KeyEncryptionKey."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + AESGCM(read_secret(self._path)).encrypt(nonce, key, context)

    def unwrap(self, wrapped: bytes, *, context: bytes) -> LockedBuffer:
        """See KeyEncryptionKey."""
        try:
            kek, key = read_secret(self._path), LockedBuffer(len(wrapped) - NONCE_BYTES - TAG_BYTES)
            AESGCM(kek).decrypt_into(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], context, key.view)
            wipe_bytes(kek)
        except (InvalidTag, ValueError) as error:
            raise KeyFileError(f"{self._path}: does not open this wrapped key") from error
        return key


class HsmKek:
    """A key-encryption key in a hardware module."""

    def __init__(self, uri: str) -> None:
        self._key = HsmSecretKey(uri)

    def wrap(self, key: bytes, *, context: bytes) -> bytes:
        """See KeyEncryptionKey."""
        try:
            return self._key.encrypt(key, context=context)
        except KeySourceError as error:
            raise KeyFileError(str(error)) from error

    def unwrap(self, wrapped: bytes, *, context: bytes) -> LockedBuffer:
        """See KeyEncryptionKey."""
        try:
            return LockedBuffer.take(self._key.decrypt(wrapped, context=context))
        except KeySourceError as error:
            raise KeyFileError(str(error)) from error


def open_kek(uri: str, *, base: Path) -> KeyEncryptionKey:
    """The key-encryption key at `uri`, a relative path starting at `base`; raises KeyFileError."""
    if uri.startswith("pkcs11:"):
        try:
            return HsmKek(uri)
        except KeySourceError as error:
            raise KeyFileError(str(error)) from error
    if uri.startswith("file:"):
        return FileKek(base / uri.removeprefix("file:"))
    raise KeyFileError(f"{uri!r:.80}: a key-encryption key lies in file: or pkcs11:")
