"""The gate: verifies the tokens, gathers the facts, judges, logs, and only then grants.

Order of effects: (1) tokens and media are read, nothing is written; (2) in one write transaction the
ledger is read, all rules are judged, and on an allow the use is reserved; (3) the decision, allow or
refuse, goes to the transparency log; (4) on an allow the grant is signed. When the log takes no entry
the decision is a refusal and the reservation is given back.

What (2) committed is put on the disk beside (3), which writes another file, and both are there before (4)
and before any answer. So a process that is killed leaves what it always left: a reservation without a
grant, which the next start gives back. A power cut inside (3) may leave a log entry whose reservation and
private record are lost; no grant of it was ever signed, so no use is lost or doubled and no key released.
"""

from __future__ import annotations

import math
import secrets
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache, partial
from typing import Protocol, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from policy.accreditation_token import AccreditationClaims, verify_accreditation
from policy.canonical import b64url
from policy.clock import Clock
from policy.consent_token import ConsentClaims, verify_consent
from policy.counterfactual import way_out
from policy.decision import Decision, Denial
from policy.decision_record import record_of
from policy.delegation_token import verify_chain
from policy.errors import PolicyError, StateError, TokenError
from policy.events import Entry
from policy.facts import Facts, GateIdentity
from policy.gate_database import Answer, transaction
from policy.grant import GRANT_LIFE, GrantClaims, sign_grant
from policy.keys import thumbprint
from policy.media_facts import MediaFacts, inspect_media
from policy.proof_of_possession import verify_proof
from policy.request import GenerationRequest, RequestFacts
from policy.rules import evaluate, rule_set_sha256
from policy.site_policy import SitePolicy
from policy.status_list import StatusList, TokenStatus, verify_status_list
from policy.stores import GateStores

TOKEN_REMEDY = "Use the token exactly as its issuer handed it out."  # noqa: S105
STATUS_REMEDY = "Try again when the issuer's status list can be had; without it nothing is allowed."
LOG_REMEDY = "Ask the gate's operator; without a log entry nothing is allowed."

WORKER_KEY_BYTES = 32
KEPT_TOKENS = 256
Inspect = Callable[[bytes, bytes], MediaFacts]
Token = TypeVar("Token")


class StatusSource(Protocol):
    """Where the gate gets signed status lists."""

    def __call__(self, uri: str) -> str:
        """The signed list at `uri`; raises PolicyError when it cannot be had."""
        ...


@dataclass(frozen=True)
class GateKeys:
    """The gate's own key, and the public keys it trusts, by `kid`."""

    gate: Ed25519PrivateKey
    registry: Mapping[str, Ed25519PublicKey]
    accreditation: Mapping[str, Ed25519PublicKey]


class Gate:
    """Decides on requests. All state is in `stores`; clock, status source and media inspection are given."""

    def __init__(
        self,
        *,
        identity: GateIdentity,
        keys: GateKeys,
        site: SitePolicy,
        stores: GateStores,
        status_source: StatusSource,
        clock: Clock,
        inspect: Inspect = inspect_media,
    ) -> None:
        self.identity = identity
        self.site = site
        self._keys = keys
        self._stores = stores
        self._status_source = status_source
        self._clock = clock
        self._inspect = inspect
        self._lists: dict[str, tuple[str, StatusList]] = {}
        # Whether a text is well signed by one of this gate's keys never changes; everything else is judged each time.
        self._consent_of = lru_cache(KEPT_TOKENS)(partial(verify_consent, keys=keys.registry))
        self._accreditation_of = lru_cache(KEPT_TOKENS)(partial(verify_accreditation, keys=keys.accreditation))
        self._kid = thumbprint(keys.gate)

    def decide(self, request: GenerationRequest, *, worker_key: bytes) -> Decision:
        """Judge one request. `worker_key`: raw X25519 public key to which an allow is bound.

        On an allow the caller owns the reserved use, and must see to it that it is consumed or refunded.
        """
        if len(worker_key) != WORKER_KEY_BYTES:
            raise ValueError(f"a worker's public key has {WORKER_KEY_BYTES} bytes, got {len(worker_key)}")
        now = self._clock()
        with suppress(PolicyError, sqlite3.Error):  # a use that cannot be given back now stays taken
            self._stores.ledger.recover(now)
        facts = self._gather(request, now)
        try:
            decision, entry, facts = self._judge(facts, now)
        except sqlite3.Error as error:
            raise StateError(f"the gate's database cannot be used: {error}; nothing was decided") from error
        on_disk = self._stores.sync.start()
        try:
            events = self._stores.events
            index, proof = events.append_proven(entry) if decision.allowed else (events.append(entry), "")
        except PolicyError as error:
            index, proof, decision = None, "", self._unlogged(decision, error)
        self._await(on_disk, decision)
        if not decision.allowed or index is None:
            return replace(decision, log_index=index)
        return self._granted(decision, index, proof, facts, worker_key, now)

    def status_of(self, claims: ConsentClaims | AccreditationClaims) -> TokenStatus:
        """Status of a token now; raises TokenError or PolicyError when it cannot be known for sure."""
        now = self._clock()
        if isinstance(claims, ConsentClaims):
            issuer, keys = self.identity.registry_id, self._keys.registry
        else:
            issuer, keys = self.identity.accreditation_id, self._keys.accreditation
        entry = claims.status.status_list
        listed = self._status_list(entry.uri, issuer, keys)
        if not listed.is_fresh(now):
            raise TokenError("stale", f"the status list {entry.uri} is past its time")
        try:
            return listed[entry.idx]
        except IndexError as error:
            raise TokenError("no_entry", str(error)) from error

    def _status_list(self, uri: str, issuer: str, keys: Mapping[str, Ed25519PublicKey]) -> StatusList:
        """The verified list; a signed text that was verified before is not verified again."""
        token = self._status_source(uri)
        known = self._lists.get(uri)
        if known and known[0] == token:
            return known[1]
        listed = verify_status_list(token, uri=uri, issuer=issuer, keys=keys)
        self._lists[uri] = token, listed
        return listed

    def _gather(self, request: GenerationRequest, now: datetime) -> Facts:
        """Read everything that can be read; whatever fails becomes a denial under its fact's name."""
        unreadable: dict[str, Denial] = {}
        consent = _read("consent", unreadable, lambda: self._consent_of(request.consent))
        accreditation = _read("accreditation", unreadable, lambda: self._accreditation_of(request.accreditation))
        proof = _read("proof", unreadable, lambda: verify_proof(request.proof))
        chain = None
        if consent is not None:
            root = consent
            chain = _read(
                "chain",
                unreadable,
                lambda: verify_chain(root, request.consent, request.delegations),
                called="delegation",
            )
        seen = self._inspect(request.portrait, request.audio)
        unreadable.update(seen.unreadable)
        return Facts(
            now=now,
            gate=self.identity,
            site=self.site,
            request=RequestFacts.with_media(request, seen.portrait_sha256, seen.audio_sha256),
            consent=consent,
            chain=chain,
            consent_status=self._status("consent", unreadable, consent),
            subject_keys=None,
            standing=None,
            hop_standings=None,
            accreditation=accreditation,
            accreditation_status=self._status("accreditation", unreadable, accreditation),
            proof=proof,
            proof_seen=None,
            portrait=seen.portrait_under(consent.allows.portrait.commitment if consent else None),
            audio=seen.audio,
            unreadable=unreadable,
        )

    def _status(
        self, name: str, unreadable: dict[str, Denial], claims: ConsentClaims | AccreditationClaims | None
    ) -> TokenStatus | None:
        if claims is None:
            return None
        try:
            return self.status_of(claims)
        except PolicyError as error:
            unreadable[f"{name}_status"] = Denial(
                f"{name}.status_unknown", f"The status of the {name} is not known: {error}.", STATUS_REMEDY
            )
            return None

    def _judge(self, facts: Facts, now: datetime) -> tuple[Decision, Entry, Facts]:
        """Read the ledger, judge, reserve, and keep the private record, all in one transaction."""
        stores, decision_id = self._stores, secrets.token_hex(16)
        reservation_id = ""
        with transaction(stores.connection, synced=False):
            facts = self._with_ledger(facts)
            denials = evaluate(facts)
            if facts.proof:
                stores.replays.remember(facts.proof, now)
            if not denials:
                reservation_id = self._reserve(facts, decision_id, now)
            entry = stores.events.prepare(
                "decision",
                decision_detail(facts, denials),
                now=now,
                decision=decision_id,
                subject=facts.consent.jti if facts.consent else None,
                public=public_members(denials),
            )
        found = way_out(facts, denials) if denials else None
        decision = Decision(
            decision_id=decision_id,
            allowed=not denials,
            denials=denials,
            decided_at=int(now.timestamp()),
            entry=entry.data,
            sha256=entry.sha256,
            log_index=None,
            reservation_id=reservation_id,
            consent_id=facts.consent.jti if facts.consent else "",
            duration_s=facts.audio.duration_s if facts.audio else 0.0,
            consent=facts.consent,
            way_out=found.changes if found else (),
            way_out_sufficient=found.sufficient if found else False,
            appeal=self.site.appeals_to if denials else "",
        )
        return decision, entry, facts

    def _with_ledger(self, facts: Facts) -> Facts:
        """What only the gate's own database knows; call inside the deciding transaction."""
        stores = self._stores
        hops = facts.request.delegations_sha256 if facts.request else ()
        return replace(
            facts,
            subject_keys=stores.subject_keys.of(facts.consent.sub) if facts.consent else None,
            standing=stores.ledger.standing(facts.consent.jti) if facts.consent else None,
            hop_standings=tuple(stores.ledger.hop_standing(hop) for hop in hops) if facts.chain else None,
            proof_seen=stores.replays.seen(facts.proof) if facts.proof else None,
        )

    def _reserve(self, facts: Facts, decision_id: str, now: datetime) -> str:
        """Take one use of the consent and of each hop; the reservation's id."""
        assert facts.consent
        assert facts.audio
        assert facts.request
        reservation_id = secrets.token_hex(16)
        self._stores.ledger.reserve(
            reservation_id,
            consent=facts.consent.jti,
            decision=decision_id,
            duration_ms=math.ceil(facts.audio.duration_s * 1000),
            now=now,
            hops=facts.request.delegations_sha256,
        )
        return reservation_id

    def _await(self, on_disk: Answer, decision: Decision) -> None:
        """Until reservation and record are on the disk; StateError, and no grant, when they can't be put there."""
        if (error := on_disk.get()) is None:
            return
        if decision.reservation_id:
            with suppress(sqlite3.Error):  # then it ends with this process or its lease
                self._stores.ledger.abandon(decision.reservation_id)
        raise StateError(f"the gate's database can't be put on the disk: {error}; nothing is granted") from error

    def _unlogged(self, decision: Decision, error: PolicyError) -> Decision:
        """No log entry, no release. The reservation falls back when the log can be written again."""
        denial = Denial("log.unavailable", f"The decision could not be logged: {error}.", LOG_REMEDY)
        if decision.allowed:
            self._stores.ledger.abandon(decision.reservation_id)
        return replace(
            decision,
            allowed=False,
            denials=(*decision.denials, denial),
            reservation_id="",
        )

    def _granted(
        self, decision: Decision, log_index: int, log_proof: str, facts: Facts, worker_key: bytes, now: datetime
    ) -> Decision:
        """The allow that is logged at `log_index`, with its grant."""
        assert facts.chain
        assert facts.request
        manifest_id = secrets.randbits(64)
        clock = int(now.timestamp())
        claims = GrantClaims(
            iss=self.identity.gate_id,
            aud=f"{self.identity.gate_id}/broker",
            iat=clock,
            nbf=clock,
            exp=clock + int(GRANT_LIFE.total_seconds()),
            jti=secrets.token_hex(16),
            decision=decision.sha256,
            log_index=log_index,
            reservation=decision.reservation_id,
            consent_sha256=facts.request.consent_sha256,
            portrait_sha256=facts.request.portrait_sha256,
            audio_sha256=facts.request.audio_sha256,
            request=facts.request.digest,
            video=facts.chain.allows.video,
            model=self.identity.model_digest,
            manifest_id=f"{manifest_id:016x}",
            worker_key=b64url(worker_key),
        )
        return replace(
            decision,
            log_index=log_index,
            log_proof=log_proof,
            grant=sign_grant(claims, self._keys.gate, kid=self._kid),
            manifest_id=manifest_id,
        )


def _read(name: str, unreadable: dict[str, Denial], read: Callable[[], Token], *, called: str = "") -> Token | None:
    """A fact, or its denial under the fact's name; `called` names the token to people."""
    token = called or name
    try:
        return read()
    except TokenError as error:
        unreadable[name] = Denial(
            f"{token}.{error.code}", f"The {token} token is not good: {error.fact}.", TOKEN_REMEDY
        )
        return None


def decision_detail(facts: Facts, denials: Sequence[Denial]) -> dict[str, object]:
    """The private side of a decision: all facts and what came of them."""
    return {**record_of(facts), "denials": [[denial.rule_id, denial.fact] for denial in denials]}


def public_members(denials: Sequence[Denial]) -> dict[str, str | list[str]]:
    """The public side of a decision in the log: outcome, failing rules, and by which rules it was made."""
    return {
        "outcome": "refuse" if denials else "allow",
        "rules": [denial.rule_id for denial in denials],
        "rule_set": rule_set_sha256(),
    }
