"""A name and its public key as one line of text: `name+key id+base64`, the "vkey" of c2sp.org/signed-note.

The type byte, in the key id and before the key, keeps a log's key (1) and a witness's (4) apart.
"""

import base64

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from provenance.errors import ProofError
from provenance.signed_note import COSIGNATURE, ED25519, check_key_name, decode_base64, key_id


def format_log_key(origin: str, key: Ed25519PublicKey) -> str:
    """The verifier key of the log `origin`."""
    return _format(origin, key, ED25519)


def format_witness_key(name: str, key: Ed25519PublicKey) -> str:
    """The verifier key of the witness `name`."""
    return _format(name, key, COSIGNATURE)


def parse_log_key(text: str) -> tuple[str, Ed25519PublicKey]:
    """Name and key of a log's verifier key; raises ProofError that says what is wrong."""
    return _parse(text, ED25519, "log key")


def parse_witness_key(text: str) -> tuple[str, Ed25519PublicKey]:
    """Name and key of a witness's verifier key; raises ProofError that says what is wrong."""
    return _parse(text, COSIGNATURE, "witness key")


def _format(name: str, key: Ed25519PublicKey, kind: int) -> str:
    check_key_name(name)
    tagged = bytes([kind]) + key.public_bytes_raw()
    return f"{name}+{key_id(name, key, kind).hex()}+{base64.b64encode(tagged).decode()}"


def _parse(text: str, kind: int, what: str) -> tuple[str, Ed25519PublicKey]:
    parts = text.strip().split("+", 2)
    if len(parts) != 3:
        raise ProofError(f"{what}: expected the form name+hash+base64")
    name, stated_id, encoded = parts
    check_key_name(name)
    tagged = decode_base64(encoded)
    if len(tagged) != 33 or tagged[0] != kind:
        raise ProofError(f"{what}: its third part is no Ed25519 key of type {kind}")
    key = Ed25519PublicKey.from_public_bytes(tagged[1:])
    if stated_id != key_id(name, key, kind).hex():
        raise ProofError(f"{what}: its hash does not belong to its name and key")
    return name, key
