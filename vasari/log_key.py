"""A log's name and public key as one line of text: `name+hash+base64`, the verifier key of C2SP signed notes."""

import base64
import binascii
import hashlib

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

ED25519 = b"\x01"


def format_log_key(origin: str, key: Ed25519PublicKey) -> str:
    """The verifier key of the log `origin` (c2sp.org/signed-note, "vkey")."""
    tagged = ED25519 + key.public_bytes_raw()
    return f"{origin}+{_key_hash(origin, tagged)}+{base64.b64encode(tagged).decode('ascii')}"


def parse_log_key(text: str) -> tuple[str, Ed25519PublicKey]:
    """Name and key of a verifier key; raises ValueError that says what is wrong."""
    parts = text.strip().split("+", 2)
    if len(parts) != 3:
        raise ValueError("expected a log key of the form name+hash+base64")
    origin, key_hash, encoded = parts
    try:
        tagged = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        raise ValueError("the log key's third part is not base64") from None
    if len(tagged) != 33 or tagged[:1] != ED25519:
        raise ValueError("the log key is no Ed25519 key")
    if key_hash != _key_hash(origin, tagged):
        raise ValueError("the log key's hash does not belong to its name and key")
    return origin, Ed25519PublicKey.from_public_bytes(tagged[1:])


def _key_hash(origin: str, tagged: bytes) -> str:
    return hashlib.sha256(origin.encode() + b"\n" + tagged).hexdigest()[:8]
