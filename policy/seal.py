"""Sealed weights: one safetensors file under chunked AES-256-GCM with an authenticated header.

    magic (8 bytes) | header length (4, big-endian) | header (canonical JSON) | chunks

Every chunk is 1 MiB of plain bytes (the last one shorter) and a 16-byte tag. The chunk key is
HKDF-SHA256(content key, salt, label | SHA-256(prelude)); the nonce is prefix (7) | counter (4) | last (1);
the additional data is the prelude: magic, length and header. So a changed header, a cut, swapped,
repeated or altered chunk is refused. A header member that is not known is refused too.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal

import safetensors.torch
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import Field, StringConstraints, ValidationError
from torch import Tensor

from policy.canonical import b64url, b64url_decode, canonical_json, sha256_hex, strict_json_object
from policy.consent_token import Sha256Uri, Strict
from policy.errors import SealError

MAGIC = b"VASARI\x00\x01"
KEY_LABEL = b"vasari sealed weights v1\x00"
CHUNK_BYTES = 1 << 20
TAG_BYTES = 16
CONTENT_KEY_BYTES = 32
MAX_HEADER_BYTES = 4096
MAX_PLAIN_BYTES = 16 << 30
MAX_CONFIG_BYTES = 16 << 20
GATE_VERSION = 1


class SealedHeader(Strict):
    """The header in clear: authenticated, not secret. `model_digest` is the SHA-256 of the plain payload."""

    algorithm: Literal["AES-256-GCM-HKDF-SHA256"]
    chunk_bytes: Literal[1048576]
    minimum_gate_version: Annotated[int, Field(ge=1)]
    model_digest: Sha256Uri
    nonce_prefix: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{10}$")]
    plain_bytes: Annotated[int, Field(ge=1, le=MAX_PLAIN_BYTES)]
    salt: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{43}$")]


@dataclass(frozen=True)
class OpenedWeights:
    """Tensors by name, and the model's configuration."""

    tensors: Mapping[str, Tensor]
    config: Mapping[str, Any]


def seal_weights(plain: bytes | Path, out: Path, *, content_key: bytes) -> str:
    """Seal one safetensors file into `out` (whole or not at all); returns its model digest, `sha256:...`.

    Raises SealError when `plain` is no safetensors file with a JSON `config` in its metadata.
    """
    payload = plain if isinstance(plain, bytes) else plain.read_bytes()
    _config_of(payload)
    header = SealedHeader(
        algorithm="AES-256-GCM-HKDF-SHA256",
        chunk_bytes=1048576,
        minimum_gate_version=GATE_VERSION,
        model_digest=f"sha256:{sha256_hex(payload)}",
        nonce_prefix=b64url(secrets.token_bytes(7)),
        plain_bytes=len(payload),
        salt=b64url(secrets.token_bytes(32)),
    )
    temporary = out.with_name(f".{out.name}.{secrets.token_hex(6)}.part")
    try:
        with temporary.open("xb") as file:
            _write_sealed(file, header, payload, content_key)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(out)
    finally:
        temporary.unlink(missing_ok=True)
    return header.model_digest


def read_sealed_header(path: Path) -> SealedHeader:
    """The header, not yet authenticated; raises SealError."""
    with _opened(path) as file:
        return _read_prelude(file, path)[0]


def open_sealed(path: Path, content_key: bytes) -> OpenedWeights:
    """Decrypt into memory and rebuild the tensors; raises SealError. No plain byte touches a disk."""
    with _opened(path) as file:
        header, prelude = _read_prelude(file, path)
        plain = _decrypt(file, header, prelude, content_key, path)
    if f"sha256:{sha256_hex(plain)}" != header.model_digest:
        raise SealError(f"{path}: the model inside is not the one its header names")
    config = _config_of(plain)
    return OpenedWeights(safetensors.torch.load(plain), config)


def _write_sealed(file: BinaryIO, header: SealedHeader, payload: bytes, content_key: bytes) -> None:
    members = canonical_json(header.model_dump())
    prelude = MAGIC + struct.pack(">I", len(members)) + members
    cipher, prefix = AESGCM(_chunk_key(content_key, header, prelude)), b64url_decode(header.nonce_prefix)
    file.write(prelude)
    view = memoryview(payload)
    for index, start in enumerate(range(0, len(payload), CHUNK_BYTES)):
        last = start + CHUNK_BYTES >= len(payload)
        file.write(cipher.encrypt(_nonce(prefix, index, last), view[start : start + CHUNK_BYTES], prelude))


def _decrypt(file: BinaryIO, header: SealedHeader, prelude: bytes, content_key: bytes, path: Path) -> bytes:
    cipher, prefix = AESGCM(_chunk_key(content_key, header, prelude)), b64url_decode(header.nonce_prefix)
    chunks = []
    for index, start in enumerate(range(0, header.plain_bytes, CHUNK_BYTES)):
        size = min(CHUNK_BYTES, header.plain_bytes - start)
        last = start + size == header.plain_bytes
        try:
            chunks.append(cipher.decrypt(_nonce(prefix, index, last), file.read(size + TAG_BYTES), prelude))
        except InvalidTag:
            raise SealError(
                f"{path}: chunk {index} does not open: the file was changed or cut, or this is not its key"
            ) from None
    if file.read(1):
        raise SealError(f"{path}: there are bytes after the last chunk; the file was changed")
    return b"".join(chunks)


def _read_prelude(file: BinaryIO, path: Path) -> tuple[SealedHeader, bytes]:
    start = file.read(len(MAGIC) + 4)
    if len(start) != len(MAGIC) + 4 or not start.startswith(MAGIC):
        raise SealError(f"{path}: not a sealed weights file of version 1")
    (length,) = struct.unpack(">I", start[len(MAGIC) :])
    if not 2 <= length <= MAX_HEADER_BYTES:
        raise SealError(f"{path}: the header has {length} bytes, at most {MAX_HEADER_BYTES} are read")
    members = file.read(length)
    try:
        header = SealedHeader.model_validate(strict_json_object(members))
    except ValidationError as error:
        names = ", ".join(".".join(map(str, fault["loc"])) for fault in error.errors(include_input=False))
        raise SealError(f"{path}: header members not as expected: {names[:200]}") from None
    except ValueError as error:
        raise SealError(f"{path}: the header is not one JSON object: {error}") from None
    if canonical_json(header.model_dump()) != members:
        raise SealError(f"{path}: the header is not in its canonical form")
    if header.minimum_gate_version > GATE_VERSION:
        raise SealError(f"{path}: made for gate version {header.minimum_gate_version}; update Vasari")
    return header, start + members


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise SealError(f"{path}: sealed weights cannot be read ({error.strerror})") from error


def _chunk_key(content_key: bytes, header: SealedHeader, prelude: bytes) -> bytes:
    if len(content_key) != CONTENT_KEY_BYTES:
        raise SealError(f"a content key has {CONTENT_KEY_BYTES} bytes, this one {len(content_key)}")
    info = KEY_LABEL + hashlib.sha256(prelude).digest()
    return HKDF(hashes.SHA256(), 32, b64url_decode(header.salt), info).derive(content_key)


def _nonce(prefix: bytes, index: int, last: bool) -> bytes:
    return prefix + struct.pack(">IB", index, last)


def _config_of(payload: bytes) -> dict[str, Any]:
    """The JSON under `config` in a safetensors file's metadata; raises SealError."""
    try:
        length = int.from_bytes(payload[:8], "little")
        if not 2 <= length <= min(MAX_CONFIG_BYTES, len(payload) - 8):
            raise ValueError("no safetensors header")
        metadata = strict_json_object(payload[8 : 8 + length])["__metadata__"]
        config = strict_json_object(metadata["config"].encode())
    except (ValueError, KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise SealError(
            f"expected a safetensors file whose metadata has a JSON object under 'config': {error}"
        ) from error
    return config
