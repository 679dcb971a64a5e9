"""A log's name and public key as one line of text: `name+key id+base64`, the "vkey" of c2sp.org/signed-note."""

import base64

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from provenance.errors import ProofError
from provenance.signed_note import ED25519, check_key_name, decode_base64, key_id


def format_log_key(origin: str, key: Ed25519PublicKey) -> str:
    """The verifier key of the log `origin`."""
    check_key_name(origin)
    tagged = bytes([ED25519]) + key.public_bytes_raw()
    return f"{origin}+{key_id(origin, key).hex()}+{base64.b64encode(tagged).decode()}"


def parse_log_key(text: str) -> tuple[str, Ed25519PublicKey]:
    """Name and key of a verifier key; raises ProofError that says what is wrong."""
    parts = text.strip().split("+", 2)
    if len(parts) != 3:
        raise ProofError("log key: expected the form name+hash+base64")
    origin, stated_id, encoded = parts
    check_key_name(origin)
    tagged = decode_base64(encoded)
    if len(tagged) != 33 or tagged[0] != ED25519:
        raise ProofError("log key: its third part is no Ed25519 key")
    key = Ed25519PublicKey.from_public_bytes(tagged[1:])
    if stated_id != key_id(origin, key).hex():
        raise ProofError("log key: its hash does not belong to its name and key")
    return origin, key
