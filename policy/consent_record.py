"""The consent record: what ISO/IEC TS 27560:2023 asks to be kept about a consent, in one private file.

It holds the name, the words that were shown, purposes, data categories, controller, recipients, retention,
how to withdraw, and how consent was collected. The token carries only its hash. What happens to the
consent later is kept apart as events, because the record itself never changes.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from policy.canonical import canonical_json, strict_json_object
from policy.consent_token import PURPOSES
from policy.errors import StateError
from policy.site_policy import SitePolicy
from policy.statement import NOTICE_LANGUAGE, notice_digest

RECORD_SCHEMA = "ISO/IEC TS 27560:2023, vasari 2"
DATA_CATEGORIES = (
    "picture of the face (kept by the researcher; here its hashes only)",
    "recordings of a voice (kept by the researcher; here their hashes only)",
    "clips made from them (kept by the researcher; here their hashes and fingerprints only)",
    "name and key of the depicted person (kept here, private)",
)
WITHDRAWAL = "vasari consent withdraw, with the consent's id or the person's own device; in seconds, without a reason"


@dataclass(frozen=True)
class ConsentTerms:
    """What a depicted person agrees to.

    `subject` is their name; it goes into the consent record only. `researcher_jkt` is the thumbprint of
    the only key that may use the consent. `adult`: proof of 18 years or more was seen, without which nothing
    is issued. `audio_sha256`: allowed recordings, empty for any, and whose `voice` they hold; `script_sha256`:
    allowed texts (`policy.script_digest`); `languages`: empty for any. `audience`: the gate it is for, this one
    by default. `face`: which of several faces in the portrait they are, from the left; a consent that names none covers
    a portrait of one face only. `delegation_depth`: how many times the researcher may hand it on, narrowed.
    """

    subject: str = field(repr=False)
    portrait: bytes = field(repr=False)
    researcher_jkt: str
    purposes: tuple[str, ...]
    adult: bool = False
    uses: int = 5
    max_seconds: int = 30
    total_seconds: int = 150
    valid_from: datetime | None = None
    valid_for: timedelta = timedelta(days=30)
    audio_sha256: tuple[str, ...] = ()
    voice: str = "any"
    script_sha256: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    max_width: int = 512
    max_height: int = 512
    max_fps: int = 25
    delegation_depth: int = 0
    audience: str | None = None
    face: int | None = None
    evidence: str = field(default="", repr=False)


@dataclass(frozen=True)
class ConsentEvent:
    """Something that happened to a consent: `proposed`, `given`, `suspended`, `reinstated`, `withdrawn`."""

    at: int
    state: str
    actor: str


def consent_record(
    terms: ConsentTerms, *, jti: str, pseudonym: str, gate: str, notice: str, site: SitePolicy, now: datetime
) -> bytes:
    """The record's one byte form; salted, so that its hash says nothing about the name."""
    ends = (terms.valid_from or now) + terms.valid_for
    return canonical_json(
        {
            "schema_version": RECORD_SCHEMA,
            "record_id": jti,
            "pii_principal_id": pseudonym,
            "subject": terms.subject,
            "age_over_18": terms.adult,
            "notice": {"language": NOTICE_LANGUAGE, "text": notice, "digest": notice_digest(notice)},
            "purposes": [{"id": purpose, "text": PURPOSES.get(purpose, "")} for purpose in terms.purposes],
            "lawful_basis": "explicit consent (GDPR 6(1)(a), 9(2)(a))",
            "data_categories": list(DATA_CATEGORIES),
            "controller": site.controller,
            "recipients": [f"researcher with key {terms.researcher_jkt}", gate],
            "jurisdiction": site.jurisdiction,
            "rights_contact": site.contact,
            "withdrawal_method": WITHDRAWAL,
            "retention_until": (ends + timedelta(days=site.retention_days)).isoformat(timespec="seconds"),
            "expires_at": ends.isoformat(timespec="seconds"),
            "renewal": "never by itself",
            "collection_method": terms.evidence,
            "collected_at": now.isoformat(timespec="seconds"),
            "salt": secrets.token_hex(16),
        }
    )


def with_events(record: bytes, events: Sequence[ConsentEvent]) -> Mapping[str, Any]:
    """The record and what happened since, as TS 27560 shows them together; raises StateError when damaged."""
    try:
        members = strict_json_object(record)
    except ValueError as error:
        raise StateError(f"the consent record is damaged: {error}") from error
    return {**members, "events": [{"time": one.at, "state": one.state, "actor": one.actor} for one in events]}


def retention_ends(record: bytes) -> datetime:
    """When the record is to be erased; raises StateError when it does not say."""
    try:
        return datetime.fromisoformat(strict_json_object(record)["retention_until"])
    except (ValueError, KeyError, TypeError) as error:
        raise StateError(f"the consent record does not say how long it is kept: {error}") from error
