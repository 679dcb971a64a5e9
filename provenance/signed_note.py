"""C2SP signed notes (c2sp.org/signed-note), Ed25519, parsed strictly.

A note is text ending in a newline, an empty line, and lines `— <name> <base64(key id || signature)>`.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from provenance.errors import ProofError

ED25519, COSIGNATURE = 0x01, 0x04  # types of key: of a log, of a witness (c2sp.org/tlog-cosignature)
KEY_ID_BYTES = 4
MAX_NOTE_BYTES = 1 << 20
MAX_SIGNATURES = 64  # the format asks for at least 16
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,19}", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")  # all but newline


@dataclass(frozen=True)
class NoteSignature:
    """One signature line: key name, 4-byte key id, raw signature."""

    name: str
    key_id: bytes
    signature: bytes


@dataclass(frozen=True)
class SignedNote:
    """The signed text (with its final newline) and its signatures; nothing verified yet."""

    text: str
    signatures: tuple[NoteSignature, ...]


def key_id(name: str, key: Ed25519PublicKey, kind: int = ED25519) -> bytes:
    """SHA-256(name || 0x0A || type || public key), first 4 bytes."""
    return _key_id(name, key.public_bytes_raw(), kind)


@lru_cache(maxsize=256)
def _key_id(name: str, public: bytes, kind: int) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + bytes([kind]) + public).digest()[:KEY_ID_BYTES]


@lru_cache(maxsize=256)
def check_key_name(name: str) -> None:
    """Raise ProofError unless `name` is non-empty and free of spaces, plus signs and control characters."""
    if not name or "+" in name or any(c.isspace() for c in name) or _CONTROL.search(name):
        raise ProofError(f"key name: must not be empty nor hold spaces, '+' or control characters, got {name!r}")


def sign_note(text: str, *, name: str, key: Ed25519PrivateKey) -> str:
    """`text` (ending in a newline) with one signature line."""
    check_key_name(name)
    _check_text(text)
    raw = key_id(name, key.public_key()) + key.sign(text.encode())
    return f"{text}\n— {name} {base64.b64encode(raw).decode()}\n"


def parse_note(note: str) -> SignedNote:
    """Split a note; raises ProofError for anything but the exact format."""
    if len(note.encode("utf-8", "surrogatepass")) > MAX_NOTE_BYTES:
        raise ProofError(f"signed note: longer than {MAX_NOTE_BYTES} bytes")
    text, separator, lines = note.rpartition("\n\n")
    if not separator or not lines.endswith("\n"):
        raise ProofError("signed note: expected text, an empty line, and signature lines")
    _check_text(text + "\n")
    signatures = tuple(_parse_signature(line) for line in lines[:-1].split("\n"))
    if len(signatures) > MAX_SIGNATURES:
        raise ProofError(f"signed note: at most {MAX_SIGNATURES} signatures, got {len(signatures)}")
    return SignedNote(text + "\n", signatures)


def verify_note(note: str, keys: Mapping[str, Ed25519PublicKey]) -> str:
    """The text of `note`, signed by at least one of `keys` (by name).

    Signatures of unknown keys are ignored; a known key whose signature fails, or none that verifies, is a
    ProofError.
    """
    parsed = parse_note(note)
    verified = 0
    for line in parsed.signatures:
        key = keys.get(line.name)
        if key is None or line.key_id != key_id(line.name, key):
            continue
        try:
            key.verify(line.signature, parsed.text.encode())
        except InvalidSignature as error:
            raise ProofError(f"signed note: the signature of {line.name} does not hold") from error
        verified += 1
    if not verified:
        raise ProofError(f"signed note: no signature of {', '.join(sorted(keys))} under the given key")
    return parsed.text


def decode_base64(text: str, *, size: int | None = None) -> bytes:
    """Canonical standard base64 (padded, no stray bits); raises ProofError."""
    try:
        raw = base64.b64decode(text.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error) as error:
        raise ProofError("base64: not canonical standard base64") from error
    if base64.b64encode(raw).decode() != text:
        raise ProofError("base64: not canonical standard base64")
    if size is not None and len(raw) != size:
        raise ProofError(f"base64: expected {size} bytes, got {len(raw)}")
    return raw


def parse_decimal(text: str) -> int:
    """An ASCII decimal without sign, underscore or leading zero, below 2^63; raises ProofError."""
    if not _DECIMAL.fullmatch(text) or int(text) >= 2**63:
        raise ProofError(f"number: expected ASCII decimal without leading zeros, got {text[:40]!r}")
    return int(text)


def _check_text(text: str) -> None:
    if not text.endswith("\n") or len(text) < 2:
        raise ProofError("signed note: the text must not be empty and must end in a newline")
    if _CONTROL.search(text):
        raise ProofError("signed note: control characters other than newline are not allowed")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ProofError("signed note: the text is not valid Unicode") from error


def _parse_signature(line: str) -> NoteSignature:
    parts = line.split(" ")
    if len(parts) != 3 or parts[0] != "—":
        raise ProofError("signed note: expected a signature line '— <name> <base64>'")
    check_key_name(parts[1])
    raw = decode_base64(parts[2])
    if len(raw) <= KEY_ID_BYTES:
        raise ProofError("signed note: a signature line is too short")
    return NoteSignature(parts[1], raw[:KEY_ID_BYTES], raw[KEY_ID_BYTES:])
