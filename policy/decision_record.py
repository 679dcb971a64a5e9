"""A decision's facts as the private record keeps them, and back: what `vasari policy explain` replays from.

Tokens are kept as their verified claims, media by hash and measurement; nothing is kept that the rules
can't see. `record_of` and `facts_of` are inverse, so judging a record again gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from policy.accreditation_token import AccreditationClaims
from policy.claims import Claims, Strict, parse_claims
from policy.consent_token import ConsentClaims
from policy.decision import Denial
from policy.delegation_token import Chain, DelegationClaims
from policy.errors import PolicyError
from policy.facts import Facts, GateIdentity
from policy.media_facts import AudioFacts, PortraitFacts
from policy.proof_of_possession import Proof, ProofClaims
from policy.request import Controls, Framing, RequestFacts
from policy.site_policy import SitePolicy
from policy.status_list import TokenStatus
from policy.uses import Standing


def record_of(facts: Facts) -> dict[str, object]:
    """Facts as JSON members."""
    proof, now = facts.proof, facts.now
    return {
        "now": None if now is None else int(now.timestamp()),
        "gate": None if facts.gate is None else vars(facts.gate),
        "site": _dump(facts.site),
        "request": facts.request.as_members if facts.request else None,
        "consent": _dump(facts.consent),
        "hops": None if facts.chain is None else [_dump(hop) for hop in facts.chain.hops],
        "consent_status": None if facts.consent_status is None else int(facts.consent_status),
        "subject_keys": None if facts.subject_keys is None else list(facts.subject_keys),
        "standing": _standing(facts.standing),
        "hop_standings": None if facts.hop_standings is None else [_standing(one) for one in facts.hop_standings],
        "accreditation": _dump(facts.accreditation),
        "accreditation_status": None if facts.accreditation_status is None else int(facts.accreditation_status),
        "proof": {**proof.claims.model_dump(), "jkt": proof.jkt} if proof else None,
        "proof_seen": facts.proof_seen,
        "portrait": _measured(facts.portrait),
        "audio": _measured(facts.audio),
        "unreadable": [[name, d.rule_id, d.fact, d.remedy] for name, d in facts.unreadable.items()],
    }


def facts_of(record: Mapping[str, Any]) -> Facts:
    """The facts of a record; raises PolicyError when it was made by another version or damaged."""
    try:
        return _facts_of(record)
    except (KeyError, TypeError, ValueError, PolicyError) as error:
        raise PolicyError(f"the decision's record can't be read by this version: {error!r:.200}") from error


def _facts_of(record: Mapping[str, Any]) -> Facts:
    consent = _load(ConsentClaims, record["consent"])
    hops, statuses, proof = record["hops"], record["hop_standings"], record["proof"]
    chain = None
    if consent is not None and hops is not None:
        chain = Chain(consent, tuple(parse_claims(DelegationClaims, hop) for hop in hops))
    return Facts(
        now=None if record["now"] is None else datetime.fromtimestamp(record["now"], UTC),
        gate=None if record["gate"] is None else GateIdentity(**record["gate"]),
        site=_load(SitePolicy, record["site"]),
        request=_request(record["request"]),
        consent=consent,
        chain=chain,
        consent_status=_status(record["consent_status"]),
        subject_keys=None if record["subject_keys"] is None else tuple(record["subject_keys"]),
        standing=None if record["standing"] is None else Standing(*record["standing"]),
        hop_standings=None if statuses is None else tuple(Standing(*one) for one in statuses),
        accreditation=_load(AccreditationClaims, record["accreditation"]),
        accreditation_status=_status(record["accreditation_status"]),
        proof=_proof(proof) if proof else None,
        proof_seen=record["proof_seen"],
        portrait=_portrait(record["portrait"]),
        audio=_audio(record["audio"]),
        unreadable={name: Denial(*members) for name, *members in record["unreadable"]},
    )


def _dump(model: Strict | None) -> Mapping[str, Any] | None:
    return None if model is None else model.as_members


def _load(model: type[Claims], members: Mapping[str, Any] | None) -> Claims | None:
    return None if members is None else parse_claims(model, members)


def _standing(standing: Standing | None) -> list[int] | None:
    return None if standing is None else [standing.used, standing.used_ms]


def _status(value: int | None) -> TokenStatus | None:
    return None if value is None else TokenStatus(value)


def _measured(facts: PortraitFacts | AudioFacts | None) -> dict[str, str | list[str]] | None:
    """Measurements as text, so that the record has one byte form (and -inf a place)."""
    if facts is None:
        return None
    return {
        name: [str(one) for one in value] if isinstance(value, tuple) else str(value)
        for name, value in vars(facts).items()
    }


def _portrait(texts: Mapping[str, Any] | None) -> PortraitFacts | None:
    if texts is None:
        return None
    return PortraitFacts(
        width_px=int(texts["width_px"]),
        height_px=int(texts["height_px"]),
        pixels_sha256=texts["pixels_sha256"],
        face_heights_px=tuple(float(height) for height in texts["face_heights_px"]),
        face_places=tuple(texts["face_places"]),
        opens=tuple(one == "True" for one in texts["opens"]),
    )


def _audio(texts: Mapping[str, str] | None) -> AudioFacts | None:
    if texts is None:
        return None
    return AudioFacts(float(texts["duration_s"]), float(texts["loudest_dbfs"]), live=texts.get("live") == "True")


def _proof(members: Mapping[str, Any]) -> Proof:
    claims = {name: value for name, value in members.items() if name != "jkt"}
    return Proof(parse_claims(ProofClaims, claims), members["jkt"])


def _request(members: Mapping[str, Any] | None) -> RequestFacts | None:
    if members is None:
        return None
    return RequestFacts(
        **{
            **members,
            "controls": Controls.of_members(members["controls"]),
            "framing": Framing(**members["framing"]),
            "delegations_sha256": tuple(members["delegations_sha256"]),
        }
    )
