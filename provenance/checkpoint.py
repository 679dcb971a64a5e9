"""C2SP checkpoints (c2sp.org/tlog-checkpoint): origin, tree size and root as a signed note."""

import base64
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from provenance.errors import ProofError
from provenance.rfc6962 import HASH_BYTES
from provenance.signed_note import check_key_name, decode_base64, parse_decimal, sign_note, verify_note


@dataclass(frozen=True)
class Checkpoint:
    """The state of a log: who keeps it, how many entries, the Merkle root (32 bytes)."""

    origin: str
    size: int
    root: bytes

    def body(self) -> str:
        """The three signed lines."""
        check_key_name(self.origin)
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


def size_of(note: str) -> int:
    """The tree size that one of our own notes states; nothing is verified."""
    return int(note.split("\n", 2)[1])


def parse_checkpoint_body(text: str) -> Checkpoint:
    """The exact three lines, no extension lines; raises ProofError."""
    lines = text.split("\n")
    if len(lines) != 4 or lines[3]:
        raise ProofError("checkpoint: expected exactly three lines: origin, size, root")
    check_key_name(lines[0])
    return Checkpoint(lines[0], parse_decimal(lines[1]), decode_base64(lines[2], size=HASH_BYTES))


def sign_checkpoint(checkpoint: Checkpoint, key: Ed25519PrivateKey) -> str:
    """The checkpoint as a note signed under its origin's name."""
    return sign_note(checkpoint.body(), name=checkpoint.origin, key=key)


def verify_checkpoint(note: str, *, origin: str, public_key: Ed25519PublicKey) -> Checkpoint:
    """Check the log's own signature and origin; raises ProofError."""
    checkpoint = parse_checkpoint_body(verify_note(note, {origin: public_key}))
    if checkpoint.origin != origin:
        raise ProofError(f"checkpoint: expected origin {origin}, got {checkpoint.origin}")
    return checkpoint
