"""Each bad request is refused with every reason, logged, and leaves no clip and no use behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from policy import Authority, Controls, Decision, GenerationRequest, Refused, thumbprint
from policy.canonical import b64url, b64url_decode, canonical_json, sha256_hex
from policy.request import RequestFacts, sign_request
from policy.strict_jws import sign
from provenance import verify_log_proof
from tests.policy.conftest import (
    START,
    GateSimulator,
    demo_pixels,
    inspect_once,
    jti_of,
    png,
    tone_burst_wav,
    wav,
)


class Refusals:
    """Sends a request through the whole pipeline and checks all that a refusal promises."""

    def __init__(self, simulator: GateSimulator, folder: Path) -> None:
        self.simulator = simulator
        self.folder = folder
        folder.mkdir()

    def __call__(self, request: GenerationRequest, rules: set[str], consent: str | None = None) -> Decision:
        simulator, before = self.simulator, self.simulator.authority.log.size
        used = simulator.used(consent) if consent else 0
        with pytest.raises(Refused) as caught:
            simulator.pipeline().release(request, self.folder / "clip.mp4")
        decision = caught.value.decision
        assert {denial.rule_id for denial in decision.denials} == rules
        assert all(denial.fact and denial.remedy for denial in decision.denials)
        assert not decision.allowed
        assert not decision.grant
        assert simulator.authority.log.size == before + 1
        assert decision.log_index == before
        entry = simulator.authority.log.entry(before)
        assert entry == decision.entry
        logged = json.loads(entry)
        assert (logged["event"], logged["outcome"]) == ("decision", "refuse")
        assert set(logged["rules"]) == rules
        if consent:
            assert simulator.used(consent) == used
        assert list(self.folder.iterdir()) == []
        return decision


@pytest.fixture
def refused(simulator: GateSimulator, tmp_path: Path) -> Refusals:
    return Refusals(simulator, tmp_path / "out")


def test_a_good_request_is_allowed_logged_and_proven(simulator: GateSimulator) -> None:
    consent = simulator.consent()
    decision = simulator.decide(simulator.request(consent))
    assert decision.allowed
    assert decision.denials == ()
    assert decision.log_index is not None
    origin, key = simulator.authority.record.log_origin, simulator.authority.log_public_key
    checked = verify_log_proof(decision.log_proof, decision.entry, origin=origin, public_key=key)
    assert checked.index == decision.log_index
    assert simulator.used(consent) == 1


def test_the_public_log_names_nobody(simulator: GateSimulator) -> None:
    consent = simulator.consent()
    simulator.decide(simulator.request(consent))
    simulator.authority.withdraw(jti_of(consent))
    log = simulator.authority.log
    entries = b"".join(log.entry(index) for index in range(log.size))
    private = [
        "Synthetic Person", "R. Example", "Test Lab", jti_of(consent), thumbprint(simulator.researcher),
        sha256_hex(simulator.portrait), sha256_hex(simulator.audio), sha256_hex(consent.encode()),
    ]  # fmt: skip
    assert not [word for word in private if word.encode() in entries]


def test_the_private_record_opens_the_public_commitment(simulator: GateSimulator) -> None:
    from policy.canonical import commitment

    decision = simulator.decide(simulator.request(purpose="demonstration"))
    record = simulator.authority.stores.events.find(decision.sha256)
    assert record is not None
    assert json.loads(decision.entry)["about"] == commitment(record.salt, canonical_json(record.detail))
    assert record.detail["request"]["purpose"] == "demonstration"


# Time and status of the consent


def test_an_expired_consent(simulator: GateSimulator, refused: Refusals) -> None:
    consent = simulator.consent(valid_for=timedelta(hours=1))
    simulator.clock.advance(hours=1)
    refused(simulator.request(consent), {"consent.expired"}, consent)


def test_a_consent_that_is_not_yet_valid(simulator: GateSimulator, refused: Refusals) -> None:
    consent = simulator.consent(valid_from=START + timedelta(seconds=1))
    refused(simulator.request(consent), {"consent.not_yet_valid"}, consent)


def test_a_withdrawn_consent(simulator: GateSimulator, refused: Refusals) -> None:
    consent = simulator.consent()
    simulator.authority.withdraw(jti_of(consent))
    refused(simulator.request(consent), {"consent.revoked"}, consent)


def test_a_suspended_consent_until_it_is_reinstated(simulator: GateSimulator, refused: Refusals) -> None:
    consent = simulator.consent()
    simulator.authority.suspend(jti_of(consent))
    refused(simulator.request(consent), {"consent.suspended"}, consent)
    simulator.authority.reinstate(jti_of(consent))
    assert simulator.decide(simulator.request(consent)).allowed


def test_a_consent_whose_status_cannot_be_had(simulator: GateSimulator, refused: Refusals, monkeypatch: Any) -> None:
    """A list that is not renewed goes stale, and then nothing is allowed."""
    registry = simulator.authority.registry
    consent = simulator.consent()
    uris = [registry.list_uri("consent"), registry.list_uri("accreditation")]
    old = {uri: registry.status_list(uri, simulator.clock()) for uri in uris}
    monkeypatch.setattr(registry, "status_list", lambda uri, now: old[uri])
    simulator.clock.advance(minutes=2)
    refused(simulator.request(consent), {"consent.status_unknown", "accreditation.status_unknown"}, consent)


# What the consent is for


def test_a_consent_for_another_portrait_by_one_pixel(simulator: GateSimulator, refused: Refusals) -> None:
    pixels = demo_pixels()
    pixels[0, 0, 0] ^= 1
    consent = simulator.consent()
    refused(
        simulator.request(consent, portrait=png(pixels)), {"consent.other_portrait", "consent.other_pixels"}, consent
    )


def test_a_consent_of_another_researcher(simulator: GateSimulator, refused: Refusals) -> None:
    consent = simulator.consent(researcher_jkt=thumbprint(Ed25519PrivateKey.generate()))
    refused(simulator.request(consent), {"consent.other_researcher"}, consent)


def test_a_researcher_with_stolen_tokens(simulator: GateSimulator, refused: Refusals) -> None:
    consent = simulator.consent()
    request = simulator.request(consent, researcher=Ed25519PrivateKey.generate())
    refused(request, {"consent.other_researcher", "accreditation.other_researcher"}, consent)


def test_a_consent_for_another_purpose(simulator: GateSimulator, refused: Refusals) -> None:
    consent = simulator.consent(purposes=("demonstration",))
    refused(simulator.request(consent), {"consent.other_purpose"}, consent)


def test_a_consent_for_another_gate(simulator: GateSimulator, refused: Refusals) -> None:
    consent = simulator.consent(audience="urn:vasari:gate:elsewhere")
    refused(simulator.request(consent), {"consent.other_gate", "consent.subject_not_enrolled"}, consent)


def test_a_recording_longer_than_allowed(simulator: GateSimulator, refused: Refusals) -> None:
    consent = simulator.consent(max_seconds=2)
    refused(simulator.request(consent), {"consent.audio_too_long"}, consent)


def test_exhausted_uses_and_seconds(simulator: GateSimulator, refused: Refusals) -> None:
    consent = simulator.consent(uses=1, total_seconds=4)
    assert simulator.decide(simulator.request(consent)).allowed
    refused(simulator.request(consent), {"consent.uses_exhausted", "consent.seconds_exhausted"}, consent)


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


# Portrait and recording


def refused_with_portrait(simulator: GateSimulator, refused: Refusals, portrait: bytes, rules: set[str]) -> None:
    consent = simulator.consent() if "portrait.unreadable" in rules else simulator.consent(portrait=portrait)
    refused(simulator.request(consent, portrait=portrait), rules, consent)


def test_a_portrait_without_a_face(simulator: GateSimulator, refused: Refusals) -> None:
    grey = np.full((512, 512, 3), 128, np.uint8)
    refused_with_portrait(simulator, refused, png(grey), {"portrait.no_face", "consent.no_face_bound"})


def test_a_portrait_with_two_faces(simulator: GateSimulator, refused: Refusals) -> None:
    pixels = demo_pixels()
    expected = {"portrait.several_faces", "consent.no_face_bound"}
    refused_with_portrait(simulator, refused, png(np.concatenate([pixels, pixels], axis=1)), expected)


def test_a_portrait_of_twenty_pixels(simulator: GateSimulator, refused: Refusals) -> None:
    small = demo_pixels()[:: max(1, demo_pixels().shape[0] // 20), :: max(1, demo_pixels().shape[1] // 20)][:20, :20]
    refused_with_portrait(
        simulator, refused, png(small), {"portrait.too_small", "portrait.no_face", "consent.no_face_bound"}
    )


@pytest.mark.parametrize("portrait", [b"", b"no picture", tone_burst_wav()], ids=["empty", "text", "sound"])
def test_a_portrait_that_is_no_picture(simulator: GateSimulator, refused: Refusals, portrait: bytes) -> None:
    refused_with_portrait(simulator, refused, portrait, {"portrait.unreadable", "consent.other_portrait"})


@pytest.mark.parametrize(
    ("audio", "rule"),
    [
        (wav([0] * 40_000), "audio.silent"),
        (tone_burst_wav(2.5, 0.001), "audio.silent"),
        (tone_burst_wav(1.5), "audio.too_short"),
        (b"", "audio.unreadable"),
        (wav([]), "audio.unreadable"),
        (b"no sound at all", "audio.unreadable"),
    ],
    ids=["digital silence", "hiss", "short", "empty file", "no samples", "not audio"],
)
def test_a_recording_that_cannot_be_spoken(
    simulator: GateSimulator, refused: Refusals, audio: bytes, rule: str
) -> None:
    consent = simulator.consent()
    refused(simulator.request(consent, audio=audio), {rule}, consent)


# The log


def test_no_log_no_release(simulator: GateSimulator, monkeypatch: Any) -> None:
    consent = simulator.consent()

    def full(entry: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(simulator.authority.log, "append", full)
    monkeypatch.setattr(simulator.authority.log, "append_proven", full)
    decision = simulator.decide(simulator.request(consent))
    assert [denial.rule_id for denial in decision.denials] == ["log.unavailable"]
    assert not decision.allowed
    assert not decision.grant
    assert decision.log_index is None
    monkeypatch.undo()
    again = simulator.decide(simulator.request(consent))
    assert again.allowed
    assert simulator.used(consent) == 1


def test_a_damaged_database_allows_nothing(simulator: GateSimulator, monkeypatch: Any) -> None:
    from policy import PolicyError

    request = simulator.request()
    simulator.authority.stores.connection.execute("DROP TABLE proofs")
    with pytest.raises(PolicyError, match="database"):
        simulator.decide(request)


def test_text_that_is_no_text_is_refused_like_any_other(simulator: GateSimulator, refused: Refusals) -> None:
    consent = simulator.consent()
    request = replace(simulator.request(consent), purpose="\ud800", accreditation="\udfff.a.b")
    rules = {"accreditation.malformed", "consent.other_purpose", "request.unknown_purpose", "proof.other_request"}
    refused(request, rules, consent)


def test_a_worker_key_of_another_size_is_a_mistake_and_takes_no_use(simulator: GateSimulator) -> None:
    consent = simulator.consent()
    with pytest.raises(ValueError, match="32 bytes"):
        simulator.gate.decide(simulator.request(consent), worker_key=b"short")
    assert simulator.used(consent) == 0


def test_request_facts_hash_equal_requests_equally(simulator: GateSimulator) -> None:
    now, key = START, simulator.researcher
    one = sign_request(key, b"p", b"a", "c", "r", gate_id="g", purpose="x", now=now, controls=Controls(distance=1))
    two = sign_request(key, b"p", b"a", "c", "r", gate_id="g", purpose="x", now=now, controls=Controls(distance=1.0))
    assert RequestFacts.of(one).digest == RequestFacts.of(two).digest
    assert one.proof != two.proof


def test_a_request_shows_no_token_and_no_picture(simulator: GateSimulator) -> None:
    shown = repr(simulator.request())
    assert len(shown) < 400
    assert "eyJ" not in shown


def test_inspection_is_the_real_one() -> None:
    facts = inspect_once(png(demo_pixels()), tone_burst_wav())
    assert facts.portrait is not None
    assert facts.portrait.faces == 1
