"""Tokens and proofs that are not what they should be are refused with every reason, logged, and leave nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from policy import Authority, Controls, GenerationRequest
from policy.canonical import b64url, b64url_decode, canonical_json
from policy.strict_jws import sign
from tests.policy.conftest import (
    START,
    GateSimulator,
    Refusals,
    jti_of,
    tone_burst_wav,
    wav,
)

# Tokens that are not what they should be


def resigned(token: str, change: Callable[[dict[str, Any], dict[str, Any]], None], key: Ed25519PrivateKey) -> str:
    """The token with changed header and claims, signed again with `key`."""
    header, claims = (json.loads(b64url_decode(part)) for part in token.split(".")[:2])
    change(header, claims)
    signed = f"{b64url(canonical_json(header))}.{b64url(canonical_json(claims))}"
    return f"{signed}.{b64url(key.sign(signed.encode()))}"


def registry_key(authority: Authority) -> Ed25519PrivateKey:
    return authority._keys["registry"]


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (lambda token: token[:200], "malformed"),
        (lambda token: token[:-8] + "AAAAAAAA"[: 8 - 1] + "A", "bad_signature"),
        (lambda token: token.replace(token[300:304], "AAAA"), "bad_signature"),
        (lambda token: "", "missing"),
        (lambda token: b64url(b'{"alg":"none"}') + "." + token.split(".")[1] + ".", "bad_header"),
    ],
    ids=["truncated", "other signature", "tampered", "missing", "alg none"],
)
def test_a_damaged_consent_and_everything_else_that_is_wrong(
    simulator: GateSimulator, refused: Refusals, damage: Callable[[str], str], code: str
) -> None:
    consent = simulator.consent()
    request = simulator.request(damage(consent), purpose="detector-training", audio=wav([0] * 40_000))
    decision = refused_ids(simulator, request)
    assert len([rule for rule in decision if rule.startswith("consent.")]) == 1
    if code == "bad_signature":
        assert decision & {"consent.bad_signature", "consent.malformed"}
    else:
        assert f"consent.{code}" in decision
    refused(simulator.request(damage(consent), audio=wav([0] * 40_000)), decision, consent)


def refused_ids(simulator: GateSimulator, request: GenerationRequest) -> set[str]:
    decision = simulator.decide(request)
    assert "audio.silent" in {denial.rule_id for denial in decision.denials}
    return {denial.rule_id for denial in decision.denials}


@pytest.mark.parametrize(
    ("header", "claims", "code"),
    [
        ({"alg": "none"}, {}, "wrong_algorithm"),
        ({"typ": "JWT"}, {}, "wrong_type"),
        ({"crit": ["exp"]}, {}, "bad_header"),
        ({"kid": "unknown"}, {}, "unknown_key"),
        ({}, {"exp": None}, "bad_claims"),
        ({}, {"scope": "all"}, "bad_claims"),
    ],
)
def test_a_consent_of_the_wrong_form_even_if_well_signed(
    simulator: GateSimulator, refused: Refusals, header: dict[str, Any], claims: dict[str, Any], code: str
) -> None:
    consent = simulator.consent()

    def change(old_header: dict[str, Any], old_claims: dict[str, Any]) -> None:
        old_header.update(header)
        old_claims.update(claims)

    changed = resigned(consent, change, registry_key(simulator.authority))
    refused(simulator.request(changed), {f"consent.{code}"}, consent)


def test_an_unknown_limit(simulator: GateSimulator, refused: Refusals) -> None:
    def change(header: dict[str, Any], claims: dict[str, Any]) -> None:
        claims["authorization_details"][0]["video"]["max_bitrate"] = 5

    consent = simulator.consent()
    changed = resigned(consent, change, registry_key(simulator.authority))
    refused(simulator.request(changed), {"consent.bad_claims"}, consent)


def test_duplicate_members(simulator: GateSimulator, refused: Refusals) -> None:
    consent = simulator.consent()
    header, claims, _ = consent.split(".")
    doubled = b64url(b64url_decode(claims)[:-1] + b',"exp":9999999999}')
    signed = f"{header}.{doubled}"
    token = f"{signed}.{b64url(registry_key(simulator.authority).sign(signed.encode()))}"
    refused(simulator.request(token), {"consent.malformed"}, consent)


def test_a_consent_of_a_stranger(simulator: GateSimulator, refused: Refusals) -> None:
    claims = json.loads(b64url_decode(simulator.consent().split(".")[1]))
    forged = sign(claims, typ="consent+jwt", key=Ed25519PrivateKey.generate())
    refused(simulator.request(forged), {"consent.unknown_key"})


def test_a_missing_accreditation_and_an_expired_consent_together(simulator: GateSimulator, refused: Refusals) -> None:
    consent = simulator.consent(valid_for=timedelta(hours=1))
    simulator.clock.advance(hours=2)
    refused(simulator.request(consent, accreditation=""), {"accreditation.missing", "consent.expired"}, consent)


def test_a_consent_in_place_of_the_accreditation(simulator: GateSimulator, refused: Refusals) -> None:
    consent = simulator.consent()
    refused(simulator.request(consent, accreditation=consent), {"accreditation.wrong_type"}, consent)


def test_a_withdrawn_accreditation(simulator: GateSimulator, refused: Refusals) -> None:
    consent = simulator.consent()
    simulator.authority.withdraw(jti_of(simulator.accreditation), kind="accreditation")
    refused(simulator.request(consent), {"accreditation.revoked"}, consent)


# Proof of possession


def test_a_request_without_proof(simulator: GateSimulator, refused: Refusals) -> None:
    consent = simulator.consent()
    refused(replace(simulator.request(consent), proof=""), {"proof.missing"}, consent)


def test_a_proof_used_twice(simulator: GateSimulator, refused: Refusals) -> None:
    consent = simulator.consent()
    request = simulator.request(consent)
    assert simulator.decide(request).allowed
    refused(request, {"proof.replayed"}, consent)


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 2},
        {"controls": Controls(head_motion=0.5)},
        {"audio": tone_burst_wav(2.25)},
    ],
    ids=["seed", "controls", "audio"],
)
def test_a_request_changed_after_it_was_signed(
    simulator: GateSimulator, refused: Refusals, change: dict[str, Any]
) -> None:
    consent = simulator.consent()
    refused(replace(simulator.request(consent), **change), {"proof.other_request"}, consent)


def test_an_old_proof_and_one_for_another_gate(simulator: GateSimulator, refused: Refusals) -> None:
    consent = simulator.consent()
    request = simulator.request(consent, now=START - timedelta(minutes=5), gate_id="urn:elsewhere")
    refused(request, {"proof.out_of_time", "proof.other_target"}, consent)


def test_controls_out_of_range_are_refused_before_signing_and_at_the_gate(
    simulator: GateSimulator, refused: Refusals
) -> None:
    wild = Controls(distance=9.0)
    with pytest.raises(ValueError, match="distance is 9"):
        simulator.request(controls=wild)
    consent = simulator.consent()
    refused(replace(simulator.request(consent), controls=wild), {"request.controls", "proof.other_request"}, consent)
