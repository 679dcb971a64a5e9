"""Proof of something that was logged, for who asked for it: the entry's place, and what opens its commitment.

The public entry says that some consent was withdrawn, and hides which. The salt shows to the holder of the receipt, and
to whoever they show it, that it was theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from policy.canonical import canonical_json, commitment, strict_json_object
from provenance import ProofError, carried_entry, verify_log_proof


@dataclass(frozen=True)
class EventReceipt:
    """What was logged: `entry` at `log_index`, with the proof that it is there, and the hexadecimal salt in it."""

    event: str
    log_index: int
    entry_sha256: str
    log_proof: str
    salt: str


def check_consent_receipt(receipt: Mapping[str, Any], *, origin: str, public_key: Ed25519PublicKey) -> int:
    """When (seconds since 1970) the log says that what the receipt names happened to the consent that it names.

    Raises ProofError when the proof does not hold, or is of another event or another consent.
    """
    try:
        proof, event, about = str(receipt["log_proof"]), receipt["event"], canonical_json({"jti": receipt["consent"]})
        hidden = commitment(bytes.fromhex(receipt["salt"]), about)
        entry = carried_entry(proof) or b""
        checked = verify_log_proof(proof, entry, origin=origin, public_key=public_key)
        said = strict_json_object(entry)
        at = int(said["at"])
    except (KeyError, TypeError, ValueError) as error:
        raise ProofError(f"this is no receipt of the log ({type(error).__name__}: {error})") from error
    if (said.get("event"), said.get("about"), checked.index) != (event, hidden, receipt.get("log_index")):
        raise ProofError("the log entry is of another event or another consent than the receipt names")
    return at
