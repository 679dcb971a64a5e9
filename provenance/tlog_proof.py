"""Offline-checkable proofs that an entry is in a log (c2sp.org/tlog-proof@v1).

Needs nothing but the proof text, the entry, the log's name and its public key: no database, no network.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from provenance.checkpoint import Checkpoint, verify_checkpoint
from provenance.errors import ProofError
from provenance.rfc6962 import HASH_BYTES, leaf_hash, verify_inclusion
from provenance.signed_note import decode_base64, parse_decimal

HEADER = "c2sp.org/tlog-proof@v1"
MAX_PATH = 63
MAX_PROOF_BYTES = 1 << 20


@dataclass(frozen=True)
class LogProof:
    """A parsed proof; `extra` is not authenticated by anything."""

    index: int
    path: tuple[bytes, ...]
    checkpoint_note: str
    extra: bytes | None = None


@dataclass(frozen=True)
class CheckedProof:
    """A proof that held: the entry stands at `index` in the log as of `checkpoint`."""

    index: int
    checkpoint: Checkpoint


def format_log_proof(index: int, path: Sequence[bytes], checkpoint_note: str, *, extra: bytes | None = None) -> str:
    """The text of a proof; `extra` is carried along, authenticated only by whoever compares it."""
    carried = "" if extra is None else f"extra {base64.b64encode(extra).decode()}\n"
    hashes = "".join(f"{base64.b64encode(value).decode()}\n" for value in path)
    return f"{HEADER}\n{carried}index {index}\n{hashes}\n{checkpoint_note}"


def parse_log_proof(text: str) -> LogProof:
    """Split a proof; raises ProofError for anything but the exact format. Nothing is verified yet."""
    if len(text) > MAX_PROOF_BYTES:
        raise ProofError(f"log proof: longer than {MAX_PROOF_BYTES} characters")
    head, separator, note = text.partition("\n\n")
    lines = head.split("\n")
    if not separator or lines.pop(0) != HEADER:
        raise ProofError(f"log proof: expected {HEADER!r}, proof lines, an empty line, and a checkpoint")
    extra = None
    if lines and lines[0].startswith("extra "):
        extra = decode_base64(lines.pop(0).removeprefix("extra "))
    if not lines or not lines[0].startswith("index "):
        raise ProofError("log proof: expected a line 'index <number>'")
    index = parse_decimal(lines.pop(0).removeprefix("index "))
    if len(lines) > MAX_PATH:
        raise ProofError(f"log proof: at most {MAX_PATH} hashes, got {len(lines)}")
    return LogProof(index, tuple(decode_base64(line, size=HASH_BYTES) for line in lines), note, extra)


def carried_entry(proof_text: str) -> bytes | None:
    """The entry that a proof carries along, to be checked with `verify_log_proof`; raises ProofError if malformed."""
    return parse_log_proof(proof_text).extra


def verify_log_proof(proof_text: str, entry: bytes, *, origin: str, public_key: Ed25519PublicKey) -> CheckedProof:
    """Check that `entry` is in the log `origin` as of the checkpoint inside the proof; raises ProofError."""
    proof = parse_log_proof(proof_text)
    checkpoint = verify_checkpoint(proof.checkpoint_note, origin=origin, public_key=public_key)
    verify_inclusion(leaf_hash(entry), proof.index, checkpoint.size, proof.path, checkpoint.root)
    return CheckedProof(proof.index, checkpoint)
