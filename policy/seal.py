"""Sealed weights: one safetensors file under chunked AES-256-GCM with an authenticated header.

    magic (8 bytes) | header length (4, big-endian) | header (canonical JSON) | chunks

Every chunk is 1 MiB of plain bytes (the last one shorter) and a 16-byte tag. The chunk key is
HKDF-SHA256(content key, salt, label | SHA-256(prelude)); the nonce is prefix (7) | counter (4) | last (1);
the additional data is the prelude: magic, length and header. So a changed header, a cut, swapped,
repeated or altered chunk is refused. A header member that is not known is refused too.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import struct
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal

import torch
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import Field, StringConstraints, ValidationError
from torch import Tensor

from policy.canonical import b64url, b64url_decode, canonical_json, sha256_hex, strict_json_object
from policy.claims import Sha256Uri, Strict
from policy.errors import SealError
from policy.locked_memory import LockedBuffer, plain_memory

MAGIC = b"VASARI\x00\x01"
KEY_LABEL = b"vasari sealed weights v1\x00"
CHUNK_BYTES = 1 << 20
TAG_BYTES = 16
CONTENT_KEY_BYTES = 32
MAX_HEADER_BYTES = 4096
MAX_PLAIN_BYTES = 16 << 30
MAX_CONFIG_BYTES = 16 << 20
GATE_VERSION = 1

Key = bytes | memoryview

DTYPES: Mapping[str, torch.dtype] = {
    "BOOL": torch.bool, "U8": torch.uint8, "I8": torch.int8, "I16": torch.int16, "I32": torch.int32,
    "I64": torch.int64, "F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32, "F64": torch.float64,
}  # fmt: skip
"""Names of the safetensors format."""


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
    _config_of(_safetensors_members(payload[:MAX_CONFIG_BYTES], len(payload)))
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


def open_sealed(source: Path | BinaryIO, content_key: Key) -> OpenedWeights:
    """Decrypt a file, or an open one, into memory and rebuild the tensors; SealError. No plain byte touches a disk."""
    path = source if isinstance(source, Path) else Path("the sealed weights")
    with _opened(source) if isinstance(source, Path) else nullcontext(source) as file:
        header, prelude = _read_prelude(file, path)
        _require_size(file, header, prelude, path)
        plain = _decrypt(file, header, prelude, content_key, path)
    members = _safetensors_members(plain.numpy().data[:MAX_CONFIG_BYTES], len(plain))
    # The header, and with it the model digest, is authenticated by every chunk: no second hash of the payload.
    return OpenedWeights(_tensors(members, plain), _config_of(members))


def _write_sealed(file: BinaryIO, header: SealedHeader, payload: bytes, content_key: bytes) -> None:
    members = canonical_json(header.model_dump())
    prelude = MAGIC + struct.pack(">I", len(members)) + members
    with _chunk_key(content_key, header, prelude) as key:
        cipher, prefix = AESGCM(key.view), b64url_decode(header.nonce_prefix)
    file.write(prelude)
    view = memoryview(payload)
    for index, start in enumerate(range(0, len(payload), CHUNK_BYTES)):
        last = start + CHUNK_BYTES >= len(payload)
        file.write(cipher.encrypt(_nonce(prefix, index, last), view[start : start + CHUNK_BYTES], prelude))


def _require_size(file: BinaryIO, header: SealedHeader, prelude: bytes, path: Path) -> None:
    """Before memory is taken for as much as the header says."""
    chunks = -(-header.plain_bytes // CHUNK_BYTES)
    expected, came = len(prelude) + header.plain_bytes + chunks * TAG_BYTES, os.fstat(file.fileno()).st_size
    if came != expected:
        raise SealError(f"{path}: has {came} bytes, its header says {expected}: the file was cut or changed")


def _decrypt(file: BinaryIO, header: SealedHeader, prelude: bytes, content_key: Key, path: Path) -> Tensor:
    """The plain payload, uint8 [plain_bytes], decrypted in place: one copy, and none on a disk.

    The file is read, not mapped: what is mapped could be changed between being authenticated and being decrypted.
    """
    with _chunk_key(content_key, header, prelude) as key:
        cipher, prefix = AESGCM(key.view), b64url_decode(header.nonce_prefix)
    plain = torch.frombuffer(plain_memory(header.plain_bytes), dtype=torch.uint8)
    target, sealed = plain.numpy().data, memoryview(bytearray(CHUNK_BYTES + TAG_BYTES))
    for index, start in enumerate(range(0, header.plain_bytes, CHUNK_BYTES)):
        end = min(start + CHUNK_BYTES, header.plain_bytes)
        chunk = sealed[: file.readinto(sealed[: end - start + TAG_BYTES])]  # type: ignore[attr-defined]
        nonce = _nonce(prefix, index, end == header.plain_bytes)
        try:
            cipher.decrypt_into(nonce, chunk, prelude, target[start:end])
        except (InvalidTag, ValueError):
            raise SealError(
                f"{path}: chunk {index} does not open: the file was changed or cut, or this is not its key"
            ) from None
    return plain


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


def _chunk_key(content_key: Key, header: SealedHeader, prelude: bytes) -> LockedBuffer:
    if len(content_key) != CONTENT_KEY_BYTES:
        raise SealError(f"a content key has {CONTENT_KEY_BYTES} bytes, this one {len(content_key)}")
    info = KEY_LABEL + hashlib.sha256(prelude).digest()
    key = LockedBuffer(32)
    HKDF(hashes.SHA256(), 32, b64url_decode(header.salt), info).derive_into(content_key, key.view)
    return key


def _nonce(prefix: bytes, index: int, last: bool) -> bytes:
    return prefix + struct.pack(">IB", index, last)


def _safetensors_members(start: bytes | memoryview, size: int) -> dict[str, Any]:
    """The header of a safetensors file of `size` bytes that begins with `start`; raises SealError."""
    length = int.from_bytes(start[:8], "little")
    if len(start) < 8 or not 2 <= length <= min(len(start), size) - 8:
        raise SealError("expected a safetensors file: its header is missing or cut")
    try:
        return {**strict_json_object(bytes(start[8 : 8 + length])), "__end__": 8 + length}
    except ValueError as error:
        raise SealError(f"expected a safetensors file: its header is not one JSON object: {error}") from error


def _config_of(members: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON object under `config` in a safetensors file's metadata; raises SealError."""
    try:
        return strict_json_object(members["__metadata__"]["config"].encode())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SealError(
            f"expected a safetensors file whose metadata has a JSON object under 'config': {error}"
        ) from error


def _tensors(members: Mapping[str, Any], plain: Tensor) -> dict[str, Tensor]:
    """Views into `plain`, one per tensor; raises SealError when one lies outside it or has another size."""
    values, end = plain[members["__end__"] :], members["__end__"]
    tensors = {}
    for name, entry in members.items():
        if name in ("__metadata__", "__end__"):
            continue
        try:
            dtype, shape, (first, last) = DTYPES[entry["dtype"]], entry["shape"], entry["data_offsets"]
            if not 0 <= first <= last <= len(values):
                raise ValueError("outside the file")
            part = values[first:last]
            aligned = part if (end + first) % dtype.itemsize == 0 else part.clone()
            tensors[name] = aligned.view(dtype).reshape(shape)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise SealError(f"tensor {name!r:.80} of the sealed file is not where its header says") from error
    return tensors
