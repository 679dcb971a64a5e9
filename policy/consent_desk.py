"""The registry's desk: people's devices, consents, accreditations, and what becomes of them; all of it logged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from policy.canonical import sha256_hex, utf8
from policy.claims import parse_pseudonym
from policy.consent_ceremony import ConsentProposal
from policy.consent_record import ConsentTerms, with_events
from policy.consent_token import PURPOSES
from policy.errors import StateError, UnknownTokenError
from policy.event_receipt import EventReceipt
from policy.keys import thumbprint
from policy.open_state import OpenState
from policy.registry import IssuedToken, Kind
from policy.status_list import TokenStatus
from policy.subject_device import Credential, SubjectDevice
from policy.uses import ConsentUse
from policy.webauthn import Assertion, decode_subject_key


class ConsentDesk(OpenState):
    """What the registry of a state folder does for people; raises StateError where the folder is a gate's alone."""

    def enrol_subject(self, name: str, credential: Credential) -> EventReceipt:
        """Keep a depicted person's device key at registry and gate; logged. Raises PolicyError, TokenError."""
        pseudonym = self.registry.enrol_subject(name, credential, self.clock())
        self.stores.subject_keys.enrol(pseudonym, credential.public_key, self.clock())
        return self._record("subject.enrolled", pseudonym)

    def pseudonym_of(self, name: str) -> str:
        """By which pseudonym this registry's gate knows a person."""
        return self.registry.pseudonym(name, self.identity.gate_id)

    def enrol_subject_at_gate(self, pseudonym: str, credential: Credential) -> EventReceipt:
        """Keep at this gate a device that its registry elsewhere enrolled; logged. Raises TokenError for no key."""
        decode_subject_key(credential.public_key)
        self.stores.subject_keys.enrol(parse_pseudonym(pseudonym), credential.public_key, self.clock())
        return self._record("subject.enrolled", pseudonym)

    def revoke_subject_key_at_gate(self, public_key: str) -> EventReceipt:
        """Stop taking a lost device at this gate, by its public key; raises UnknownTokenError."""
        if not self.stores.subject_keys.revoke(public_key, self.clock()):
            raise UnknownTokenError(f"no device with the public key {public_key!r:.40} is enrolled at this gate")
        return self._record("subject.key_revoked", sha256_hex(utf8(public_key)))

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
        """Every use of a consent at this gate, refunded ones included; raises UnknownTokenError."""
        if self._registry is not None:
            self._registry.find("consent", jti)
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
        """Erase every record past its retention, here and behind the log's commitments; the consents' ids.

        Where the registry is elsewhere: what this gate recorded of consents whose retention, counted by its own
        `site.json` from the end that its decisions saw, is over.
        """
        if self._registry is None:
            kept = timedelta(days=self.site.retention_days)
            ends = self.stores.events.consents_until()
            return self._erase(jti for jti, until in ends.items() if until + kept <= self.clock())
        due = self._registry.records_due(self.clock())
        for jti in due:
            self._registry.erase_record(jti)
        return self._erase(due)

    def erase_at_gate(self, ids: Sequence[str]) -> tuple[str, ...]:
        """Erase what this gate recorded of consents whose records its registry elsewhere has erased; their ids.

        Raises StateError for one that is still good, UnknownTokenError for one of which there is no record (any more),
        and then erases none.
        """
        if self._registry is not None:
            raise StateError(f"{self.folder}: its registry is here; records past their retention need no naming")
        ends = self.stores.events.consents_until()
        for jti in ids:
            if not self.stores.events.about(jti):
                raise UnknownTokenError(f"this gate has no record of a consent {jti!r:.80}")
            if (until := ends.get(jti)) is not None and until > self.clock():
                raise StateError(f"consent {jti} is good until {until:%Y-%m-%d}; its record is needed until then")
        return self._erase(ids)

    def _erase(self, ids: Iterable[str]) -> tuple[str, ...]:
        """Forget the private side of what was logged about these consents; that it was done is logged."""
        erased = tuple(ids)
        for jti in erased:
            self.stores.events.erase(jti)
            self._record("consent.erased", jti, keep=False)
        return erased

    def withdraw(self, jti: str, *, kind: Kind = "consent", actor: str = "depicted person") -> EventReceipt:
        """Withdraw for good, before it is logged. A consent's running jobs stop, an accreditation's finish."""
        return self._change_status(kind, jti, TokenStatus.INVALID, "withdrawn", actor)

    def suspend(self, jti: str, *, kind: Kind = "consent", actor: str = "registry") -> EventReceipt:
        """Suspend until `reinstate`. A consent's running jobs stop, an accreditation's finish."""
        return self._change_status(kind, jti, TokenStatus.SUSPENDED, "suspended", actor)

    def reinstate(self, jti: str, *, kind: Kind = "consent", actor: str = "registry") -> EventReceipt:
        """End a suspension; raises PolicyError after a withdrawal."""
        return self._change_status(kind, jti, TokenStatus.VALID, "reinstated", actor)

    def _change_status(self, kind: Kind, jti: str, status: TokenStatus, word: str, actor: str) -> EventReceipt:
        self.registry.set_status(kind, jti, status, word=word, actor=actor, now=self.clock())
        return self._record(f"{kind}.{word}", jti)

    def _record(self, event: str, jti: str, *, keep: bool = True) -> EventReceipt:
        """Log an event about a token; with `keep` False nothing private stays behind."""
        receipt = self._log(event, {"jti": jti}, subject=jti)
        if not keep:
            self.stores.events.erase(jti)
        return receipt
