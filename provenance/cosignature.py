"""Witness cosignatures on checkpoints (c2sp.org/tlog-cosignature, Ed25519): a third party saw this tree at this time.

A cosignature covers `cosignature/v1`, the time, and the whole checkpoint body. Its key id has the type byte 0x04, so
that a log's own signature never passes for a witness's, nor the other way round.
"""

import base64
from collections.abc import Mapping
from datetime import UTC, datetime

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from provenance.checkpoint import parse_checkpoint_body
from provenance.errors import ProofError
from provenance.signed_note import COSIGNATURE, check_key_name, key_id, parse_note

_TIME_BYTES = 8
_SIGNATURE_BYTES = 64


def cosign(checkpoint_note: str, *, name: str, key: Ed25519PrivateKey, now: datetime) -> str:
    """One signature line of the witness `name`, who has checked before that the tree may be vouched for."""
    check_key_name(name)
    body = parse_note(checkpoint_note).text
    parse_checkpoint_body(body)
    seconds = int(now.astimezone(UTC).timestamp())
    signature = seconds.to_bytes(_TIME_BYTES, "big") + key.sign(_message(body, seconds))
    raw = key_id(name, key.public_key(), COSIGNATURE) + signature
    return f"— {name} {base64.b64encode(raw).decode()}\n"


def verify_cosignatures(checkpoint_note: str, witnesses: Mapping[str, Ed25519PublicKey]) -> dict[str, datetime]:
    """When each of `witnesses` that cosigned says it saw this checkpoint; unknown lines are ignored.

    Raises ProofError when a known witness's cosignature does not hold.
    """
    note = parse_note(checkpoint_note)
    found: dict[str, datetime] = {}
    for line in note.signatures:
        key = witnesses.get(line.name)
        if key is None or line.key_id != key_id(line.name, key, COSIGNATURE):
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
