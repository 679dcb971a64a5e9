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
from datetime import datetime
from functools import cached_property
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from policy.broker import KeyBroker
from policy.broker_folder import BrokerSettings, RecordingClient, broker_address, gate_end, split_broker
from policy.broker_service import ReleasesKeys
from policy.canonical import b64url
from policy.clock import Clock, utc_now
from policy.consent_desk import ConsentDesk
from policy.errors import StateError
from policy.event_receipt import EventReceipt
from policy.gate import Gate, GateKeys, StatusSource
from policy.grant import GrantClaims
from policy.key_desk import KeyDesk
from policy.key_ring import KEPT_AFTER_ROTATION, Role
from policy.media_facts import MediaFacts, inspect_media
from policy.process_messages import Ready
from policy.registry import status_list_uri
from policy.replay import Replay, replay
from policy.seal import read_sealed_header
from policy.site_policy import SitePolicy
from policy.split_worker import SplitWorker, end_split, read_worker_settings, split_worker
from policy.state_folder import (
    SHIPPED_RELEASE_KEY,
    SHIPPED_WEIGHTS,
    create_state,
    vault_of,
)
from policy.status_feed import StatusFeed, TrustedIssuer, feed_address, write_feed_address
from provenance import SigningIdentity, TrustAnchors, verify_log_proof


class Authority(ConsentDesk, KeyDesk):
    """An open state folder with all its roles: the registry's desk, the keys, and the gate with what belongs to it."""

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

    def close(self) -> None:
        """Close all databases and connections."""
        super().close()
        if "broker" in self.__dict__:
            self.broker.close()
        if (split := self.__dict__.get("split_worker")) is not None:
            split.reader.close()
        if isinstance(feed := self.__dict__.get("status_source"), StatusFeed):
            feed.close()

    def gate(self, *, inspect: Callable[[bytes, bytes], MediaFacts] | None = None) -> Gate:
        """The gate of this folder, which looks at portrait and recording itself unless a process apart does."""
        if inspect is None:
            inspect = inspect_media if self.split_worker is None else self.split_worker.reader.inspect
        registry, accreditation = self._trusted_issuers()
        return Gate(
            identity=self.identity,
            keys=GateKeys(
                gate=self._key("gate"),
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
    def split_worker(self) -> SplitWorker | None:
        """By which processes media work is done (`vasari worker split`); None: by this one."""
        return read_worker_settings(self.folder)

    @cached_property
    def status_source(self) -> StatusSource:
        """The registry of this folder, or the one elsewhere that it subscribes to (`vasari registry subscribe`)."""
        address = feed_address(self.folder)
        if address is None:
            registry_here = self.registry
            return lambda uri: registry_here.status_list(uri, self.clock())
        me, (registry, accreditation) = self.identity, self._trusted_issuers()
        issuers = {
            status_list_uri(me, "consent"): TrustedIssuer(me.registry_id, registry),
            status_list_uri(me, "accreditation"): TrustedIssuer(me.accreditation_id, accreditation),
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
        registry, accreditation = (self.key_ring.trusted(role, self._public_key(role)) for role in KEPT_AFTER_ROTATION)
        return registry, accreditation

    def _public_key(self, role: Role) -> Ed25519PublicKey:
        return self._keys[role].public_key() if role in self._keys else self.key_ring.public_key(role)

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
            gate_key=self.gate_public_key,
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

    def split_off_worker(self, user: str | None) -> tuple[EventReceipt, Ready]:
        """Have media work done by confined processes, under another user if one is named; logged."""
        ready = split_worker(self.folder, user)
        self.__dict__.pop("split_worker", None)
        return self._log("worker.split", {"user": user}), ready

    def end_worker_split(self) -> EventReceipt:
        """Have media work done in this process again; logged."""
        end_split(self.folder)
        self.__dict__.pop("split_worker", None)
        return self._log("worker.joined", {})

    @property
    def log_public_key(self) -> Ed25519PublicKey:
        """The key that signs the log's checkpoints."""
        return self._public_key("log")

    @property
    def gate_public_key(self) -> Ed25519PublicKey:
        """The key that signs grants."""
        return self._public_key("gate")

    @property
    def signing_identity(self) -> SigningIdentity:
        """Signs clips."""
        return SigningIdentity.from_folder(self.folder / "pki", claim_key=self.key_ring.claim_key())

    @property
    def trust_anchors(self) -> TrustAnchors:
        """What a verifier trusts to accept clips of this authority; raises StateError where the gate is elsewhere."""
        if not (self.folder / "pki").is_dir():
            raise StateError(
                f"{self.folder}: a registry's folder, its gate is on another machine; run this there, or name the "
                "gate's public folder (--trust)"
            )
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

    def replay(self, decision_id: str, logged: bytes) -> Replay:
        """Judge a logged decision again; raises UnknownTokenError when its record was erased or never was."""
        return replay(self.stores.events, decision_id, logged)
