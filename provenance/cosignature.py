"""Witness cosignatures on checkpoints (c2sp.org/tlog-cosignature, Ed25519): a third party saw this tree at this time.

A cosignature covers `cosignature/v1`, the time, and the whole checkpoint body. Its key id has the type byte 0x04, so
that a log's own signature never passes for a witness's, nor the other way round.
"""

import base64
import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from provenance.checkpoint import parse_checkpoint_body
from provenance.errors import ProofError
from provenance.signed_note import KEY_ID_BYTES, check_key_name, decode_base64, parse_note

COSIGNATURE = 0x04
_TIME_BYTES = 8
_SIGNATURE_BYTES = 64


def witness_key_id(name: str, key: Ed25519PublicKey) -> bytes:
    """SHA-256(name || 0x0A || 0x04 || public key), first 4 bytes."""
    material = name.encode() + b"\n" + bytes([COSIGNATURE]) + key.public_bytes_raw()
    return hashlib.sha256(material).digest()[:KEY_ID_BYTES]


def format_witness_key(name: str, key: Ed25519PublicKey) -> str:
    """The witness's verifier key: name, key id, type and key."""
    check_key_name(name)
    tagged = bytes([COSIGNATURE]) + key.public_bytes_raw()
    return f"{name}+{witness_key_id(name, key).hex()}+{base64.b64encode(tagged).decode()}"


def parse_witness_key(text: str) -> tuple[str, Ed25519PublicKey]:
    """Name and key of a witness's verifier key; raises ProofError."""
    parts = text.strip().split("+", 2)
    if len(parts) != 3:
        raise ProofError("witness key: expected the form name+hash+base64")
    check_key_name(parts[0])
    tagged = decode_base64(parts[2])
    if len(tagged) != 33 or tagged[0] != COSIGNATURE:
        raise ProofError("witness key: its third part is no Ed25519 cosignature key (type 4)")
    key = Ed25519PublicKey.from_public_bytes(tagged[1:])
    if parts[1] != witness_key_id(parts[0], key).hex():
        raise ProofError("witness key: its hash does not belong to its name and key")
    return parts[0], key


def cosign(checkpoint_note: str, *, name: str, key: Ed25519PrivateKey, now: datetime) -> str:
    """One signature line of the witness `name`, who has checked before that the tree may be vouched for."""
    check_key_name(name)
    body = parse_note(checkpoint_note).text
    parse_checkpoint_body(body)
    seconds = int(now.astimezone(UTC).timestamp())
    signature = seconds.to_bytes(_TIME_BYTES, "big") + key.sign(_message(body, seconds))
    raw = witness_key_id(name, key.public_key()) + signature
    return f"— {name} {base64.b64encode(raw).decode()}\n"


def verify_cosignatures(checkpoint_note: str, witnesses: Mapping[str, Ed25519PublicKey]) -> dict[str, datetime]:
    """When each of `witnesses` that cosigned says it saw this checkpoint; unknown lines are ignored.

    Raises ProofError when a known witness's cosignature does not hold.
    """
    note = parse_note(checkpoint_note)
    found: dict[str, datetime] = {}
    for line in note.signatures:
        key = witnesses.get(line.name)
        if key is None or line.key_id != witness_key_id(line.name, key):
            continue
        if len(line.signature) != _TIME_BYTES + _SIGNATURE_BYTES:
            raise ProofError(f"cosignature of {line.name}: expected 72 bytes, got {len(line.signature)}")
        seconds = int.from_bytes(line.signature[:_TIME_BYTES], "big")
        try:
            key.verify(line.signature[_TIME_BYTES:], _message(note.text, seconds))
            found[line.name] = datetime.fromtimestamp(seconds, UTC)
        except InvalidSignature as error:
            raise ProofError(f"cosignature of {line.name} does not hold") from error
        except (ValueError, OverflowError, OSError) as error:
            raise ProofError(f"cosignature of {line.name}: its time {seconds} is no date") from error
    return found


def _message(body: str, seconds: int) -> bytes:
    return f"cosignature/v1\ntime {seconds}\n{body}".encode()
