"""Log proofs, checked: that of a clip's manifest, and those of the decisions behind a consent's uses."""

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from provenance import CredentialsReport, LogError, ProofError, TransparencyLog, carried_entry, verify_log_proof
from vasari.evidence import LogEvidence

PROOF_INDEX = re.compile(r"^index (0|[1-9][0-9]{0,17})$", re.MULTILINE)


@dataclass(frozen=True)
class LoggedDecision:
    """Where a decision stands in the log, and whether the proof of it holds."""

    index: int
    state: Literal["proved", "failed"]


def check_log_with(log: TransparencyLog, public_key: Ed25519PublicKey) -> Callable[[CredentialsReport], LogEvidence]:
    """A check of a manifest's log proof against the log that the authority keeps."""
    return _checker(lambda _proof, index: log.entry(index), log.origin, public_key)


def check_log_offline(origin: str, public_key: Ed25519PublicKey) -> Callable[[CredentialsReport], LogEvidence]:
    """The same for a third party, who has the log's public key only: the proof carries the entry along."""

    def carried(proof: str, index: int) -> bytes:
        entry = carried_entry(proof)
        if entry is None:
            raise ProofError(f"it does not carry entry {index} along, so only the keeper of the log can check it")
        return entry

    return _checker(carried, origin, public_key)


def _checker(
    read_entry: Callable[[str, int], bytes], origin: str, public_key: Ed25519PublicKey
) -> Callable[[CredentialsReport], LogEvidence]:
    def check(credentials: CredentialsReport) -> LogEvidence:
        if not credentials.log_proof:
            return LogEvidence("absent", "The manifest carries no log proof.")
        named = PROOF_INDEX.search(credentials.log_proof)
        if named is None:
            return LogEvidence("failed", "The manifest's log proof names no entry.")
        index = int(named.group(1))
        try:
            entry = read_entry(credentials.log_proof, index)
            proof = verify_log_proof(credentials.log_proof, entry, origin=origin, public_key=public_key)
        except (LogError, ProofError) as error:
            return LogEvidence("failed", f"The manifest's log proof does not hold: {error}.", index)
        if hashlib.sha256(entry).hexdigest() != credentials.decision_sha256:
            return LogEvidence("failed", f"Log entry {index} is not the decision that the manifest names.", index)
        return LogEvidence(
            "proved",
            f"The decision to release it is entry {index} of the transparency log "
            f"(proved against a signed checkpoint over {proof.checkpoint.size} entries).",
            index,
        )

    return check


def decisions_in_log(log: TransparencyLog, public_key: Ed25519PublicKey) -> dict[str, LoggedDecision]:
    """Every decision in the log by its id, each with its inclusion proof checked."""
    found: dict[str, LoggedDecision] = {}
    for index in range(log.size):
        entry = log.entry(index)
        members = json.loads(entry)
        if members.get("event") == "decision":
            found[members["decision"]] = LoggedDecision(index, _proof_state(log, index, entry, public_key))
    return found


def _proof_state(
    log: TransparencyLog, index: int, entry: bytes, public_key: Ed25519PublicKey
) -> Literal["proved", "failed"]:
    try:
        verify_log_proof(log.prove(index), entry, origin=log.origin, public_key=public_key)
    except (LogError, ProofError):
        return "failed"
    return "proved"
