"""The registry: issues consents and accreditations, keeps their status, publishes the signed status lists.

Names stay in the evidence folder, one file per consent, readable by the owner only. Tokens carry a
pairwise pseudonym and the hash of the evidence file.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from policy.accreditation_token import AccreditationClaims, sign_accreditation
from policy.canonical import b64url, b64url_decode, canonical_json, sha256_hex, strict_json_object
from policy.claims import Claims, new_identifier, parse_claims
from policy.consent_ceremony import Ceremony, ConsentProposal, completed
from policy.consent_record import ConsentEvent, ConsentTerms, retention_ends
from policy.consent_token import MAX_CEREMONY_S, ConsentClaims, sign_consent
from policy.errors import PolicyError, StateError, TokenError, UnknownTokenError
from policy.facts import GateIdentity
from policy.gate_database import open_database, transaction
from policy.keys import read_secret, write_secret
from policy.site_policy import SitePolicy
from policy.statement import challenge_of
from policy.status_list import LIST_ENTRIES, TIME_TO_LIVE, TokenStatus, pack, sign_status_list
from policy.strict_jws import same
from policy.subject_device import Credential
from policy.subjects import Subjects
from policy.webauthn import Assertion

Kind = Literal["consent", "accreditation"]

SCHEMA = """
CREATE TABLE IF NOT EXISTS tokens (
    jti TEXT PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('consent', 'accreditation')),
    status_index INTEGER NOT NULL,
    status INTEGER NOT NULL DEFAULT 0,
    token TEXT NOT NULL,
    issued_at INTEGER NOT NULL,
    person TEXT NOT NULL,
    UNIQUE (kind, status_index)
) STRICT;
CREATE INDEX IF NOT EXISTS tokens_not_valid ON tokens (kind) WHERE status <> 0;
CREATE INDEX IF NOT EXISTS tokens_by_person ON tokens (person);
CREATE TABLE IF NOT EXISTS consent_events (jti TEXT NOT NULL, at INTEGER NOT NULL, state TEXT NOT NULL,
    actor TEXT NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS consent_events_by_jti ON consent_events (jti);
CREATE TABLE IF NOT EXISTS challenges (challenge BLOB PRIMARY KEY, made_at INTEGER NOT NULL) STRICT;
"""


@dataclass(frozen=True)
class IssuedToken:
    """A token as the registry keeps it. Times in seconds since 1970."""

    jti: str
    token: str = field(repr=False)
    status: TokenStatus
    issued_at: int
    claims: ConsentClaims | AccreditationClaims


class Registry:
    """Consent registry and accreditation authority of one state folder; two issuers, two keys, one file."""

    def __init__(
        self,
        folder: Path,
        *,
        identity: GateIdentity,
        site: SitePolicy,
        consent_key: Ed25519PrivateKey,
        accreditation_key: Ed25519PrivateKey,
        pseudonym_secret: bytes,
    ) -> None:
        self._connection = open_database(folder / "registry.sqlite")
        self._connection.executescript(SCHEMA)
        self._evidence = folder / "evidence"
        self._identity = identity
        self._keys: Mapping[Kind, Ed25519PrivateKey] = {
            "consent": consent_key,
            "accreditation": accreditation_key,
        }
        self._pseudonym_secret = pseudonym_secret
        self.subjects = Subjects(self._connection)
        self._ceremony = Ceremony(self._connection, identity=identity, site=site, pseudonym=self.pseudonym)
        self._site = site
        self._signed_lists: dict[str, tuple[object, datetime, str]] = {}

    def close(self) -> None:
        """Close the database file."""
        self._connection.close()

    def enrol_subject(self, name: str, credential: Credential, now: datetime) -> str:
        """Keep a person's device key; the pseudonym by which this registry's gate knows them."""
        with transaction(self._connection):
            self.subjects.enrol(self.person(name), credential, now)
        return self.pseudonym(name, self._identity.gate_id)

    def propose_consent(self, terms: ConsentTerms, credential: Credential, now: datetime) -> ConsentProposal:
        """Make the statement that the person shall sign with an enrolled device; raises PolicyError, MediaError."""
        person = self.person(terms.subject)
        enrolled = self.subjects.find(credential.credential_id)
        if enrolled is None or (enrolled.person, enrolled.key) != (person, credential.public_key):
            raise PolicyError("the depicted person's device is not enrolled for this name; enrol it first")
        with transaction(self._connection):
            status = {"status_list": {"idx": self._free_index("consent"), "uri": self.list_uri("consent")}}
            return self._ceremony.propose(terms, person, credential, status=status, now=now)

    def accept_consent(self, jti: str, assertion: Assertion, now: datetime) -> ConsentClaims:
        """Sign and keep a proposed consent that the person signed; raises TokenError, UnknownTokenError."""
        with transaction(self._connection):
            person, members, record = self._ceremony.take(jti, now)
            signer = self.subjects.verify(assertion, challenge=challenge_of(members), party=self._site.relying_party)
            claims = completed(members, assertion, iat=int(now.timestamp()))
            if signer.person != person or not same(signer.key, claims.subject.key):
                raise TokenError("other_subject", "the device that signed is another person's")
            self._keep("consent", claims, sign_consent(claims, self._keys["consent"]), now)
            self._connection.execute("UPDATE tokens SET person = ? WHERE jti = ?", (person, jti))
            self._note(jti, now, "given", "depicted person")
            write_secret(self._evidence / f"{jti}.json", record)
        return claims

    def view_challenge(self, now: datetime) -> bytes:
        """A fresh challenge for a person who wants to see or end what is theirs; good once, for half an hour."""
        challenge = secrets.token_bytes(32)
        self._connection.execute("INSERT INTO challenges VALUES (?, ?)", (challenge, int(now.timestamp())))
        return challenge

    def consents_of_signer(self, challenge: bytes, assertion: Assertion, now: datetime) -> tuple[IssuedToken, ...]:
        """The consents of whoever signed the challenge, and nobody else's; raises TokenError."""
        clock = int(now.timestamp())
        with transaction(self._connection):
            self._connection.execute("DELETE FROM challenges WHERE made_at < ?", (clock - MAX_CEREMONY_S,))
            taken = self._connection.execute("DELETE FROM challenges WHERE challenge = ?", (challenge,)).rowcount
            if taken != 1:
                raise TokenError("unknown_challenge", "the challenge was not made here, is too old, or was used")
            signer = self.subjects.verify(assertion, challenge=challenge, party=self._site.relying_party)
        rows = self._connection.execute(
            "SELECT jti, token, status, issued_at FROM tokens WHERE kind = 'consent' AND person = ?"
            " ORDER BY issued_at, rowid",
            (signer.person,),
        )
        return tuple(self._issued("consent", row) for row in rows)

    def record(self, jti: str) -> bytes:
        """The consent record; raises UnknownTokenError, and StateError when it was erased or changed."""
        claims = self.find("consent", jti).claims
        assert isinstance(claims, ConsentClaims)
        path = self._evidence / f"{jti}.json"
        if not path.exists():
            raise StateError(f"consent {jti}: its record was erased")
        data = read_secret(path)
        if f"sha256:{sha256_hex(data)}" != claims.evidence.record:
            raise StateError(f"{path}: not the record that the consent names; it was changed")
        return data

    def events(self, jti: str) -> tuple[ConsentEvent, ...]:
        """What happened to a consent, oldest first."""
        rows = self._connection.execute(
            "SELECT at, state, actor FROM consent_events WHERE jti = ? ORDER BY rowid", (jti,)
        )
        return tuple(ConsentEvent(*row) for row in rows)

    def records_due(self, now: datetime) -> tuple[str, ...]:
        """Consents whose record is past its retention."""
        return tuple(
            path.stem for path in sorted(self._evidence.glob("*.json")) if retention_ends(read_secret(path)) <= now
        )

    def erase_record(self, jti: str) -> None:
        """Delete a consent's record; the hash in the token stays and says nothing any more."""
        (self._evidence / f"{jti}.json").unlink(missing_ok=True)

    def issue_accreditation(
        self, *, researcher: str, jkt: str, purposes: tuple[str, ...], valid_for: timedelta, now: datetime
    ) -> AccreditationClaims:
        """Sign and keep an accreditation; raises PolicyError for impossible terms."""
        gate = self._identity.gate_id
        with transaction(self._connection):
            index = self._free_index("accreditation")
            claims = _checked(
                AccreditationClaims,
                {
                    "iss": self._identity.accreditation_id,
                    "sub": self.pseudonym(researcher, gate),
                    "aud": gate,
                    **_times(now, now, valid_for),
                    "jti": new_identifier(),
                    "purposes": list(purposes),
                    "cnf": {"jkt": jkt},
                    "status": {"status_list": {"idx": index, "uri": self.list_uri("accreditation")}},
                },
            )
            token = sign_accreditation(claims, self._keys["accreditation"])
            self._keep("accreditation", claims, token, now)
        return claims

    def find(self, kind: Kind, jti: str) -> IssuedToken:
        """One issued token; raises UnknownTokenError."""
        row = self._connection.execute(
            "SELECT jti, token, status, issued_at FROM tokens WHERE kind = ? AND jti = ?", (kind, jti)
        ).fetchone()
        if row is None:
            raise UnknownTokenError(f"no {kind} {jti!r:.80} was issued here; see the token's claim jti")
        return self._issued(kind, row)

    def all(self, kind: Kind) -> tuple[IssuedToken, ...]:
        """Everything issued, oldest first."""
        rows = self._connection.execute(
            "SELECT jti, token, status, issued_at FROM tokens WHERE kind = ? ORDER BY issued_at, rowid", (kind,)
        )
        return tuple(self._issued(kind, row) for row in rows)

    def set_status(self, kind: Kind, jti: str, status: TokenStatus, *, word: str, actor: str, now: datetime) -> None:
        """Change a status; raises UnknownTokenError, and PolicyError when it was withdrawn: that is final."""
        with transaction(self._connection):
            self._note(jti, now, word, actor)
            if self.find(kind, jti).status is TokenStatus.INVALID and status is not TokenStatus.INVALID:
                raise PolicyError(f"{kind} {jti} was withdrawn; that cannot be undone, issue a new one")
            self._connection.execute("UPDATE tokens SET status = ? WHERE jti = ?", (int(status), jti))

    def list_uri(self, kind: Kind) -> str:
        """The URI of the status list of one kind of token."""
        return status_list_uri(self._identity, kind)

    def status_list(self, uri: str, now: datetime) -> str:
        """The signed status list at `uri`, never older than half its time to live; raises PolicyError."""
        kinds: dict[str, Kind] = {self.list_uri("consent"): "consent", self.list_uri("accreditation"): "accreditation"}
        if uri not in kinds:
            raise PolicyError(f"there is no status list {uri!r:.80} here")
        kind = kinds[uri]
        changed = self._connection.execute(
            "SELECT status_index, status FROM tokens WHERE kind = ? AND status <> 0 ORDER BY status_index", (kind,)
        ).fetchall()
        known = self._signed_lists.get(uri)
        if known and known[0] == changed and timedelta() <= now - known[1] < TIME_TO_LIVE / 2:
            return known[2]
        token = sign_status_list(
            pack({index: TokenStatus(status) for index, status in changed}),
            uri=uri,
            issuer=uri.removesuffix("/status/1"),
            key=self._keys[kind],
            now=now,
        )
        self._signed_lists[uri] = (changed, now, token)
        return token

    def person(self, name: str) -> str:
        """The registry's own pseudonym of a person, which no gate sees."""
        return self.pseudonym(name, self._identity.registry_id)

    def pseudonym(self, name: str, audience: str) -> str:
        """The same person at the same gate gets the same pseudonym, at another gate an unlinkable one."""
        message = canonical_json([audience, name])
        return f"pw:{b64url(hmac.digest(self._pseudonym_secret, message, hashlib.sha256))}"

    def _note(self, jti: str, now: datetime, state: str, actor: str) -> None:
        self._connection.execute(
            "INSERT INTO consent_events VALUES (?, ?, ?, ?)", (jti, int(now.timestamp()), state, actor)
        )

    def _free_index(self, kind: Kind) -> int:
        """A random free entry, so that neighbours in the list say nothing about each other."""
        taken = {row[0] for row in self._connection.execute("SELECT status_index FROM tokens WHERE kind = ?", (kind,))}
        if len(taken) >= LIST_ENTRIES:
            raise StateError(f"the {kind} status list is full ({LIST_ENTRIES} tokens); make a new state folder")
        while (index := secrets.randbelow(LIST_ENTRIES)) in taken:
            pass
        return index

    def _keep(self, kind: Kind, claims: ConsentClaims | AccreditationClaims, token: str, now: datetime) -> None:
        index = claims.status.status_list.idx
        try:
            self._connection.execute(
                "INSERT INTO tokens VALUES (?, ?, ?, 0, ?, ?, '')",
                (claims.jti, kind, index, token, int(now.timestamp())),
            )
        except sqlite3.IntegrityError as error:
            raise PolicyError("its place in the status list was taken meanwhile; make a new proposal") from error

    @staticmethod
    def _issued(kind: Kind, row: tuple[str, str, int, int]) -> IssuedToken:
        jti, token, status, issued_at = row
        return IssuedToken(jti, token, TokenStatus(status), issued_at, _claims_of(kind, token))


def status_list_uri(identity: GateIdentity, kind: Kind) -> str:
    """The URI of the status list of one kind of token."""
    issuer = identity.registry_id if kind == "consent" else identity.accreditation_id
    return f"{issuer}/status/1"


def _times(now: datetime, begin: datetime, valid_for: timedelta) -> dict[str, int]:
    start = int(begin.timestamp())
    return {"iat": int(now.timestamp()), "nbf": start, "exp": start + int(valid_for.total_seconds())}


def _checked(model: type[Claims], members: Mapping[str, object]) -> Claims:
    """Claims from terms; raises PolicyError that names each impossible term."""
    try:
        return parse_claims(model, members)
    except TokenError as error:
        raise PolicyError(f"these terms cannot be issued: {error.fact}") from None


def _claims_of(kind: Kind, token: str) -> ConsentClaims | AccreditationClaims:
    """Claims of a token that this registry itself signed and kept."""
    members = strict_json_object(b64url_decode(token.split(".")[1]))
    return parse_claims(ConsentClaims, members) if kind == "consent" else parse_claims(AccreditationClaims, members)
