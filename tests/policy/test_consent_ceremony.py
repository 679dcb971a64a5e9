"""A consent comes about by the person's own act, on the registry's own copy of what they were shown."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from policy import PolicyError, SoftwareAuthenticator, TokenError, TokenStatus, UnknownTokenError
from policy.canonical import b64url_decode, canonical_json, sha256_hex
from policy.consent_record import RECORD_SCHEMA
from policy.errors import StateError
from policy.statement import challenge_of, notice_of
from policy.strict_jws import sign
from tests.policy.conftest import SUBJECT, GateSimulator, jti_of


def rules_of(simulator: GateSimulator, consent: str) -> set[str]:
    return {denial.rule_id for denial in simulator.decide(simulator.request(consent)).denials}


def members_of(token: str) -> dict[str, Any]:
    return dict(json.loads(b64url_decode(token.split(".")[1])))


def test_what_was_shown_can_be_shown_again_from_the_token_alone(simulator: GateSimulator) -> None:
    proposal = simulator.authority.propose_consent(simulator.terms(), simulator.device.credential)
    token = simulator.authority.accept_consent(proposal.jti, simulator.device.sign(proposal.challenge, proposal.party))
    claims = simulator.authority.consent(jti_of(token)).claims
    assert notice_of(claims) == proposal.notice  # type: ignore[arg-type]
    assert challenge_of(members_of(token)) == proposal.challenge
    assert "measure how well fakes are detected" in proposal.notice
    assert SUBJECT not in proposal.notice
    assert rules_of(simulator, token) == set()


def test_a_stolen_registry_key_alone_makes_no_consent(simulator: GateSimulator) -> None:
    """The thief signs what they like, with a device of their own, and in the person's name."""
    stolen, thief = simulator.authority._keys["registry"], SoftwareAuthenticator.create()
    members = members_of(simulator.consent())
    widened = json.loads(json.dumps(members))
    widened["authorization_details"][0]["uses"] = 100_000
    forged = sign(widened, typ="consent+jwt", key=stolen)
    assert rules_of(simulator, forged) == {"consent.not_signed_by_subject", "consent.other_notice"}
    own = json.loads(json.dumps(members))
    own["subject"]["key"] = thief.credential.public_key
    own["subject"]["assertion"] = thief.sign(challenge_of(own), simulator.authority.site.relying_party).model_dump()
    assert rules_of(simulator, sign(own, typ="consent+jwt", key=stolen)) == {"consent.subject_not_enrolled"}


def test_a_stolen_registry_key_does_not_bring_a_withdrawn_consent_back(simulator: GateSimulator) -> None:
    """The same statement and signature, at another place of the status list and with a newer date."""
    consent = simulator.consent()
    simulator.authority.withdraw(jti_of(consent))
    members = members_of(consent)
    members["status"]["status_list"]["idx"] ^= 1
    again = sign(members, typ="consent+jwt", key=simulator.authority._keys["registry"])
    assert rules_of(simulator, again) == {"consent.not_signed_by_subject"}


def test_a_proposal_is_taken_once_and_in_time(simulator: GateSimulator) -> None:
    authority, device = simulator.authority, simulator.device
    proposal = authority.propose_consent(simulator.terms(), device.credential)
    assertion = device.sign(proposal.challenge, proposal.party)
    authority.accept_consent(proposal.jti, assertion)
    with pytest.raises(UnknownTokenError, match="waits for a signature"):
        authority.accept_consent(proposal.jti, assertion)
    late = authority.propose_consent(simulator.terms(), device.credential)
    simulator.clock.advance(minutes=31)
    with pytest.raises(UnknownTokenError, match="30 minutes"):
        authority.accept_consent(late.jti, device.sign(late.challenge, late.party))


def test_only_the_device_of_the_person_can_sign(simulator: GateSimulator) -> None:
    authority, stranger = simulator.authority, SoftwareAuthenticator.create()
    proposal = authority.propose_consent(simulator.terms(), simulator.device.credential)
    with pytest.raises(TokenError, match="not enrolled"):
        authority.accept_consent(proposal.jti, stranger.sign(proposal.challenge, proposal.party))
    authority.enrol_subject("Someone Else", stranger.credential)
    with pytest.raises(TokenError, match="another person"):
        authority.accept_consent(proposal.jti, stranger.sign(proposal.challenge, proposal.party))
    with pytest.raises(PolicyError, match="not enrolled for this name"):
        authority.propose_consent(simulator.terms(), stranger.credential)
    with pytest.raises(PolicyError, match="another person"):
        authority.enrol_subject("Someone Else", simulator.device.credential)


def test_a_copied_device_is_noticed(simulator: GateSimulator) -> None:
    authority, device = simulator.authority, simulator.device
    copy = SoftwareAuthenticator(device._key, device.credential.credential_id, 0, None)
    simulator.consent()
    proposal = authority.propose_consent(simulator.terms(), device.credential)
    with pytest.raises(TokenError, match="copied"):
        authority.accept_consent(proposal.jti, copy.sign(proposal.challenge, proposal.party))


def test_consents_signed_by_a_lost_device_are_refused(simulator: GateSimulator) -> None:
    consent = simulator.consent()
    simulator.authority.revoke_subject_key(simulator.device.credential.credential_id)
    assert rules_of(simulator, consent) == {"consent.subject_not_enrolled"}


@pytest.mark.parametrize(
    "change",
    [
        {"adult": False},
        {"valid_for": timedelta(days=91)},
        {"uses": 0},
        {"purposes": ("anything",)},
        {"voice": "own-recording"},
        {"script_sha256": ("ab" * 32,)},
        {"languages": ("english",)},
        {"delegation_depth": 9},
    ],
)
def test_impossible_terms_are_found_before_anyone_signs(simulator: GateSimulator, change: dict[str, Any]) -> None:
    with pytest.raises(PolicyError, match=r"adult|90 days|cannot be issued"):
        simulator.authority.propose_consent(replace(simulator.terms(), **change), simulator.device.credential)


def test_people_see_their_own_consents_and_nobody_elses(simulator: GateSimulator) -> None:
    authority, other = simulator.authority, SoftwareAuthenticator.create()
    mine = [simulator.consent(), simulator.consent(uses=2)]
    authority.enrol_subject("Someone Else", other.credential)
    theirs = authority.issue_consent(replace(simulator.terms(), subject="Someone Else"), other)
    assert [issued.token for issued in authority.consents_of(simulator.device)] == mine
    assert [issued.token for issued in authority.consents_of(other)] == [theirs]
    with pytest.raises(TokenError, match="not enrolled"):
        authority.consents_of(SoftwareAuthenticator.create())
    challenge = authority.registry.view_challenge(simulator.clock())
    assertion = other.sign(challenge, authority.site.relying_party)
    authority.registry.consents_of_signer(challenge, assertion, simulator.clock())
    with pytest.raises(TokenError, match="was used"):
        authority.registry.consents_of_signer(challenge, assertion, simulator.clock())


def test_the_consent_record_holds_what_iso_27560_asks(simulator: GateSimulator) -> None:
    consent = simulator.consent(evidence="video call, passport seen")
    simulator.authority.suspend(jti_of(consent))
    simulator.authority.withdraw(jti_of(consent))
    record = simulator.authority.consent_record(jti_of(consent))
    assert record["schema_version"] == RECORD_SCHEMA
    asked = {
        "record_id", "pii_principal_id", "notice", "purposes", "data_categories", "controller", "recipients",
        "retention_until", "jurisdiction", "withdrawal_method", "rights_contact", "collection_method", "events",
        "lawful_basis", "expires_at", "age_over_18",
    }  # fmt: skip
    assert asked <= set(record)
    assert record["age_over_18"] is True
    states = [(event["state"], event["actor"]) for event in record["events"]]
    assert states == [("given", "depicted person"), ("suspended", "registry"), ("withdrawn", "depicted person")]


def test_a_changed_record_is_noticed_and_an_erased_one_is_gone(simulator: GateSimulator) -> None:
    consent = simulator.consent()
    simulator.decide(simulator.request(consent))
    path = simulator.state / "evidence" / f"{jti_of(consent)}.json"
    data = path.read_bytes()
    path.write_bytes(data.replace(b"Synthetic", b"Sinthetic"))
    with pytest.raises(StateError, match="changed"):
        simulator.authority.consent_record(jti_of(consent))
    path.write_bytes(data)
    assert simulator.authority.erase_due() == ()
    simulator.clock.advance(days=30 + 3 * 365)
    assert simulator.authority.erase_due() == (jti_of(consent),)
    with pytest.raises(StateError, match="erased"):
        simulator.authority.consent_record(jti_of(consent))
    assert simulator.authority.stores.events.about(jti_of(consent)) == ()
    assert simulator.authority.log.size > 3
    assert simulator.authority.consent(jti_of(consent)).status is TokenStatus.VALID


def test_the_record_stays_out_of_token_and_log(simulator: GateSimulator) -> None:
    consent = simulator.consent()
    claims = simulator.authority.consent(jti_of(consent)).claims
    record = simulator.authority.registry.record(jti_of(consent))
    assert members_of(consent)["evidence"]["record"] == f"sha256:{sha256_hex(record)}"
    assert SUBJECT.encode() in record
    assert SUBJECT.encode() not in canonical_json(claims.model_dump(mode="json"))
