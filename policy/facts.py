"""Everything a decision may depend on, as one value: what a logged decision is replayed from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from policy.accreditation_token import AccreditationClaims
from policy.consent_token import ConsentClaims
from policy.decision import Denial
from policy.delegation_token import Chain
from policy.media_facts import AudioFacts, PortraitFacts
from policy.proof_of_possession import Proof
from policy.request import RequestFacts
from policy.site_policy import SitePolicy
from policy.status_list import TokenStatus
from policy.uses import Standing


@dataclass(frozen=True)
class GateIdentity:
    """Who this gate is, whom it trusts, and the one model it opens (`sha256:...`)."""

    gate_id: str
    registry_id: str
    accreditation_id: str
    model_digest: str


@dataclass(frozen=True)
class Facts:
    """Everything the rules may look at. None = not known; `unreadable` says why, by fact name.

    `consent` is the token at the root, `chain` that token and the hops it was handed on through.
    `subject_keys`: the keys that the depicted person enrolled at this gate. `hop_standings`: uses of each hop.
    """

    now: datetime | None
    gate: GateIdentity | None
    site: SitePolicy | None
    request: RequestFacts | None
    consent: ConsentClaims | None
    chain: Chain | None
    consent_status: TokenStatus | None
    subject_keys: tuple[str, ...] | None
    standing: Standing | None
    hop_standings: tuple[Standing, ...] | None
    accreditation: AccreditationClaims | None
    accreditation_status: TokenStatus | None
    proof: Proof | None
    proof_seen: bool | None
    portrait: PortraitFacts | None
    audio: AudioFacts | None
    unreadable: Mapping[str, Denial] = field(default_factory=dict)


FOLLOWS: Mapping[str, str] = {
    "chain": "consent",
    "consent_status": "consent",
    "subject_keys": "consent",
    "standing": "consent",
    "hop_standings": "chain",
    "accreditation_status": "accreditation",
    "proof_seen": "proof",
}
"""Facts that cannot be had when the first one is missing; its denial explains them too."""
