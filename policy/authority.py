"""The authority: one state folder that holds every role of the embedded default.

    authority.json     who this is (no secret)
    keys/              registry, accreditation, gate and log keys; mark key; broker's key-encryption key
    pki/               certificates that sign clips
    registry.sqlite    consents and accreditations issued; evidence/ their records with names
    gate.sqlite        uses, proofs seen, private side of the log; broker.sqlite, content-keys.json the broker's
    log.sqlite         transparency log; repository.sqlite  manifests of released clips
    work/              anonymous files of running jobs

The folder is 0700, every secret 0600. Keys never leave it, and none shows in repr, logs or arguments.
"""

from __future__ import annotations

import secrets
import shutil
import stat
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from policy.broker import KeyBroker, KeyVault
from policy.canonical import canonical_json, strict_json_object
from policy.clock import Clock, utc_now
from policy.consent_token import PURPOSES
from policy.errors import SealError, StateError
from policy.gate import Gate, GateKeys
from policy.grant import GrantClaims
from policy.keys import read_private_key, read_secret, thumbprint, write_private_key, write_secret
from policy.media_facts import MediaFacts, inspect_media
from policy.registry import ConsentTerms, IssuedToken, Kind, Registry
from policy.rules import GateIdentity
from policy.seal import CONTENT_KEY_BYTES, open_sealed, read_sealed_header
from policy.status_list import TokenStatus
from policy.stores import GateStores
from policy.uses import ConsentUse
from provenance import ManifestRepository, SigningIdentity, TransparencyLog, TrustAnchors, create_pki, verify_log_proof
from watermark import MarkKey

SHIPPED_WEIGHTS = Path(__file__).parent / "weights" / "generator.sealed"
SHIPPED_RELEASE_KEY = Path(__file__).parent / "weights" / "release.key"
ROLES = ("registry", "accreditation", "gate", "log")
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class EventReceipt:
    """What was logged: `entry` at `log_index`, with the proof that it is there."""

    event: str
    log_index: int
    entry_sha256: str
    log_proof: str


@dataclass(frozen=True)
class AuthorityRecord:
    """The content of authority.json. `weights` is where the sealed weights lie."""

    schema: int
    organisation: str
    created_at: str
    gate_id: str
    registry_id: str
    accreditation_id: str
    log_origin: str
    model_digest: str
    weights: str


class Authority:
    """An open state folder. Use as a context manager; one thread at a time."""

    def __init__(self, folder: Path, record: AuthorityRecord, clock: Clock) -> None:
        self.folder = folder
        self.record = record
        self.clock = clock
        self.identity = GateIdentity(
            gate_id=record.gate_id,
            registry_id=record.registry_id,
            accreditation_id=record.accreditation_id,
            model_digest=record.model_digest,
        )
        self._keys = {role: read_private_key(folder / "keys" / f"{role}.pem") for role in ROLES}
        self.mark_key = MarkKey.from_bytes(read_secret(folder / "keys" / "mark.key"))
        self.log = TransparencyLog(folder / "log.sqlite", origin=record.log_origin, signer=self._keys["log"])
        self.repository = ManifestRepository(folder / "repository.sqlite")
        self.registry = Registry(
            folder,
            identity=self.identity,
            consent_key=self._keys["registry"],
            accreditation_key=self._keys["accreditation"],
            pseudonym_secret=read_secret(folder / "keys" / "pseudonym.key"),
        )
        self.stores = GateStores.open(folder / "gate.sqlite", self.log, clock)
        self.stores.ledger.recover(clock())

    @classmethod
    def create(
        cls,
        folder: Path,
        *,
        organisation: str,
        now: datetime,
        weights: Path = SHIPPED_WEIGHTS,
        release_key: Path = SHIPPED_RELEASE_KEY,
        clock: Clock = utc_now,
    ) -> Authority:
        """Make a state folder, whole or not at all, and open it; raises StateError when it is there already."""
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise StateError(f"{folder} is there already and not empty; choose another folder")
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = folder.with_name(f".{folder.name}.{secrets.token_hex(6)}.part")
        part.mkdir(mode=0o700)
        try:
            _fill(part, organisation=organisation, now=now, weights=weights, release_key=release_key)
            part.rename(folder)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
        return cls.open(folder, clock=clock)

    @classmethod
    def open(cls, folder: Path, *, clock: Clock = utc_now) -> Authority:
        """Open a state folder and settle what died with earlier processes; raises StateError."""
        try:
            mode = folder.stat().st_mode
            members = strict_json_object((folder / "authority.json").read_bytes())
            record = AuthorityRecord(**members)
        except OSError as error:
            raise StateError(f"{folder}: no state folder ({error.strerror}); make one with `vasari init`") from error
        except (ValueError, TypeError) as error:
            raise StateError(f"{folder / 'authority.json'}: damaged: {error}") from error
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise StateError(f"{folder}: other users can enter it; run: chmod 700 {folder}")
        if record.schema != SCHEMA_VERSION:
            raise StateError(f"{folder}: schema {record.schema}, this version reads {SCHEMA_VERSION}")
        return cls(folder, record, clock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all databases."""
        self.log.close()
        self.repository.close()
        self.registry.close()
        self.stores.connection.close()
        if "broker" in self.__dict__:
            self.broker.close()

    # Consents and accreditations

    def issue_consent(self, terms: ConsentTerms) -> str:
        """Issue a consent token; logged. Raises PolicyError for impossible terms, MediaError for no picture."""
        claims = self.registry.issue_consent(terms, self.clock())
        self._record("consent.issued", claims.jti)
        return self.registry.find("consent", claims.jti).token

    def accredit(
        self,
        researcher_key: Ed25519PublicKey,
        *,
        researcher: str,
        purposes: tuple[str, ...] = tuple(PURPOSES),
        valid_for: timedelta = timedelta(days=365),
    ) -> str:
        """Issue an accreditation token for a researcher's public key; logged."""
        claims = self.registry.issue_accreditation(
            researcher=researcher,
            jkt=thumbprint(researcher_key),
            purposes=purposes,
            valid_for=valid_for,
            now=self.clock(),
        )
        self._record("accreditation.issued", claims.jti)
        return self.registry.find("accreditation", claims.jti).token

    def consent(self, jti: str) -> IssuedToken:
        """One issued consent; raises UnknownTokenError."""
        return self.registry.find("consent", jti)

    def consents(self) -> tuple[IssuedToken, ...]:
        """All issued consents, oldest first."""
        return self.registry.all("consent")

    def accreditation(self, jti: str) -> IssuedToken:
        """One issued accreditation; raises UnknownTokenError."""
        return self.registry.find("accreditation", jti)

    def uses(self, jti: str) -> tuple[ConsentUse, ...]:
        """Every use of a consent, refunded ones included; raises UnknownTokenError."""
        self.registry.find("consent", jti)
        return self.stores.ledger.uses(jti)

    def withdraw(self, jti: str, *, kind: Kind = "consent") -> EventReceipt:
        """Withdraw for good, before it is logged. A consent's running jobs stop, an accreditation's finish."""
        return self._change_status(kind, jti, TokenStatus.INVALID, "withdrawn")

    def suspend(self, jti: str, *, kind: Kind = "consent") -> EventReceipt:
        """Suspend until `reinstate`. A consent's running jobs stop, an accreditation's finish."""
        return self._change_status(kind, jti, TokenStatus.SUSPENDED, "suspended")

    def reinstate(self, jti: str, *, kind: Kind = "consent") -> EventReceipt:
        """End a suspension; raises PolicyError after a withdrawal."""
        return self._change_status(kind, jti, TokenStatus.VALID, "reinstated")

    # The gate and what belongs to it

    def gate(self, *, inspect: Callable[[bytes, bytes], MediaFacts] = inspect_media) -> Gate:
        """The gate of this folder."""
        registry, accreditation = (self._keys[role].public_key() for role in ("registry", "accreditation"))
        return Gate(
            identity=self.identity,
            keys=GateKeys(
                gate=self._keys["gate"],
                registry={thumbprint(registry): registry},
                accreditation={thumbprint(accreditation): accreditation},
            ),
            stores=self.stores,
            status_source=lambda uri: self.registry.status_list(uri, self.clock()),
            clock=self.clock,
            inspect=inspect,
        )

    @cached_property
    def broker(self) -> KeyBroker:
        """The key broker of this folder."""

        def check_proof(proof_text: str, entry: bytes) -> int:
            origin, key = self.record.log_origin, self.log_public_key
            index: int = verify_log_proof(proof_text, entry, origin=origin, public_key=key).index
            return index

        def record_release(grant: GrantClaims) -> None:
            detail = {"grant": grant.jti, "decision": grant.decision, "model": grant.model}
            self.stores.events.record("key.released", detail, now=self.clock())

        return KeyBroker(
            vault=_vault(self.folder),
            ledger_path=self.folder / "broker.sqlite",
            gate_id=self.identity.gate_id,
            gate_key=self._keys["gate"].public_key(),
            check_proof=check_proof,
            record_release=record_release,
            clock=self.clock,
        )

    @property
    def log_public_key(self) -> Ed25519PublicKey:
        """The key that signs the log's checkpoints."""
        return self._keys["log"].public_key()

    @property
    def gate_public_key(self) -> Ed25519PublicKey:
        """The key that signs grants."""
        return self._keys["gate"].public_key()

    @property
    def signing_identity(self) -> SigningIdentity:
        """Signs clips."""
        return SigningIdentity.from_folder(self.folder / "pki")

    @property
    def trust_anchors(self) -> TrustAnchors:
        """What a verifier trusts to accept clips of this authority."""
        return TrustAnchors.from_folder(self.folder / "pki")

    @property
    def weights(self) -> Path:
        """The sealed weights that this authority's broker holds the key of."""
        return Path(self.record.weights) if self.record.weights else SHIPPED_WEIGHTS

    def require_weights(self) -> None:
        """Raise StateError when the sealed weights are not those this folder holds the key of."""
        found = read_sealed_header(self.weights).model_digest
        if found != self.identity.model_digest:
            raise StateError(
                f"{self.weights} is model {found[:23]}…, {self.folder} was made for "
                f"{self.identity.model_digest[:23]}…; make a new state folder with `vasari init`"
            )

    @property
    def work_folder(self) -> Path:
        """Where running jobs keep their anonymous files."""
        return self.folder / "work"

    def _change_status(self, kind: Kind, jti: str, status: TokenStatus, word: str) -> EventReceipt:
        self.registry.set_status(kind, jti, status)
        return self._record(f"{kind}.{word}", jti)

    def _record(self, event: str, jti: str) -> EventReceipt:
        events = self.stores.events
        entry = events.prepare(event, {"jti": jti}, now=self.clock(), subject=jti)
        index = events.append(entry)
        return EventReceipt(event, index, entry.sha256, events.prove(index))


def read_release_key(path: Path) -> bytes:
    """A content key as 64 hexadecimal digits; raises SealError."""
    try:
        key = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except (OSError, ValueError) as error:
        raise SealError(f"{path}: expected a content key in hexadecimal: {error}") from error
    if len(key) != CONTENT_KEY_BYTES:
        raise SealError(f"{path}: a content key has {CONTENT_KEY_BYTES} bytes, this one {len(key)}")
    return key


def _vault(folder: Path) -> KeyVault:
    return KeyVault(kek_path=folder / "keys" / "broker.kek", keys_path=folder / "content-keys.json")


def _fill(folder: Path, *, organisation: str, now: datetime, weights: Path, release_key: Path) -> None:
    for name in ("keys", "evidence", "work"):
        (folder / name).mkdir(mode=0o700)
    keys = {role: Ed25519PrivateKey.generate() for role in ROLES}
    for role, key in keys.items():
        write_private_key(folder / "keys" / f"{role}.pem", key)
    write_secret(folder / "keys" / "mark.key", MarkKey.generate().to_bytes())
    write_secret(folder / "keys" / "pseudonym.key", secrets.token_bytes(32))
    write_secret(folder / "keys" / "broker.kek", secrets.token_bytes(32))
    create_pki(folder / "pki", organisation=organisation, now=now)
    model_digest = read_sealed_header(weights).model_digest
    content_key = read_release_key(release_key)
    open_sealed(weights, content_key)  # a key that does not fit is found now, not in the first job
    _vault(folder).store(model_digest, content_key)
    names = {role: thumbprint(key)[:16] for role, key in keys.items()}
    record = AuthorityRecord(
        schema=SCHEMA_VERSION,
        organisation=organisation,
        created_at=now.isoformat(timespec="seconds"),
        gate_id=f"urn:vasari:gate:{names['gate']}",
        registry_id=f"urn:vasari:registry:{names['registry']}",
        accreditation_id=f"urn:vasari:accreditation:{names['accreditation']}",
        log_origin=f"vasari.local/log/{names['log']}",
        model_digest=model_digest,
        weights="" if weights == SHIPPED_WEIGHTS else str(weights.resolve()),
    )
    write_secret(folder / "authority.json", canonical_json(asdict(record)))
