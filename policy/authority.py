"""The authority: one state folder that holds every role of the embedded default.

    authority.json     who this is (no secret)
    keys/              registry, accreditation, gate and log keys; mark keys; broker's key-encryption key
    pki/               certificates that sign clips
    registry.sqlite    consents and accreditations issued; evidence/ their records with names
    gate.sqlite        uses, proofs seen, private side of the log; broker.sqlite, content-keys.json the broker's
    log.sqlite         transparency log; repository.sqlite  manifests of released clips
    work/              anonymous files of running jobs

The folder is 0700, every secret 0600. Keys never leave it, and none shows in repr, logs or arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from policy.broker import KeyBroker
from policy.broker_folder import BrokerSettings, RecordingClient, broker_address, gate_end, split_broker
from policy.broker_service import ReleasesKeys
from policy.canonical import b64url
from policy.clock import Clock, utc_now
from policy.consent_ceremony import ConsentProposal
from policy.consent_record import ConsentTerms, with_events
from policy.consent_token import PURPOSES
from policy.errors import StateError
from policy.facts import GateIdentity
from policy.gate import Gate, GateKeys, StatusSource
from policy.grant import GrantClaims
from policy.key_change import rotate_claim_key, rotate_kek
from policy.key_ring import KEPT_AFTER_ROTATION, SIGNING_ROLES, KeyRing, Role
from policy.keys import read_secret, thumbprint
from policy.mark_keys import StoredMarkKey, read_mark_keys, rotate_mark_key
from policy.media_facts import MediaFacts, inspect_media
from policy.registry import IssuedToken, Kind, Registry
from policy.replay import Replay, replay
from policy.seal import read_sealed_header
from policy.site_policy import SITE_FILE, SitePolicy, read_site_policy
from policy.state_folder import (
    SHIPPED_RELEASE_KEY,
    SHIPPED_WEIGHTS,
    AuthorityRecord,
    create_state,
    read_state,
    vault_of,
)
from policy.status_feed import StatusFeed, TrustedIssuer, feed_address, write_feed_address
from policy.status_list import TokenStatus
from policy.stores import GateStores
from policy.subject_device import Credential, SubjectDevice
from policy.uses import ConsentUse
from policy.webauthn import Assertion
from provenance import ManifestRepository, SigningIdentity, TransparencyLog, TrustAnchors, read_places, verify_log_proof
from watermark import MarkKey


@dataclass(frozen=True)
class EventReceipt:
    """What was logged: `entry` at `log_index`, with the proof that it is there."""

    event: str
    log_index: int
    entry_sha256: str
    log_proof: str


CertificateChange = Literal["certificate.rotated", "certificate.installed", "certificate.revoked"]


class Authority:
    """An open state folder. Use as a context manager; one thread at a time."""

    def __init__(self, folder: Path, record: AuthorityRecord, clock: Clock) -> None:
        self.folder = folder
        self.record = record
        self.site = read_site_policy(folder / SITE_FILE)
        self.clock = clock
        self.identity = GateIdentity(
            gate_id=record.gate_id,
            registry_id=record.registry_id,
            accreditation_id=record.accreditation_id,
            model_digest=record.model_digest,
        )
        self.key_ring = KeyRing.read(folder)
        self._keys = {role: self.key_ring.signing_key(role) for role in SIGNING_ROLES}
        self.mark_keys = tuple(one.key for one in read_mark_keys(folder / "keys"))
        places = read_places(folder)
        self.log = TransparencyLog(places["log"], origin=record.log_origin, signer=self._keys["log"])
        self.repository = ManifestRepository(places["repository"])
        self.registry = Registry(
            folder,
            identity=self.identity,
            site=self.site,
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
        site: SitePolicy | None = None,
        clock: Clock = utc_now,
    ) -> Authority:
        """Make a state folder, whole or not at all, and open it; raises StateError when it is there already."""
        create_state(
            folder,
            organisation=organisation,
            site=site or SitePolicy(controller=organisation),
            now=now,
            weights=weights,
            release_key=release_key,
        )
        return cls.open(folder, clock=clock)

    @classmethod
    def open(cls, folder: Path, *, clock: Clock = utc_now) -> Authority:
        """Open a state folder and settle what died with earlier processes; raises StateError."""
        return cls(folder, read_state(folder), clock)

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
        if isinstance(feed := self.__dict__.get("status_source"), StatusFeed):
            feed.close()

    # Consents and accreditations

    def enrol_subject(self, name: str, credential: Credential) -> EventReceipt:
        """Keep a depicted person's device key at registry and gate; logged. Raises PolicyError, TokenError."""
        pseudonym = self.registry.enrol_subject(name, credential, self.clock())
        self.stores.subject_keys.enrol(pseudonym, credential.public_key, self.clock())
        return self._record("subject.enrolled", pseudonym)

    def revoke_subject_key(self, credential_id: str) -> EventReceipt:
        """Stop taking a lost device: consents it signed are refused from now on; raises UnknownTokenError."""
        enrolled = self.registry.subjects.remove(credential_id)
        self.stores.subject_keys.revoke(enrolled.key, self.clock())
        return self._record("subject.key_revoked", credential_id)

    def propose_consent(self, terms: ConsentTerms, credential: Credential) -> ConsentProposal:
        """The statement that the person shall sign; raises PolicyError for impossible terms, MediaError."""
        return self.registry.propose_consent(terms, credential, self.clock())

    def accept_consent(self, jti: str, assertion: Assertion) -> str:
        """The consent token of a proposal that the person signed; logged. Raises TokenError, UnknownTokenError."""
        claims = self.registry.accept_consent(jti, assertion, self.clock())
        self._record("consent.issued", claims.jti)
        return self.registry.find("consent", claims.jti).token

    def issue_consent(self, terms: ConsentTerms, device: SubjectDevice) -> str:
        """Propose, let the person's enrolled device sign, accept: for a device that is at hand."""
        proposal = self.propose_consent(terms, device.credential)
        return self.accept_consent(proposal.jti, device.sign(proposal.challenge, proposal.party))

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

    def consents_of(self, device: SubjectDevice) -> tuple[IssuedToken, ...]:
        """The consents of whoever holds the device, and nobody else's; raises TokenError."""
        challenge = self.registry.view_challenge(self.clock())
        assertion = device.sign(challenge, self.site.relying_party)
        return self.registry.consents_of_signer(challenge, assertion, self.clock())

    def consent_record(self, jti: str) -> Mapping[str, Any]:
        """The consent record with what happened since; raises UnknownTokenError, StateError when erased."""
        return with_events(self.registry.record(jti), self.registry.events(jti))

    def erase_due(self) -> tuple[str, ...]:
        """Erase every record past its retention, here and behind the log's commitments; the consents' ids."""
        due = self.registry.records_due(self.clock())
        for jti in due:
            self.registry.erase_record(jti)
            self.stores.events.erase(jti)
            self._record("consent.erased", jti, keep=False)
        return due

    def withdraw(self, jti: str, *, kind: Kind = "consent", actor: str = "depicted person") -> EventReceipt:
        """Withdraw for good, before it is logged. A consent's running jobs stop, an accreditation's finish."""
        return self._change_status(kind, jti, TokenStatus.INVALID, "withdrawn", actor)

    def suspend(self, jti: str, *, kind: Kind = "consent", actor: str = "registry") -> EventReceipt:
        """Suspend until `reinstate`. A consent's running jobs stop, an accreditation's finish."""
        return self._change_status(kind, jti, TokenStatus.SUSPENDED, "suspended", actor)

    def reinstate(self, jti: str, *, kind: Kind = "consent", actor: str = "registry") -> EventReceipt:
        """End a suspension; raises PolicyError after a withdrawal."""
        return self._change_status(kind, jti, TokenStatus.VALID, "reinstated", actor)

    def replay(self, decision_id: str, logged: bytes) -> Replay:
        """Judge a logged decision again; raises UnknownTokenError when its record was erased or never was."""
        return replay(self.stores.events, decision_id, logged)

    # Mark keys

    @property
    def mark_key(self) -> MarkKey:
        """The key that marks new clips."""
        return self.mark_keys[0]

    def stored_mark_keys(self) -> tuple[StoredMarkKey, ...]:
        """The key that marks new clips, then the retired ones, newest first."""
        return read_mark_keys(self.folder / "keys")

    def rotate_mark_key(self, *, new_pilot: bool = False) -> EventReceipt:
        """Mark new clips with a new key from now on; the old one still reads the clips it marked. Logged."""
        old, new = rotate_mark_key(self.folder / "keys", new_pilot=new_pilot)
        self.mark_keys = tuple(one.key for one in self.stored_mark_keys())
        return self._log("mark_key.rotated", {"retired": old.key_id, "active": new.key_id})

    # Keys of the roles

    def move_key(self, role: Role, uri: str) -> EventReceipt:
        """Use the same key at another place from now on; logged. Raises KeyFileError when another key lies there."""
        self.key_ring = self.key_ring.moved(role, uri)
        return self._key_event("key.moved", role)

    def protect_key(self, role: Role, passphrase: bytes, *, passphrase_file: Path | None = None) -> EventReceipt:
        """Encrypt a key's file; logged."""
        self.key_ring = self.key_ring.protected(role, passphrase, passphrase_file=passphrase_file)
        return self._key_event("key.protected", role)

    def rotate_key(self, role: Role, uri: str | None = None) -> EventReceipt:
        """A new key for a role, from `uri` or made here; logged. Takes effect when the folder is opened next."""
        if role == "kek" and broker_address(self.folder) is not None:
            raise StateError(f"{self.folder}: its key broker has a folder of its own; the key lies there")
        if role == "kek":
            self.key_ring = rotate_kek(self.folder, self.key_ring, uri)
        elif role == "claim":
            self.key_ring = rotate_claim_key(self.folder, self.key_ring, uri, now=self.clock())
        else:
            self.key_ring = self.key_ring.rotated(role, uri, self.clock())
        return self._key_event("key.rotated", role)

    def revoke_key(self, role: Role, kid: str) -> EventReceipt:
        """Take nothing any more that a retired key signed; logged. Takes effect when the folder is opened next."""
        self.key_ring = self.key_ring.revoked(role, kid, self.clock())
        return self._key_event("key.revoked", role, kid)

    def certificate_event(self, event: CertificateChange, name: str, serial: int, reason: str = "") -> EventReceipt:
        """Log that a certificate of this authority was rotated, installed or revoked; serial and reason are public."""
        detail = {"certificate": name, "serial": f"{serial:x}", "reason": reason}
        return self._log(event, detail, public=detail)

    def _key_event(self, event: str, role: Role, kid: str = "") -> EventReceipt:
        return self._log(event, {"role": role, "kid": kid})

    # The gate and what belongs to it

    def gate(self, *, inspect: Callable[[bytes, bytes], MediaFacts] = inspect_media) -> Gate:
        """The gate of this folder."""
        registry, accreditation = self._trusted_issuers()
        return Gate(
            identity=self.identity,
            keys=GateKeys(
                gate=self._keys["gate"],
                registry=registry,
                accreditation=accreditation,
            ),
            site=self.site,
            stores=self.stores,
            status_source=self.status_source,
            clock=self.clock,
            inspect=inspect,
        )

    @cached_property
    def status_source(self) -> StatusSource:
        """The registry of this folder, or the one elsewhere that it subscribes to (`vasari registry subscribe`)."""
        address = feed_address(self.folder)
        if address is None:
            return lambda uri: self.registry.status_list(uri, self.clock())
        registry, accreditation = self._trusted_issuers()
        issuers = {
            self.registry.list_uri("consent"): TrustedIssuer(self.identity.registry_id, registry),
            self.registry.list_uri("accreditation"): TrustedIssuer(self.identity.accreditation_id, accreditation),
        }
        return StatusFeed(address, issuers)

    def status_lists(self) -> Mapping[str, str]:
        """The signed lists as they stand now, by URI: what `vasari registry serve` hands to gates elsewhere."""
        uris = (self.registry.list_uri("consent"), self.registry.list_uri("accreditation"))
        return {uri: self.registry.status_list(uri, self.clock()) for uri in uris}

    def subscribe(self, address: str | None) -> EventReceipt:
        """Take status lists from a registry elsewhere, or (None) from this folder again; logged."""
        write_feed_address(self.folder, address)
        return self._log("registry.subscribed", {"address": address})

    def _trusted_issuers(self) -> tuple[Mapping[str, Ed25519PublicKey], Mapping[str, Ed25519PublicKey]]:
        """Public keys of registry and accreditation, by `kid`."""
        registry, accreditation = (self.key_ring.trusted(role, self._keys[role]) for role in KEPT_AFTER_ROTATION)
        return registry, accreditation

    @cached_property
    def broker(self) -> ReleasesKeys:
        """The key broker: of this folder, or the process that `vasari broker split` moved it to."""

        def record_release(grant: GrantClaims) -> None:
            detail = {"grant": grant.jti, "decision": grant.decision, "model": grant.model}
            self.stores.events.record("key.released", detail, now=self.clock())

        if (address := broker_address(self.folder)) is not None:
            tls = gate_end(self.folder, address)
            return RecordingClient(address, tls=tls, gate_key=self.gate_public_key, record_release=record_release)

        def check_proof(proof_text: str, entry: bytes) -> int:
            origin, key = self.record.log_origin, self.log_public_key
            index: int = verify_log_proof(proof_text, entry, origin=origin, public_key=key).index
            return index

        return KeyBroker(
            vault=vault_of(self.folder),
            ledger_path=self.folder / "broker.sqlite",
            gate_id=self.identity.gate_id,
            gate_key=self._keys["gate"].public_key(),
            check_proof=check_proof,
            record_release=record_release,
            clock=self.clock,
        )

    def split_broker(self, folder: Path, address: str) -> EventReceipt:
        """Give the broker a folder of its own, for a process of its own at `address`; logged."""
        settings = BrokerSettings(
            gate_id=self.identity.gate_id,
            gate_key=b64url(self.gate_public_key.public_bytes_raw()),
            log_origin=self.record.log_origin,
            log_key=b64url(self.log_public_key.public_bytes_raw()),
        )
        self.broker.close()
        del self.broker
        split_broker(self.folder, folder, settings, address, now=self.clock())
        return self._key_event("broker.split", "kek")

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
        return SigningIdentity.from_folder(self.folder / "pki", claim_key=self.key_ring.claim_key())

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

    def _change_status(self, kind: Kind, jti: str, status: TokenStatus, word: str, actor: str) -> EventReceipt:
        self.registry.set_status(kind, jti, status, word=word, actor=actor, now=self.clock())
        return self._record(f"{kind}.{word}", jti)

    def _record(self, event: str, jti: str, *, keep: bool = True) -> EventReceipt:
        """Log an event about a token; with `keep` False nothing private stays behind."""
        receipt = self._log(event, {"jti": jti}, subject=jti)
        if not keep:
            self.stores.events.erase(jti)
        return receipt

    def _log(
        self, event: str, detail: Mapping[str, object], *, subject: str | None = None,
        public: Mapping[str, str] | None = None,
    ) -> EventReceipt:  # fmt: skip
        """Log an event, with the proof that it is there."""
        entry = self.stores.events.prepare(event, detail, now=self.clock(), subject=subject, public=public)
        index, proof = self.stores.events.append_proven(entry)
        return EventReceipt(event, index, entry.sha256, proof)
