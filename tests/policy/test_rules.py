"""Every rule fires for its own reason, all failing ones are returned, and not knowing never helps."""

from __future__ import annotations

import copy
import math
from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policy.accreditation_token import AccreditationClaims
from policy.consent_token import ConsentClaims
from policy.delegation_token import Chain, DelegationClaims
from policy.facts import Facts, GateIdentity
from policy.media_facts import AudioFacts, PortraitFacts
from policy.proof_of_possession import Proof, ProofClaims, proof_target
from policy.request import Controls, Framing, RequestFacts
from policy.rules import RULES, evaluate
from policy.site_policy import SiteLimits, SitePolicy
from policy.statement import challenge_of, notice_digest, notice_of
from policy.status_list import TokenStatus
from policy.uses import Standing
from policy.webauthn import RelyingParty
from tests.policy.test_consent_token import CLAIMS as CONSENT_MEMBERS
from tests.policy.test_consent_token import COMMITMENT, HASH, JKT, PARTY, SUBJECT

NOW = 1_000_000
GATE = GateIdentity("urn:g", "urn:r", "urn:acc", f"sha256:{HASH}")
TIMES = {"iat": NOW - 10, "nbf": NOW - 10, "exp": NOW + 1000}
REQUEST = RequestFacts(
    portrait_sha256=HASH, audio_sha256="cd" * 32, consent_sha256="00" * 32, accreditation_sha256="11" * 32,
    purpose="detector-evaluation", controls=Controls(), seed=0, fps=25,
)  # fmt: skip


def consent(**changes: Any) -> ConsentClaims:
    """A consent with changed terms, shown and signed as changed; `subject` changes what was signed."""
    members: Any = copy.deepcopy(CONSENT_MEMBERS) | TIMES
    detail, subject = members["authorization_details"][0], changes.pop("subject", {})
    for name, value in changes.items():
        if name in detail["video"]:
            detail["video"][name] = value
        elif name in detail:
            detail[name] = value
        else:
            members[name] = value
    members["subject"]["proposed_at"] = NOW - 20
    notice = notice_of(ConsentClaims.model_validate(members))
    members["subject"] |= {"notice": notice_digest(notice), **subject}
    members["subject"]["assertion"] = SUBJECT.sign(challenge_of(members), PARTY).model_dump()
    return ConsentClaims.model_validate(members)


def handed_on(**changes: Any) -> Chain:
    """The consent, handed on once to the same key with less of everything."""
    root = consent(delegation={"max_depth": 1})
    detail = root.allows.model_dump()
    detail |= {"uses": 2, "total_seconds": 20} | {name: changes.pop(name) for name in tuple(changes) if name in detail}
    members = {
        "iss": f"jkt:{JKT}", "sub": root.sub, "aud": root.aud, **TIMES, "jti": "hop", "prn": JKT,
        "authorization_details": [detail], "cnf": {"jkt": JKT}, "delegation": {"max_depth": 0}, **changes,
    }  # fmt: skip
    return Chain(root, (DelegationClaims.model_validate(members),))


def bound(face: int | None) -> dict[str, Any]:
    """The portrait's binding, with the number of the face in it."""
    return {"sha256": HASH, "pixels_sha256": HASH, "face": face, "commitment": COMMITMENT}


def chained(claims: ConsentClaims) -> dict[str, Any]:
    """A consent that was not handed on."""
    return {"consent": claims, "chain": Chain(claims)}


def accreditation(**changes: Any) -> AccreditationClaims:
    return AccreditationClaims.model_validate(
        {
            "iss": "urn:acc", "sub": f"pw:{JKT}", "aud": "urn:g", **TIMES, "jti": "a",
            "purposes": ["detector-evaluation"], "cnf": {"jkt": JKT},
            "status": {"status_list": {"idx": 1, "uri": "urn:acc/status/1"}}, **changes,
        }
    )  # fmt: skip


def proof(request: RequestFacts = REQUEST, jkt: str = JKT, **changes: Any) -> Proof:
    members = {
        "jti": "x" * 22, "htm": "POST", "htu": proof_target("urn:g"), "iat": NOW,
        "ath": request.presented_hash, "req": request.digest, **changes,
    }  # fmt: skip
    return Proof(ProofClaims.model_validate(members), jkt)


CONSENT = consent()
GOOD = Facts(
    now=datetime.fromtimestamp(NOW, UTC),
    gate=GATE,
    site=SitePolicy(),
    request=REQUEST,
    consent=CONSENT,
    chain=Chain(CONSENT),
    consent_status=TokenStatus.VALID,
    subject_keys=(SUBJECT.credential.public_key,),
    standing=Standing(0, 0),
    hop_standings=(),
    accreditation=accreditation(),
    accreditation_status=TokenStatus.VALID,
    proof=proof(),
    proof_seen=False,
    portrait=PortraitFacts(512, 512, HASH, (200.0,), ("here",), (True,)),
    audio=AudioFacts(9.0, -20.0),
)


def requested(**changes: Any) -> dict[str, Any]:
    """A changed request with a proof that was made for it."""
    request = replace(REQUEST, **changes)
    return {"request": request, "proof": proof(request)}


PORTRAIT, AUDIO = GOOD.portrait, GOOD.audio
assert PORTRAIT is not None
assert AUDIO is not None
OTHER = "B" * 43
LISTED = {"mode": "hash-list", "sha256": ["cd" * 32], "voice": "own-recording"}
SCRIPTS = {"mode": "hash-list", "sha256": [HASH], "languages": []}
OTHER_PARTY = RelyingParty(id="elsewhere", origins=["http://localhost"])


def limited(**limits: Any) -> dict[str, Any]:
    """A site that refuses more."""
    return {"site": SitePolicy(limits=SiteLimits(**limits))}


TWO_FACES = replace(PORTRAIT, face_heights_px=(200.0, 50.0), face_places=("at x 100", "at x 400"), opens=(True, True))
OTHER_PICTURE = replace(PORTRAIT, pixels_sha256="1" * 64)

CASES: list[tuple[str, dict[str, Any]]] = [
    ("consent.other_issuer", chained(consent(iss="urn:x"))),
    ("consent.other_gate", chained(consent(aud="urn:x"))),
    ("consent.expired", chained(consent(exp=NOW))),
    ("consent.not_yet_valid", chained(consent(nbf=NOW + 1))),
    ("consent.issued_in_future", chained(consent(iat=NOW + 31))),
    ("consent.life_too_long", chained(consent(exp=NOW + 91 * 86_400))),
    ("consent.revoked", {"consent_status": TokenStatus.INVALID}),
    ("consent.revoked", {"consent_status": TokenStatus.UNASSIGNED}),
    ("consent.suspended", {"consent_status": TokenStatus.SUSPENDED}),
    ("consent.other_model", chained(consent(model="sha256:" + "0" * 64))),
    ("consent.other_purpose", chained(consent(purposes=["demonstration"]))),
    ("consent.minor", chained(consent(subject={"adult": False}))),
    ("consent.subject_not_enrolled", {"subject_keys": ()}),
    ("consent.not_signed_by_subject", {"site": SitePolicy(relying_party=OTHER_PARTY)}),
    ("consent.other_notice", chained(consent(subject={"notice": f"sha256:{HASH}"}))),
    ("consent.signed_out_of_time", chained(consent(subject={"proposed_at": NOW - 10 - 1801}))),
    ("consent.other_portrait", requested(portrait_sha256="0" * 64)),
    ("consent.other_pixels", {"portrait": OTHER_PICTURE}),
    ("consent.other_script", chained(consent(audio=LISTED, script=SCRIPTS))),
    ("consent.other_language", chained(consent(script={"mode": "any", "sha256": [], "languages": ["en"]}))),
    ("delegation.other_holder", {"chain": handed_on(cnf={"jkt": OTHER}), "hop_standings": (Standing(0, 0),)}),
    ("delegation.out_of_time", {"chain": handed_on(exp=NOW), "hop_standings": (Standing(0, 0),)}),
    ("delegation.out_of_time", {"chain": handed_on(nbf=NOW + 1), "hop_standings": (Standing(0, 0),)}),
    ("delegation.uses_exhausted", {"chain": handed_on(), "hop_standings": (Standing(2, 0),)}),
    ("delegation.uses_exhausted", {"chain": handed_on(), "hop_standings": (Standing(1, 11_001),)}),
    ("delegation.uses_exhausted", {"chain": handed_on(), "hop_standings": ()}),
    ("site.other_purpose", limited(purposes=["demonstration"])),
    ("site.audio_too_long", limited(max_seconds=8)),
    ("site.uses_exhausted", {**limited(max_uses=3), "standing": Standing(3, 0)}),
    ("site.cooling_off", limited(cooling_off_s=3600)),
    ("site.recordings_not_listed", limited(recordings_listed=True)),
    ("site.too_deep", {**limited(max_delegation_depth=0), "chain": handed_on(), "hop_standings": (Standing(0, 0),)}),
    ("consent.other_audio", chained(consent(audio={"mode": "hash-list", "sha256": ["0" * 64], "voice": "any"}))),
    ("consent.audio_too_long", chained(consent(max_seconds=8))),
    ("consent.too_many_frames_per_second", chained(consent(max_fps=24))),
    ("consent.too_large", chained(consent(max_width=256))),
    ("consent.uses_exhausted", {"standing": Standing(5, 0)}),
    ("consent.seconds_exhausted", {"standing": Standing(4, 141_001)}),
    ("consent.other_researcher", chained(consent(cnf={"jkt": OTHER}))),
    ("accreditation.other_issuer", {"accreditation": accreditation(iss="urn:r")}),
    ("accreditation.other_gate", {"accreditation": accreditation(aud="urn:x")}),
    ("accreditation.expired", {"accreditation": accreditation(exp=NOW)}),
    ("accreditation.not_yet_valid", {"accreditation": accreditation(nbf=NOW + 1)}),
    ("accreditation.issued_in_future", {"accreditation": accreditation(iat=NOW + 31)}),
    ("accreditation.life_too_long", {"accreditation": accreditation(exp=NOW + 367 * 86_400)}),
    ("accreditation.revoked", {"accreditation_status": TokenStatus.INVALID}),
    ("accreditation.suspended", {"accreditation_status": TokenStatus.SUSPENDED}),
    ("accreditation.other_purpose", {"accreditation": accreditation(purposes=["demonstration"])}),
    ("accreditation.other_researcher", {"accreditation": accreditation(cnf={"jkt": OTHER})}),
    ("proof.other_target", {"proof": proof(htu="urn:x/clips")}),
    ("proof.other_consent", {"proof": proof(ath=OTHER)}),
    ("proof.other_request", {"proof": proof(req=OTHER)}),
    ("proof.other_request", {"request": replace(REQUEST, seed=1)}),
    ("proof.other_request", {"request": replace(REQUEST, controls=Controls(gaze_yaw_deg=1.0))}),
    ("proof.out_of_time", {"proof": proof(iat=NOW - 61)}),
    ("proof.out_of_time", {"proof": proof(iat=NOW + 31)}),
    ("proof.replayed", {"proof_seen": True}),
    ("request.frame_rate", requested(fps=24)),
    ("request.controls", requested(controls=Controls(distance=2.0))),
    ("request.controls", requested(controls=Controls(emotion="smug"))),
    ("request.seed", requested(seed=-1)),
    ("portrait.too_small", {"portrait": replace(PORTRAIT, width_px=127)}),
    ("portrait.no_face", {"portrait": replace(PORTRAIT, face_heights_px=())}),
    ("portrait.several_faces", {"portrait": TWO_FACES}),
    ("portrait.no_such_face", {**requested(framing=Framing(face=2))}),
    ("portrait.face_too_small", {**requested(framing=Framing(face=2)), "portrait": TWO_FACES,
                                 **chained(consent(portrait=bound(2)))}),
    ("portrait.frame_shape", {**requested(framing=Framing(frame="portrait")), **chained(consent(max_width=1280)),
                              "portrait": replace(PORTRAIT, width_px=1200, height_px=200)}),
    ("consent.other_face", {**requested(framing=Framing(face=1)), "portrait": TWO_FACES}),
    ("consent.other_face", {**requested(framing=Framing(face=1)), "portrait": TWO_FACES,
                            **chained(consent(portrait=bound(2)))}),
    ("consent.too_large", {**requested(framing=Framing(frame="portrait")),
                           "portrait": replace(PORTRAIT, height_px=600)}),
    ("consent.other_face", chained(consent(portrait=bound(2)))),
    ("consent.other_face_shown", {"portrait": replace(PORTRAIT, opens=(False,))}),
    ("consent.other_face_shown", {"portrait": replace(PORTRAIT, opens=())}),
    ("consent.no_face_bound", chained(consent(portrait=bound(None) | {"commitment": None}))),
    ("request.framing", requested(framing=Framing(shoulders="shrug"))),
    ("proof.other_request", {"request": replace(REQUEST, framing=Framing(face=1))}),
    ("proof.other_request", {"request": replace(REQUEST, framing=Framing(shoulders="follow"))}),
    ("portrait.face_too_small", {"portrait": replace(PORTRAIT, face_heights_px=(63.0,))}),
    ("audio.too_short", {"audio": replace(AUDIO, duration_s=1.99)}),
    ("audio.silent", {"audio": replace(AUDIO, loudest_dbfs=-math.inf)}),
]  # fmt: skip

TOGETHER = {"request.unknown_purpose", "audio.too_long"}
"""Rules that never fail alone: a consent excludes what they look for too."""


def ids(facts: Facts) -> list[str]:
    return [denial.rule_id for denial in evaluate(facts)]


def test_good_facts_are_allowed() -> None:
    assert evaluate(GOOD) == ()


def test_several_faces_are_named_with_their_places_and_the_option() -> None:
    (denial,) = evaluate(replace(GOOD, portrait=TWO_FACES))
    assert "2 faces" in denial.fact
    assert "1 at x 100; 2 at x 400" in denial.fact
    assert "--face" in denial.remedy


def test_the_face_that_both_consent_and_request_name_is_allowed() -> None:
    named = consent(portrait=bound(1))
    assert ids(replace(GOOD, **requested(framing=Framing(face=1)), **chained(named), portrait=TWO_FACES)) == []


@pytest.mark.parametrize(("rule_id", "changes"), CASES, ids=[f"{rule}-{n}" for n, (rule, _) in enumerate(CASES)])
def test_each_rule_fires_alone_for_its_own_reason(rule_id: str, changes: dict[str, Any]) -> None:
    (denial,) = evaluate(replace(GOOD, **changes))
    assert denial.rule_id == rule_id
    assert denial.fact.endswith(".")
    assert denial.remedy.endswith(".")


def test_every_rule_has_a_case() -> None:
    assert {rule.rule_id for rule in RULES} == {rule for rule, _ in CASES} | TOGETHER


def test_what_a_consent_excludes_too_is_named_by_both() -> None:
    assert "request.unknown_purpose" in ids(replace(GOOD, **requested(purpose="anything")))
    long = ids(replace(GOOD, audio=AudioFacts(3601.0, -20.0)))
    assert long == ["consent.audio_too_long", "consent.seconds_exhausted", "audio.too_long"]


def test_limits_are_inclusive() -> None:
    exact = replace(GOOD, audio=AudioFacts(30.0, -49.9), standing=Standing(4, 120_000))
    assert ids(replace(exact, portrait=PortraitFacts(128, 128, HASH, (64.0,), ("here",), (True,)))) == []


def test_a_portrait_is_bound_by_its_file_and_by_its_pixels() -> None:
    both = replace(GOOD, **requested(portrait_sha256="0" * 64), portrait=OTHER_PICTURE)
    assert ids(both) == ["consent.other_portrait", "consent.other_pixels"]


def test_a_named_script_and_language_are_allowed() -> None:
    terms = consent(audio=LISTED, script=SCRIPTS | {"languages": ["en", "de"]})
    assert ids(replace(GOOD, **chained(terms), **requested(script_sha256=HASH, language="de"))) == []


def test_a_consent_that_was_handed_on_allows_what_its_last_hop_allows() -> None:
    facts = replace(GOOD, chain=handed_on(), hop_standings=(Standing(1, 11_000),))
    assert ids(facts) == []
    assert ids(replace(facts, audio=AudioFacts(9.1, -20.0))) == ["delegation.uses_exhausted"]


@pytest.mark.parametrize("name", sorted(set(ConsentClaims.model_fields) - {"iat"}))
def test_the_person_signed_every_term(name: str) -> None:
    """Whatever a registry changes after the person's signature, the signature no longer fits."""
    claims = GOOD.consent
    assert claims is not None
    members = claims.model_dump()
    other = {"exp": NOW + 999, "nbf": NOW - 11, "subject": members["subject"] | {"nonce": OTHER}}
    other |= {"authorization_details": [members["authorization_details"][0] | {"uses": 6}], "cnf": {"jkt": OTHER}}
    other |= {"status": {"status_list": {"idx": 413, "uri": "urn:r/status/1"}}}
    other |= {"delegation": {"max_depth": 1}, "evidence": {"record": "sha256:" + "0" * 64}, "sub": f"pw:{OTHER}"}
    changed = ConsentClaims.model_validate(members | {name: other.get(name, "urn:other")})
    assert changed != claims
    assert "consent.not_signed_by_subject" in ids(replace(GOOD, **chained(changed)))


def test_all_failing_rules_are_returned_at_once() -> None:
    failing = replace(
        GOOD,
        **chained(consent(exp=NOW, aud="urn:x", max_seconds=3, purposes=["demonstration"])),
        consent_status=TokenStatus.SUSPENDED,
        portrait=PortraitFacts(20, 20, "1" * 64, ()),
        audio=AudioFacts(9.0, -90.0),
    )
    assert set(ids(failing)) == {
        "consent.expired", "consent.other_gate", "consent.audio_too_long", "consent.other_purpose",
        "consent.suspended", "consent.other_pixels", "portrait.too_small", "portrait.no_face", "audio.silent",
    }  # fmt: skip


FACT_NAMES = [part.name for part in fields(Facts) if part.name != "unreadable"]


@pytest.mark.parametrize("name", FACT_NAMES)
def test_a_missing_fact_is_a_refusal(name: str) -> None:
    assert f"{name}.missing" in ids(replace(GOOD, **{name: None}))


@settings(max_examples=500, deadline=None)
@given(st.lists(st.sampled_from(CASES), max_size=4), st.sets(st.sampled_from(FACT_NAMES), min_size=1))
def test_removing_facts_never_turns_a_refusal_into_an_allow(
    cases: list[tuple[str, dict[str, Any]]], removed: set[str]
) -> None:
    facts = GOOD
    for _, changes in cases:
        facts = replace(facts, **changes)
    poorer = replace(facts, **dict.fromkeys(removed))
    assert evaluate(poorer) != ()
