"""How a consent comes about: the registry proposes a statement, the person's device signs it, a token is issued.

A proposal waits in the registry's database for half an hour at most and is taken once. The token is made from the
registry's own copy, never from what comes back: the device's answer adds nothing but the signature.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache

from policy.canonical import b64url, canonical_json, sha256_hex
from policy.claims import new_identifier, parse_claims
from policy.consent_record import ConsentTerms, consent_record
from policy.consent_token import MAX_CEREMONY_S, MAX_LIFE_DAYS, ConsentClaims, LikenessGeneration
from policy.errors import PolicyError, TokenError, UnknownTokenError
from policy.face_commitment import FaceEmbedding, commit_face
from policy.facts import GateIdentity
from policy.media_facts import PortraitFacts, inspect_portrait
from policy.site_policy import SitePolicy
from policy.statement import NOTICE_LANGUAGE, challenge_of, notice_digest, notice_text
from policy.subject_device import Credential
from policy.webauthn import Assertion, RelyingParty

SCHEMA = """
CREATE TABLE IF NOT EXISTS proposals (
    jti TEXT PRIMARY KEY, person TEXT NOT NULL, members TEXT NOT NULL, record BLOB NOT NULL,
    proposed_at INTEGER NOT NULL
) STRICT;
"""
KEPT_PORTRAITS = 4
PLACEHOLDER = Assertion(credential_id="A" * 22, authenticator_data="A" * 50, client_data="AA", signature="A" * 86)
"""Stands where the person's signature will be, so that impossible terms are found before anyone signs."""


@dataclass(frozen=True)
class ConsentProposal:
    """What the person's device is given: the words to show, and the challenge to sign (32 bytes)."""

    jti: str
    notice: str = field(repr=False)
    challenge: bytes = field(repr=False)
    party: RelyingParty
    key: str

    def as_members(self) -> dict[str, object]:
        """`PublicKeyCredentialRequestOptions` in JSON, with the words beside them."""
        return {
            "consent": self.jti,
            "notice": self.notice,
            "publicKey": {
                "challenge": b64url(self.challenge),
                "rpId": self.party.id,
                "userVerification": "required",
                "timeout": MAX_CEREMONY_S * 1000,
            },
            "origins": list(self.party.origins),
        }


class Ceremony:
    """Proposals in the registry's database. `pseudonym(name, audience)` names people pairwise."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        *,
        identity: GateIdentity,
        site: SitePolicy,
        pseudonym: Callable[[str, str], str],
    ) -> None:
        self._connection = connection
        self._identity = identity
        self._site = site
        self._pseudonym = pseudonym
        connection.executescript(SCHEMA)

    def propose(
        self, terms: ConsentTerms, person: str, credential: Credential, *, status: Mapping[str, object], now: datetime
    ) -> ConsentProposal:
        """Keep a proposal with its place in the status list; raises PolicyError for impossible terms, MediaError."""
        if not terms.adult:
            raise PolicyError("no proof that the depicted person is 18 or older: consents are for adults only")
        if terms.valid_for > timedelta(days=MAX_LIFE_DAYS):
            raise PolicyError(f"a consent lives {MAX_LIFE_DAYS} days at most")
        jti, audience = new_identifier(), terms.audience or self._identity.gate_id
        begins = int((terms.valid_from or now).timestamp())
        ends = begins + int(terms.valid_for.total_seconds())
        detail = self._authorization(terms, _portrait_binding(terms.portrait, terms.face))
        notice = notice_text(
            _checked(detail),
            gate=audience,
            grantee=terms.researcher_jkt,
            begins=begins,
            ends=ends,
            depth=terms.delegation_depth,
        )
        sub = self._pseudonym(terms.subject, audience)
        record = consent_record(terms, jti=jti, pseudonym=sub, gate=audience, notice=notice, site=self._site, now=now)
        members: dict[str, object] = {
            "iss": self._identity.registry_id,
            "sub": sub,
            "aud": audience,
            "nbf": begins,
            "exp": ends,
            "jti": jti,
            "authorization_details": [detail],
            "cnf": {"jkt": terms.researcher_jkt},
            "delegation": {"max_depth": terms.delegation_depth},
            "status": status,
            "evidence": {"record": f"sha256:{sha256_hex(record)}"},
            "subject": {
                "adult": terms.adult,
                "language": NOTICE_LANGUAGE,
                "notice": notice_digest(notice),
                "nonce": b64url(secrets.token_bytes(32)),
                "proposed_at": int(now.timestamp()),
                "key": credential.public_key,
            },
        }
        completed(members, PLACEHOLDER, iat=0)
        self._connection.execute(
            "INSERT INTO proposals VALUES (?, ?, ?, ?, ?)",
            (jti, person, canonical_json(members).decode(), record, int(now.timestamp())),
        )
        return ConsentProposal(jti, notice, challenge_of(members), self._site.relying_party, credential.public_key)

    def take(self, jti: str, now: datetime) -> tuple[str, dict[str, object], bytes]:
        """A proposal, taken once: person, members, record. Raises UnknownTokenError for none or one too old."""
        clock = int(now.timestamp())
        self._connection.execute("DELETE FROM proposals WHERE proposed_at < ?", (clock - MAX_CEREMONY_S,))
        row = self._connection.execute(
            "DELETE FROM proposals WHERE jti = ? RETURNING person, members, record", (jti,)
        ).fetchone()
        if row is None:
            raise UnknownTokenError(
                f"no consent {jti!r:.80} waits for a signature: proposals last {MAX_CEREMONY_S // 60} minutes and are "
                "taken once; make a new one"
            )
        person, members, record = row
        return str(person), json.loads(members), bytes(record)

    def _authorization(self, terms: ConsentTerms, portrait: Mapping[str, object]) -> dict[str, object]:
        return {
            "type": "likeness_generation",
            "model": self._identity.model_digest,
            "purposes": list(terms.purposes),
            "portrait": portrait,
            "audio": {
                "mode": "hash-list" if terms.audio_sha256 else "any",
                "sha256": list(terms.audio_sha256),
                "voice": terms.voice,
            },
            "script": {
                "mode": "hash-list" if terms.script_sha256 else "any",
                "sha256": list(terms.script_sha256),
                "languages": list(terms.languages),
            },
            "video": {
                "max_width": terms.max_width,
                "max_height": terms.max_height,
                "max_fps": terms.max_fps,
                "max_seconds": terms.max_seconds,
            },
            "total_seconds": terms.total_seconds,
            "uses": terms.uses,
        }


@lru_cache(KEPT_PORTRAITS)
def _inspected(portrait: bytes) -> tuple[PortraitFacts, tuple[FaceEmbedding, ...]]:
    """Looked at once for all consents that are made of one picture."""
    return inspect_portrait(portrait)


def _portrait_binding(portrait: bytes, face: int | None) -> dict[str, object]:
    """File, pixels and face of a portrait, bound under a fresh salt; raises MediaError."""
    facts, embeddings = _inspected(portrait)
    number = face or (1 if len(embeddings) == 1 else 0)
    committed = commit_face(embeddings[number - 1]).model_dump() if 1 <= number <= len(embeddings) else None
    return {
        "sha256": sha256_hex(portrait),
        "pixels_sha256": facts.pixels_sha256,
        "face": face,
        "commitment": committed,
    }


def completed(members: Mapping[str, object], assertion: Assertion, *, iat: int) -> ConsentClaims:
    """The claims of a signed proposal; raises PolicyError that names each impossible term."""
    subject = members["subject"]
    assert isinstance(subject, dict)
    whole = {**members, "iat": iat, "subject": {**subject, "assertion": assertion.model_dump()}}
    try:
        return parse_claims(ConsentClaims, whole)
    except TokenError as error:
        raise PolicyError(f"these terms cannot be issued: {error.fact}") from None


def _checked(detail: Mapping[str, object]) -> LikenessGeneration:
    try:
        return parse_claims(LikenessGeneration, detail)
    except TokenError as error:
        raise PolicyError(f"these terms cannot be issued: {error.fact}") from None
