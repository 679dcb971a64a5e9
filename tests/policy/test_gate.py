"""The gate allows what is right, logs whatever it says, and takes nothing when it can't."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from policy import Controls, thumbprint
from policy.canonical import canonical_json, sha256_hex
from policy.request import RequestFacts, sign_request
from provenance import verify_log_proof
from tests.policy.conftest import (
    START,
    GateSimulator,
    Refusals,
    demo_pixels,
    inspect_once,
    jti_of,
    png,
    tone_burst_wav,
)


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
