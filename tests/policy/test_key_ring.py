"""Keys of the roles: moved, encrypted, rotated, revoked; in hardware modules; by the whole gate and a real release."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from policy import Authority, KeyFileError, PolicyError, thumbprint
from policy.keys import read_private_key
from provenance import verify_clip
from tests.policy.conftest import GateSimulator, MovingPicture, pipeline_of, speech_wav

PASSPHRASE = b"correct horse battery staple"


def rules(simulator: GateSimulator, consent: str) -> set[str]:
    return {denial.rule_id for denial in simulator.decide(simulator.request(consent)).denials}


def test_rotated_registry_key_leaves_earlier_consents_good(simulator: GateSimulator) -> None:
    before = simulator.consent()
    simulator.authority.rotate_key("registry")
    simulator.reopen()
    after = simulator.consent()
    assert rules(simulator, before) == rules(simulator, after) == set()


def test_revoked_registry_key_ends_its_consents_and_no_others(simulator: GateSimulator) -> None:
    before = simulator.consent()
    old = thumbprint(simulator.authority.key_ring.signing_key("registry"))
    simulator.authority.rotate_key("registry")
    simulator.reopen()
    after = simulator.consent()
    simulator.authority.revoke_key("registry", old)
    simulator.reopen()
    assert rules(simulator, before) == {"consent.unknown_key"}
    assert rules(simulator, after) == set()


def test_active_key_is_not_revoked(simulator: GateSimulator) -> None:
    active = thumbprint(simulator.authority.key_ring.signing_key("registry"))
    with pytest.raises(PolicyError, match="rotate registry"):
        simulator.authority.revoke_key("registry", active)


def test_grant_of_the_gates_old_key_opens_nothing(simulator: GateSimulator) -> None:
    decision = simulator.decide(simulator.request())
    simulator.authority.rotate_key("gate")
    simulator.reopen()
    with pytest.raises(PolicyError, match="not trusted"):
        simulator.authority.broker.release_key(decision.grant, decision.entry, decision.log_proof)


def test_key_changes_are_logged(simulator: GateSimulator) -> None:
    simulator.authority.rotate_key("gate")
    entry = simulator.authority.log.entry(simulator.authority.log.size - 1)
    assert b'"event":"key.rotated"' in entry


def test_encrypted_key_file_is_used_with_its_passphrase_file(simulator: GateSimulator, tmp_path: Path) -> None:
    passphrase = tmp_path / "passphrase"
    passphrase.write_bytes(PASSPHRASE)
    passphrase.chmod(0o600)
    simulator.authority.protect_key("gate", PASSPHRASE, passphrase_file=passphrase)
    assert b"ENCRYPTED PRIVATE KEY" in (simulator.state / "keys" / "gate.pem").read_bytes()
    with pytest.raises(KeyFileError):
        read_private_key(simulator.state / "keys" / "gate.pem")
    simulator.reopen()
    assert simulator.decide(simulator.request()).allowed


def test_encrypted_key_file_without_passphrase_opens_nothing(simulator: GateSimulator) -> None:
    simulator.authority.protect_key("gate", PASSPHRASE)
    simulator.authority.close()
    with pytest.raises(KeyFileError, match="is encrypted"):
        Authority.open(simulator.state, clock=simulator.clock)


def test_another_key_is_not_taken_for_a_moved_one(simulator: GateSimulator) -> None:
    with pytest.raises(KeyFileError, match="holds another key"):
        simulator.authority.move_key("gate", "file:keys/registry.pem")


def test_damaged_ring_opens_nothing(simulator: GateSimulator) -> None:
    simulator.authority.rotate_key("gate")
    ring = simulator.state / "keys" / "ring.json"
    ring.write_bytes(ring.read_bytes().replace(b"uris", b"urls"))
    simulator.authority.close()
    with pytest.raises(KeyFileError, match="not as expected"):
        Authority.open(simulator.state, clock=simulator.clock)


def test_key_encryption_key_rotates_and_the_old_one_opens_nothing(simulator: GateSimulator) -> None:
    old = (simulator.state / "content-keys.json").read_bytes()
    simulator.authority.rotate_key("kek")
    simulator.reopen()
    decision = simulator.decide(simulator.request())
    assert simulator.authority.broker.release_key(decision.grant, decision.entry, decision.log_proof)
    (simulator.state / "content-keys.json").write_bytes(old)
    simulator.reopen()
    again = simulator.decide(simulator.request())
    with pytest.raises(KeyFileError, match="does not unwrap"):
        simulator.authority.broker.release_key(again.grant, again.entry, again.log_proof)


def test_clip_is_released_with_every_key_in_a_hardware_module(tmp_path: Path, hsm: str) -> None:
    simulator = GateSimulator(tmp_path, datetime.now(UTC))
    simulator.clock.now = datetime.now(UTC)
    authority = simulator.authority
    for role in ("gate", "registry", "claim", "kek"):
        authority.rotate_key(role, hsm.format(role))  # type: ignore[arg-type]
    assert not (simulator.state / "pki" / "claim_signing.key").exists()
    simulator.reopen()
    simulator.audio = speech_wav()
    out = tmp_path / "clip.mp4"
    pipeline_of(simulator.authority, MovingPicture()).release(simulator.request(), out)
    assert verify_clip(out, simulator.authority.trust_anchors).state == "verified"
    simulator.authority.close()


def test_log_keeps_its_key(simulator: GateSimulator) -> None:
    with pytest.raises(PolicyError, match="a log keeps its key"):
        simulator.authority.rotate_key("log")
