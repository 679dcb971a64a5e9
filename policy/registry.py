"""The registry: issues consents and accreditations, keeps their status, publishes the signed status lists.

Names stay in the evidence folder, one file per consent, readable by the owner only. Tokens carry a
pairwise pseudonym and the hash of the evidence file.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from media import read_portrait
from policy.accreditation_token import AccreditationClaims, sign_accreditation
from policy.canonical import b64url, b64url_decode, canonical_json, sha256_hex, strict_json_object
from policy.consent_token import Claims, ConsentClaims, parse_claims, sign_consent
from policy.errors import PolicyError, StateError, TokenError, UnknownTokenError
from policy.gate_database import open_database, transaction
from policy.keys import write_secret
from policy.media_facts import MAX_PORTRAIT_PX, pixels_digest
from policy.rules import GateIdentity
from policy.status_list import LIST_ENTRIES, TIME_TO_LIVE, TokenStatus, pack, sign_status_list

Kind = Literal["consent", "accreditation"]

SCHEMA = """
CREATE TABLE IF NOT EXISTS tokens (
    jti TEXT PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('consent', 'accreditation')),
    status_index INTEGER NOT NULL,
    status INTEGER NOT NULL DEFAULT 0,
    token TEXT NOT NULL,
    issued_at INTEGER NOT NULL,
    UNIQUE (kind, status_index)
) STRICT;
CREATE INDEX IF NOT EXISTS tokens_not_valid ON tokens (kind) WHERE status <> 0;
"""


@dataclass(frozen=True)
class ConsentTerms:
    """What a depicted person agrees to.

    `subject` is their name; it goes into the evidence record only. `researcher_jkt` is the thumbprint of
    the only key that may use the consent. `audio_sha256`: allowed recordings, empty for any.
    `audience`: the gate it is for, this one by default. `face`: which of several faces in the portrait they are, from
    the left; a consent that names none covers a portrait of one face only.
    """

    subject: str = field(repr=False)
    portrait: bytes = field(repr=False)
    researcher_jkt: str
    purposes: tuple[str, ...]
    uses: int = 5
    max_seconds: int = 30
    total_seconds: int = 150
    valid_from: datetime | None = None
    valid_for: timedelta = timedelta(days=30)
    audio_sha256: tuple[str, ...] = ()
    max_width: int = 512
    max_height: int = 512
    max_fps: int = 25
    audience: str | None = None
    face: int | None = None
    evidence: str = field(default="", repr=False)


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
        self._signed_lists: dict[str, tuple[object, datetime, str]] = {}

    def close(self) -> None:
        """Close the database file."""
        self._connection.close()

    def issue_consent(self, terms: ConsentTerms, now: datetime) -> ConsentClaims:
        """Sign and keep a consent; raises PolicyError for impossible terms, MediaError for no picture."""
        jti, audience = secrets.token_urlsafe(16), terms.audience or self._identity.gate_id
        begin = terms.valid_from or now
        pixels = pixels_digest(read_portrait(terms.portrait, min_px=1, max_px=MAX_PORTRAIT_PX))
        record = self._evidence_record(jti, terms, now)
        with transaction(self._connection):
            index = self._free_index("consent")
            claims = _checked(
                ConsentClaims,
                {
                    "iss": self._identity.registry_id,
                    "sub": self.pseudonym(terms.subject, audience),
                    "aud": audience,
                    **_times(now, begin, terms.valid_for),
                    "jti": jti,
                    "authorization_details": [self._authorization(terms, pixels)],
                    "cnf": {"jkt": terms.researcher_jkt},
                    "status": {"status_list": {"idx": index, "uri": self.list_uri("consent")}},
                    "evidence": {"record": f"sha256:{sha256_hex(record)}"},
                },
            )
            self._keep("consent", claims, sign_consent(claims, self._keys["consent"]), now)
            write_secret(self._evidence / f"{jti}.json", record)
        return claims

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
                    "jti": secrets.token_urlsafe(16),
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

    def set_status(self, kind: Kind, jti: str, status: TokenStatus) -> None:
        """Change a status; raises UnknownTokenError, and PolicyError when it was withdrawn: that is final."""
        with transaction(self._connection):
            if self.find(kind, jti).status is TokenStatus.INVALID and status is not TokenStatus.INVALID:
                raise PolicyError(f"{kind} {jti} was withdrawn; that cannot be undone, issue a new one")
            self._connection.execute("UPDATE tokens SET status = ? WHERE jti = ?", (int(status), jti))

    def list_uri(self, kind: Kind) -> str:
        """The URI of the status list of one kind of token."""
        issuer = self._identity.registry_id if kind == "consent" else self._identity.accreditation_id
        return f"{issuer}/status/1"

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

    def pseudonym(self, name: str, audience: str) -> str:
        """The same person at the same gate gets the same pseudonym, at another gate an unlinkable one."""
        message = canonical_json([audience, name])
        return f"pw:{b64url(hmac.digest(self._pseudonym_secret, message, hashlib.sha256))}"

    def _authorization(self, terms: ConsentTerms, pixels_sha256: str) -> dict[str, object]:
        return {
            "type": "likeness_generation",
            "model": self._identity.model_digest,
            "purposes": list(terms.purposes),
            "portrait": {"sha256": sha256_hex(terms.portrait), "pixels_sha256": pixels_sha256, "face": terms.face},
            "audio": {"mode": "hash-list" if terms.audio_sha256 else "any", "sha256": list(terms.audio_sha256)},
            "video": {
                "max_width": terms.max_width,
                "max_height": terms.max_height,
                "max_fps": terms.max_fps,
                "max_seconds": terms.max_seconds,
            },
            "total_seconds": terms.total_seconds,
            "uses": terms.uses,
        }

    @staticmethod
    def _evidence_record(jti: str, terms: ConsentTerms, now: datetime) -> bytes:
        return canonical_json(
            {
                "schema": 1,
                "consent": jti,
                "subject": terms.subject,
                "purposes": list(terms.purposes),
                "collected_at": now.isoformat(timespec="seconds"),
                "how": terms.evidence,
                "salt": secrets.token_hex(16),
            }
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
        self._connection.execute(
            "INSERT INTO tokens VALUES (?, ?, ?, 0, ?, ?)", (claims.jti, kind, index, token, int(now.timestamp()))
        )

    @staticmethod
    def _issued(kind: Kind, row: tuple[str, str, int, int]) -> IssuedToken:
        jti, token, status, issued_at = row
        return IssuedToken(jti, token, TokenStatus(status), issued_at, _claims_of(kind, token))


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
