"""An open state folder: its keys, databases and log, and what happens being logged with proof."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from policy.clock import Clock, utc_now
from policy.errors import StateError
from policy.event_receipt import EventReceipt
from policy.facts import GateIdentity
from policy.key_ring import KEPT_AFTER_ROTATION, SIGNING_ROLES, KeyRing, Role
from policy.keys import read_secret
from policy.mark_keys import StoredMarkKey, read_mark_keys
from policy.registry import Registry
from policy.site_policy import SITE_FILE, read_site_policy
from policy.state_folder import AuthorityRecord, read_state
from policy.stores import GateStores
from provenance import ManifestRepository, TransparencyLog, read_places


class OpenState:
    """What every role of a state folder works with. Use as a context manager; one thread at a time."""

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
        self._keys = {role: self.key_ring.signing_key(role) for role in SIGNING_ROLES if self.key_ring.holds(role)}
        self.mark_keys = tuple(one.key for one in self.stored_mark_keys())
        places = read_places(folder)
        self.log = TransparencyLog(places["log"], origin=record.log_origin, signer=self._keys["log"])
        self.repository = ManifestRepository(places["repository"])
        self._registry = self._open_registry() if self._keys.keys() >= set(KEPT_AFTER_ROTATION) else None
        self.stores = GateStores.open(folder / "gate.sqlite", self.log, clock)
        self.stores.ledger.recover(clock())

    @classmethod
    def open(cls, folder: Path, *, clock: Clock = utc_now) -> Self:
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
        if self._registry is not None:
            self._registry.close()
        self.stores.close()

    @property
    def registry(self) -> Registry:
        """The registry of this folder; raises StateError where it lies on another machine."""
        if self._registry is None:
            raise StateError(f"{self.folder}: a gate's folder, its registry is on another machine; run this there")
        return self._registry

    def stored_mark_keys(self) -> tuple[StoredMarkKey, ...]:
        """The key that marks new clips, then the retired ones, newest first; none where the gate is elsewhere."""
        return read_mark_keys(self.folder / "keys") if "gate" in self._keys else ()

    def _open_registry(self) -> Registry:
        return Registry(
            self.folder,
            identity=self.identity,
            site=self.site,
            consent_key=self._keys["registry"],
            accreditation_key=self._keys["accreditation"],
            pseudonym_secret=read_secret(self.folder / "keys" / "pseudonym.key"),
        )

    def _key(self, role: Role) -> Ed25519PrivateKey:
        """A signing key of this folder; raises StateError for one that lies on another machine."""
        if role not in self._keys:
            raise StateError(f"{self.folder}: the {role}'s private key is on another machine; run this there")
        return self._keys[role]

    def _log(
        self, event: str, detail: Mapping[str, object], *, subject: str | None = None,
        public: Mapping[str, str] | None = None,
    ) -> EventReceipt:  # fmt: skip
        """Log an event, with the proof that it is there."""
        entry = self.stores.events.prepare(event, detail, now=self.clock(), subject=subject, public=public)
        kept = self.stores.events.find(entry.sha256)
        assert kept is not None
        index, proof = self.stores.events.append_proven(entry)
        return EventReceipt(event, index, entry.sha256, proof, kept.salt.hex())
