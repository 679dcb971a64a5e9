"""No logged allow, no key; and each grant opens the weights once, for one worker."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from policy import Decision, GrantError, KeyFileError
from policy.broker import WorkerKey
from policy.canonical import canonical_json, sha256_hex
from policy.grant import GrantClaims, sign_grant, verify_grant
from policy.keys import thumbprint
from policy.seal import open_sealed
from tests.policy.conftest import GateSimulator


class Allowed:
    """A worker with an allowed decision."""

    def __init__(self, simulator: GateSimulator) -> None:
        self.worker = WorkerKey()
        self.decision: Decision = simulator.gate.decide(simulator.request(), worker_key=self.worker.public_bytes)
        key = simulator.authority.gate_public_key
        self.claims: GrantClaims = verify_grant(self.decision.grant, {thumbprint(key): key})


@pytest.fixture
def allowed(simulator: GateSimulator) -> Allowed:
    return Allowed(simulator)


def test_a_logged_allow_opens_the_weights(simulator: GateSimulator, allowed: Allowed) -> None:
    decision = allowed.decision
    wrapped = simulator.authority.broker.release_key(decision.grant, decision.entry, decision.log_proof)
    key = allowed.worker.unwrap(wrapped, allowed.claims.jti)
    assert bytes(key.view) not in wrapped
    opened = open_sealed(simulator.authority.weights, key.view)
    assert set(opened.tensors) == {"motion.bias", "render.gain"}
    assert opened.config == {"motion": {}, "render": {}}


def test_a_grant_works_once(simulator: GateSimulator, allowed: Allowed) -> None:
    decision, broker = allowed.decision, simulator.authority.broker
    broker.release_key(decision.grant, decision.entry, decision.log_proof)
    with pytest.raises(GrantError, match="used before"):
        broker.release_key(decision.grant, decision.entry, decision.log_proof)
    simulator.reopen()
    with pytest.raises(GrantError, match="used before"):
        simulator.authority.broker.release_key(decision.grant, decision.entry, decision.log_proof)


def test_a_grant_expires_in_minutes(simulator: GateSimulator, allowed: Allowed) -> None:
    simulator.clock.advance(minutes=2)
    with pytest.raises(GrantError, match="expired"):
        simulator.authority.broker.release_key(
            allowed.decision.grant, allowed.decision.entry, allowed.decision.log_proof
        )


def test_the_released_key_is_for_one_worker_and_one_grant(simulator: GateSimulator, allowed: Allowed) -> None:
    decision = allowed.decision
    wrapped = simulator.authority.broker.release_key(decision.grant, decision.entry, decision.log_proof)
    with pytest.raises(GrantError):
        WorkerKey().unwrap(wrapped, allowed.claims.jti)
    with pytest.raises(GrantError):
        allowed.worker.unwrap(wrapped, "another grant")
    with pytest.raises(GrantError):
        allowed.worker.unwrap(wrapped[:-1], allowed.claims.jti)


def test_a_grant_signed_by_anyone_else_is_refused(simulator: GateSimulator, allowed: Allowed) -> None:
    forged = sign_grant(allowed.claims, Ed25519PrivateKey.generate())
    with pytest.raises(GrantError):
        simulator.authority.broker.release_key(forged, allowed.decision.entry, allowed.decision.log_proof)


def with_grant(simulator: GateSimulator, allowed: Allowed, **changes: Any) -> Decision:
    """The decision with a grant that the gate itself signed, about something else: a gate gone wrong."""
    changed = allowed.claims.model_copy(update=changes)
    return replace(allowed.decision, grant=sign_grant(changed, simulator.authority._keys["gate"]))


def unlogged(simulator: GateSimulator, allowed: Allowed) -> Decision:
    entry = canonical_json({"event": "decision", "outcome": "allow", "v": 1})
    return replace(with_grant(simulator, allowed, decision=sha256_hex(entry)), entry=entry)


def logged_refusal(simulator: GateSimulator, allowed: Allowed) -> Decision:
    refusal = simulator.decide(simulator.request(purpose="demonstration"))
    assert refusal.log_index is not None
    proof = simulator.authority.log.prove(refusal.log_index)
    decision = with_grant(simulator, allowed, decision=refusal.sha256, log_index=refusal.log_index)
    return replace(decision, entry=refusal.entry, log_proof=proof)


def other_event(simulator: GateSimulator, allowed: Allowed) -> Decision:
    entry = simulator.authority.log.entry(0)
    decision = with_grant(simulator, allowed, decision=sha256_hex(entry), log_index=0)
    return replace(decision, entry=entry, log_proof=simulator.authority.log.prove(0))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (unlogged, "not proven"),
        (logged_refusal, "not an allow"),
        (other_event, "not an allow"),
        (lambda s, a: replace(a.decision, entry=a.decision.entry + b" "), "not that of the granted decision"),
        (lambda s, a: replace(a.decision, log_proof=""), "not proven"),
        (lambda s, a: replace(a.decision, log_proof=s.authority.log.prove(0)), "not proven"),
        (lambda s, a: replace(a.decision, log_proof=a.decision.log_proof.replace("— ", "— x", 1)), "not proven"),
        (lambda s, a: with_grant(s, a, log_index=0), "is entry"),
        (lambda s, a: with_grant(s, a, aud="urn:other/broker"), "made for"),
    ],
    ids=["unlogged", "refusal", "other event", "entry", "no proof", "other proof", "signature", "index", "audience"],
)
def test_no_logged_allow_no_key(
    simulator: GateSimulator,
    allowed: Allowed,
    change: Callable[[GateSimulator, Allowed], Decision],
    reason: str,
) -> None:
    decision = change(simulator, allowed)
    with pytest.raises(GrantError, match=reason):
        simulator.authority.broker.release_key(decision.grant, decision.entry, decision.log_proof)


def test_a_refusal_has_no_grant(simulator: GateSimulator) -> None:
    assert simulator.decide(simulator.request(purpose="demonstration")).grant == ""


def test_a_content_key_of_another_state_folder_does_not_unwrap(simulator: GateSimulator, allowed: Allowed) -> None:
    (simulator.state / "keys" / "broker.kek").write_bytes(bytes(32))
    decision = allowed.decision
    with pytest.raises(KeyFileError, match="does not unwrap"):
        simulator.authority.broker.release_key(decision.grant, decision.entry, decision.log_proof)


def test_keys_do_not_show(simulator: GateSimulator, allowed: Allowed) -> None:
    assert allowed.decision.grant not in repr(allowed.decision)
    assert "bytes" not in repr(allowed.worker)
