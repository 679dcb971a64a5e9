"""Proof that the sender holds the researcher's key, made for one request (shape of RFC 9449, `dpop+jwt`).

Beyond RFC 9449 the proof also signs `req`, the hash of the whole canonical request, so that nobody on
the way can swap the portrait, the recording or a control.
"""

from __future__ import annotations

import hashlib
import sqlite3
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import StringConstraints

from policy import strict_jws
from policy.canonical import b64url, utf8
from policy.claims import Identifier, Seconds, Strict, Thumbprint, new_identifier, parse_claims
from policy.keys import thumbprint

PROOF_TYPE = "dpop+jwt"
PROOF_LIFE_S = 60
PROOF_LEEWAY_S = 30
"""A proof is taken from this long before its `iat` (clocks differ) to PROOF_LIFE_S after it."""

ProofId = Annotated[str, StringConstraints(min_length=22, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]


class ProofClaims(Strict):
    """Claims of a proof: method, target, time, hash of the consent token, hash of the request."""

    jti: ProofId
    htm: Literal["POST"]
    htu: Identifier
    iat: Seconds
    ath: Thumbprint
    req: Thumbprint


@dataclass(frozen=True)
class Proof:
    """A proof whose signature is good, with the thumbprint of the key that made it."""

    claims: ProofClaims
    jkt: str


def proof_target(gate_id: str) -> str:
    """The `htu` of a clip request at this gate."""
    return f"{gate_id}/clips"


def token_hash(token: str) -> str:
    """`ath`: base64url SHA-256 of the compact token (RFC 9449 section 4.2)."""
    return b64url(hashlib.sha256(utf8(token)).digest())


def sign_proof(key: Ed25519PrivateKey, *, consent: str, request_digest: str, gate_id: str, now: datetime) -> str:
    """Make a proof for one request."""
    claims = ProofClaims(
        jti=new_identifier(),
        htm="POST",
        htu=proof_target(gate_id),
        iat=int(now.timestamp()),
        ath=token_hash(consent),
        req=request_digest,
    )
    return strict_jws.sign(claims.model_dump(), typ=PROOF_TYPE, key=key, embed_key=True)


def verify_proof(token: str) -> Proof:
    """Check form and signature; raises TokenError. Binding, time and replay are the gate's to judge."""
    verified = strict_jws.verify_holder(token, typ=PROOF_TYPE, required={"jti": str, "iat": int})
    return Proof(parse_claims(ProofClaims, verified.claims), thumbprint(verified.key))


class ReplayCache:
    """Proof ids already seen, in SQLite, kept for as long as the proof could be taken again."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._forgot_at = 0
        connection.execute(
            "CREATE TABLE IF NOT EXISTS proofs (id BLOB PRIMARY KEY, forget_at INTEGER NOT NULL) STRICT, WITHOUT ROWID"
        )
        connection.execute("CREATE INDEX IF NOT EXISTS proofs_by_age ON proofs (forget_at)")

    def seen(self, proof: Proof) -> bool:
        """True when this proof was remembered before."""
        row = self._connection.execute("SELECT 1 FROM proofs WHERE id = ?", (self._id(proof),)).fetchone()
        return row is not None

    def remember(self, proof: Proof, now: datetime) -> None:
        """Remember the proof; call in the same transaction as `seen`."""
        clock = int(now.timestamp())
        if clock != self._forgot_at:
            self._connection.execute("DELETE FROM proofs WHERE forget_at < ?", (clock,))
            self._forgot_at = clock
        forget_at = max(clock, proof.claims.iat) + PROOF_LIFE_S + PROOF_LEEWAY_S
        self._connection.execute("INSERT OR IGNORE INTO proofs VALUES (?, ?)", (self._id(proof), forget_at))

    @staticmethod
    def _id(proof: Proof) -> bytes:
        return hashlib.sha256(f"{proof.jkt}.{proof.claims.jti}".encode()).digest()
