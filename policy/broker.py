"""The key broker: keeps the content key of the sealed weights, releases it for one logged grant at a time.

It trusts neither the gate's word nor the worker: it checks the grant's signature and time, that the
decision is in the transparency log (the inclusion proof, by itself, against the log's public key), that
the entry says allow, and that the grant was never used. The key leaves only as HPKE (RFC 9180) cipher
text for the worker's ephemeral X25519 key named in the grant.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from policy import strict_jws
from policy.canonical import b64url, b64url_decode, canonical_json, sha256_hex, strict_json_object
from policy.clock import Clock
from policy.errors import GrantError, KeyFileError, TokenError
from policy.gate_database import open_database, transaction
from policy.grant import GrantClaims, verify_grant
from policy.kek import KeyEncryptionKey
from policy.keys import read_secret, thumbprint, write_secret
from policy.locked_memory import LockedBuffer, wipe_bytes

KEY_INFO = b"vasari content key v1\x00"
SUITE = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)

RecordRelease = Callable[[GrantClaims], object]
"""Writes the release of a key to the transparency log; raises when it can't, and then no key leaves."""

CheckProof = Callable[[str, bytes], int]
"""(proof text, entry) -> index in the log; raises when the proof does not hold."""


@dataclass(frozen=True)
class KeyVault:
    """Content keys, each wrapped under a key-encryption key, in one JSON file."""

    kek: KeyEncryptionKey
    keys_path: Path

    def store(self, model_digest: str, content_key: bytes) -> None:
        """Wrap and keep a content key; replaces an older one of the same model."""
        wrapped = self._read()
        wrapped[model_digest] = b64url(self.kek.wrap(content_key, context=model_digest.encode()))
        write_secret(self.keys_path, canonical_json(wrapped), overwrite=True)

    def unwrap(self, model_digest: str) -> LockedBuffer:
        """The content key of a model, in memory that is wiped after use; raises KeyFileError."""
        wrapped = self._read().get(model_digest)
        if wrapped is None:
            raise KeyFileError(f"{self.keys_path}: holds no key for model {model_digest}")
        try:
            return self.kek.unwrap(b64url_decode(wrapped), context=model_digest.encode())
        except (KeyFileError, ValueError, TypeError) as error:
            raise KeyFileError(f"{self.keys_path}: the key of {model_digest} does not unwrap: {error}") from error

    def rewrap(self, kek: KeyEncryptionKey) -> KeyVault:
        """All content keys under another key-encryption key, or none: then raises KeyFileError."""
        wrapped = {}
        for model_digest in self._read():
            with self.unwrap(model_digest) as key:
                plain = bytes(key.view)
            wrapped[model_digest] = b64url(kek.wrap(plain, context=model_digest.encode()))
            wipe_bytes(plain)
        write_secret(self.keys_path, canonical_json(wrapped), overwrite=True)
        return KeyVault(kek, self.keys_path)

    def _read(self) -> dict[str, str]:
        if not self.keys_path.exists():
            return {}
        try:
            return strict_json_object(read_secret(self.keys_path))
        except ValueError as error:
            raise KeyFileError(f"{self.keys_path}: not a JSON object: {error}") from error


class KeyBroker:
    """Releases content keys against grants."""

    def __init__(
        self,
        *,
        vault: KeyVault,
        ledger_path: Path,
        gate_id: str,
        gate_key: Ed25519PublicKey,
        check_proof: CheckProof,
        record_release: RecordRelease,
        clock: Clock,
    ) -> None:
        self._vault = vault
        self._connection = open_database(ledger_path, any_thread=True)
        self._connection.execute(
            "CREATE TABLE IF NOT EXISTS grants (id TEXT PRIMARY KEY, released_at INTEGER NOT NULL) STRICT"
        )
        self._gate_id = gate_id
        self._gate_keys = {thumbprint(gate_key): gate_key}
        self._check_proof = check_proof
        self._record_release = record_release
        self._clock = clock

    def close(self) -> None:
        """Close the database file."""
        self._connection.close()

    def release_key(self, grant: str, entry: bytes, log_proof: str) -> bytes:
        """The content key, wrapped for the grant's worker key; raises GrantError. Works once per grant."""
        claims = self._valid_claims(grant)
        self._check_logged(claims, entry, log_proof)
        self._spend(claims)
        self._record_release(claims)
        worker = X25519PublicKey.from_public_bytes(b64url_decode(claims.worker_key))
        with self._vault.unwrap(claims.model) as key:
            return SUITE.encrypt(key.view, worker, info=_info(claims.jti))

    def _valid_claims(self, grant: str) -> GrantClaims:
        try:
            claims = verify_grant(grant, self._gate_keys)
        except TokenError as error:
            raise GrantError(f"the grant is not good: {error.fact}") from error
        faults = strict_jws.time_faults(
            claims.model_dump(), iss=self._gate_id, aud=f"{self._gate_id}/broker", now=self._clock()
        )
        if faults:
            raise GrantError(f"the grant is not good: {'; '.join(fault.fact for fault in faults)}")
        return claims

    def _check_logged(self, claims: GrantClaims, entry: bytes, log_proof: str) -> None:
        if not strict_jws.same(sha256_hex(entry), claims.decision):
            raise GrantError("the log entry is not that of the granted decision")
        try:
            members = strict_json_object(entry)
            index = self._check_proof(log_proof, entry)
        except Exception as error:
            raise GrantError(f"the decision is not proven to be in the log: {error}") from error
        if members.get("event") != "decision" or members.get("outcome") != "allow":
            raise GrantError("the logged decision is not an allow")
        if index != claims.log_index:
            raise GrantError(f"the decision is entry {index} of the log, the grant says {claims.log_index}")

    def _spend(self, claims: GrantClaims) -> None:
        with transaction(self._connection):
            spent = self._connection.execute(
                "INSERT OR IGNORE INTO grants VALUES (?, ?)", (claims.jti, int(self._clock().timestamp()))
            )
            if spent.rowcount != 1:
                raise GrantError("the grant was used before; each opens the weights once")


class WorkerKey:
    """The worker's end: an ephemeral key pair for one job, gone with the object."""

    def __init__(self) -> None:
        self._private = X25519PrivateKey.generate()

    @property
    def public_bytes(self) -> bytes:
        """Raw public key (32 bytes) for the grant."""
        return self._private.public_key().public_bytes_raw()

    def unwrap(self, wrapped: bytes, grant_id: str) -> LockedBuffer:
        """The content key; raises GrantError when it was wrapped for another worker or grant."""
        try:
            return LockedBuffer.take(SUITE.decrypt(wrapped, self._private, info=_info(grant_id)))
        except (InvalidTag, ValueError) as error:
            raise GrantError("the released key is not for this worker and grant") from error


def _info(grant_id: str) -> bytes:
    return KEY_INFO + grant_id.encode()
