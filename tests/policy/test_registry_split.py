"""Registry and gate in folders of their own: each works, and neither holds the other's private keys."""

from __future__ import annotations

import json
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from policy import (
    Authority,
    KeyFileError,
    PolicyError,
    Refused,
    SoftwareAuthenticator,
    StateError,
    TokenError,
    UnknownTokenError,
    public_jwk,
    split_registry,
    thumbprint,
)
from policy.keys import read_private_key
from policy.status_service import serve_status
from provenance import verify_clip, verify_log_proof
from tests.policy.conftest import SUBJECT, GateSimulator, MovingPicture, inspect_once, jti_of, pipeline_of, speech_wav


class TwoMachines:
    """One folder taken apart; `simulator.authority` stays the registry's, `gate` is the other."""

    def __init__(self, folder: Path) -> None:
        self.simulator = simulator = GateSimulator(folder, datetime.now(UTC))
        simulator.clock.now = datetime.now(UTC)
        self.before = simulator.consent()
        simulator.decide(simulator.request(self.before))
        self.log_before = simulator.authority.log.size, simulator.authority.log.origin
        simulator.authority.close()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.address = f"http://127.0.0.1:{self.port}"
        split_registry(simulator.state, folder / "gate", self.address)
        simulator.authority = Authority.open(simulator.state, clock=simulator.clock)
        self.gate = Authority.open(folder / "gate", clock=simulator.clock)

    @contextmanager
    def serving(self) -> Iterator[None]:
        """The registry's status lists, as a process of its own would serve them."""
        stop, ready = threading.Event(), threading.Event()

        def serve() -> None:
            with Authority.open(self.simulator.state, clock=self.simulator.clock) as registry:
                ready.set()
                serve_status(registry.status_lists, "127.0.0.1", self.port, stop=stop)

        thread = threading.Thread(target=serve)
        thread.start()
        ready.wait(30)
        try:
            for _ in range(100):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                        break
                threading.Event().wait(0.05)
            yield
        finally:
            stop.set()
            thread.join()

    def close(self) -> None:
        self.gate.close()
        self.simulator.authority.close()


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[TwoMachines]:
    made = TwoMachines(tmp_path)
    yield made
    made.close()


def secrets_in(folder: Path) -> set[bytes]:
    """Every private key and secret under a folder, in whatever file."""
    found = {path.read_bytes() for path in folder.rglob("*") if path.suffix in (".key", ".kek")}
    pem = (path.read_bytes() for path in folder.rglob("*.pem"))
    return found | {text for text in pem if b"PRIVATE" in text}


def test_neither_folder_holds_a_private_key_of_the_other(machines: TwoMachines) -> None:
    registry, gate = machines.simulator.state, machines.gate.folder
    assert not secrets_in(registry) & secrets_in(gate)
    assert {path.name for path in (registry / "keys").iterdir()} == {
        "registry.pem", "accreditation.pem", "pseudonym.key", "registry-log.pem", "ring.json",
    }  # fmt: skip
    gone = {"registry.pem", "accreditation.pem", "pseudonym.key", "registry.sqlite", "evidence"}
    assert not gone & {path.name for path in gate.rglob("*")}
    assert {path.stat().st_mode & 0o077 for path in (gate / "keys").iterdir()} == {0}
    assert gate.stat().st_mode & 0o777 == 0o700
    private = read_private_key(registry / "keys" / "registry.pem").private_bytes_raw()
    assert not any(private in path.read_bytes() for path in gate.rglob("*") if path.is_file())


def test_a_clip_is_made_at_the_gate_under_consents_of_the_registry_old_and_new(
    machines: TwoMachines, tmp_path: Path
) -> None:
    simulator = machines.simulator
    simulator.audio = speech_wav(4.0)
    after = simulator.consent()
    with machines.serving():
        pipeline = pipeline_of(machines.gate, MovingPicture())
        for number, consent in enumerate((machines.before, after)):
            receipt = pipeline.release(simulator.request(consent), tmp_path / f"{number}.mp4")
            assert verify_clip(receipt.out, machines.gate.trust_anchors).state == "verified"
            assert [use.state for use in machines.gate.uses(jti_of(consent))][-1] == "consumed"
        simulator.authority.withdraw(jti_of(after))
        machines.gate.close()
        machines.gate = Authority.open(machines.gate.folder, clock=simulator.clock)
        with pytest.raises(Refused) as refused:
            pipeline_of(machines.gate, MovingPicture()).release(simulator.request(after), tmp_path / "no.mp4")
        assert [one.rule_id for one in refused.value.decision.denials] == ["consent.revoked"]


def test_without_the_registrys_lists_the_gate_refuses(machines: TwoMachines) -> None:
    decision = machines.gate.gate().decide(machines.simulator.request(machines.before), worker_key=bytes(32))
    assert {one.rule_id for one in decision.denials} >= {"consent.status_unknown", "accreditation.status_unknown"}


def test_each_side_says_what_is_done_on_the_other(machines: TwoMachines) -> None:
    simulator, gate = machines.simulator, machines.gate
    for act in (
        lambda: gate.consents(),
        lambda: gate.enrol_subject(SUBJECT, simulator.device.credential),
        lambda: gate.issue_consent(simulator.terms(), simulator.device),
        lambda: gate.withdraw(jti_of(machines.before)),
        lambda: gate.status_lists(),
        lambda: simulator.authority.gate(),
    ):
        with pytest.raises(StateError, match="another machine"):
            act()
    with pytest.raises(KeyFileError, match="another machine"):
        gate.rotate_key("registry")
    with pytest.raises(KeyFileError, match="another machine"):
        simulator.authority.rotate_key("gate")
    with pytest.raises(StateError, match="its gate is on another machine"):
        assert machines.simulator.authority.trust_anchors


def test_the_log_goes_with_the_gate_and_the_registry_begins_its_own(machines: TwoMachines) -> None:
    size, origin = machines.log_before
    registry = machines.simulator.authority
    assert (machines.gate.log.origin, machines.gate.log.size) == (origin, size)
    assert registry.log.origin != origin
    assert registry.log_public_key != machines.gate.log_public_key
    receipt = registry.withdraw(jti_of(machines.before))
    entry = registry.log.entry(receipt.log_index)
    assert verify_log_proof(receipt.log_proof, entry, origin=registry.log.origin, public_key=registry.log_public_key)


def test_a_rotated_registry_key_is_taken_once_the_gate_believes_it(machines: TwoMachines) -> None:
    simulator = machines.simulator
    machines.before = simulator.consent(uses=10)
    simulator.authority.rotate_key("registry")
    simulator.authority.close()
    simulator.authority = Authority.open(simulator.state, clock=simulator.clock)
    after = simulator.consent(uses=10)
    with machines.serving():
        assert "consent.unknown_key" in rules(machines, after)
        new = public_jwk(simulator.authority.key_ring.public_key("registry"))["x"]
        machines.gate.believe_key("registry", new)
        assert rules(machines, after) == rules(machines, machines.before) == set()
        (old,) = machines.gate.key_ring.file.retired["registry"]
        machines.gate.revoke_key("registry", thumbprint(old.public))
        assert rules(machines, machines.before) == {"consent.unknown_key"}
    for wrong in ("", "no key", new[:-1]):
        with pytest.raises(PolicyError, match="Ed25519"):
            machines.gate.believe_key("registry", wrong)
    with pytest.raises(PolicyError, match="already"):
        machines.gate.believe_key("registry", new)
    with pytest.raises(PolicyError, match="lies here"):
        simulator.authority.believe_key("registry", new)


def test_a_person_is_enrolled_at_the_gate_by_pseudonym_and_a_lost_device_ends_there(machines: TwoMachines) -> None:
    simulator, device = machines.simulator, SoftwareAuthenticator.create()
    simulator.authority.enrol_subject("Another Person", device.credential)
    simulator.device = device
    consent = simulator.consent(subject="Another Person")
    with machines.serving():
        assert rules(machines, consent) == {"consent.subject_not_enrolled"}
        pseudonym = simulator.authority.pseudonym_of("Another Person")
        machines.gate.enrol_subject_at_gate(pseudonym, device.credential)
        assert rules(machines, consent) == set()
        machines.gate.revoke_subject_key_at_gate(device.credential.public_key)
        assert rules(machines, consent) == {"consent.subject_not_enrolled"}
    with pytest.raises(UnknownTokenError):
        machines.gate.revoke_subject_key_at_gate(device.credential.public_key)
    with pytest.raises(TokenError, match="pseudonym"):
        machines.gate.enrol_subject_at_gate("Another Person", device.credential)


def test_each_side_erases_its_own_records_once_their_retention_ended(machines: TwoMachines) -> None:
    simulator, gate = machines.simulator, machines.gate
    jti, events = jti_of(machines.before), gate.stores.events
    (decision,) = [one.decision for one in events.about(jti) if one.event == "decision"]
    assert decision is not None
    size = gate.log.size
    assert gate.erase_due() == ()
    simulator.clock.advance(days=30 + 3 * 365)
    assert simulator.authority.erase_due() == (jti,)
    assert events.find_decision(decision) is not None  # the registry reaches nothing at the gate
    assert gate.erase_due() == (jti,)
    assert events.about(jti) == ()
    assert events.find_decision(decision) is None
    entries = [json.loads(gate.log.entry(index)) for index in range(gate.log.size)]
    assert [entry["event"] for entry in entries[size:]] == ["consent.erased"]
    assert jti not in str(entries)
    assert gate.erase_due() == ()


def test_the_gate_erases_a_record_that_its_registry_names_but_not_that_of_a_good_consent(machines: TwoMachines) -> None:
    simulator, gate = machines.simulator, machines.gate
    jti = jti_of(machines.before)
    with pytest.raises(StateError, match="good until"):
        gate.erase_at_gate([jti])
    simulator.clock.advance(days=31)  # expired, and by the gate's own counting not due for years
    assert gate.erase_due() == ()
    with pytest.raises(UnknownTokenError):
        gate.erase_at_gate([jti, "0" * 32])
    assert gate.stores.events.about(jti)
    assert gate.erase_at_gate([jti]) == (jti,)
    assert gate.stores.events.about(jti) == ()
    with pytest.raises(UnknownTokenError):
        gate.erase_at_gate([jti])
    with pytest.raises(StateError, match="registry is here"):
        simulator.authority.erase_at_gate([jti])


def test_a_split_that_can_not_be_made_leaves_the_folder_as_it_was(tmp_path: Path) -> None:
    simulator = GateSimulator(tmp_path)
    simulator.authority.close()
    before = {path: path.read_bytes() for path in simulator.state.rglob("*") if path.is_file()}
    (tmp_path / "taken").mkdir()
    with pytest.raises(StateError, match="there already"):
        split_registry(simulator.state, tmp_path / "taken", "https://registry.example:8600")
    with pytest.raises(PolicyError, match="expected http"):
        split_registry(simulator.state, tmp_path / "gate", "registry.example")
    assert {path: path.read_bytes() for path in simulator.state.rglob("*") if path.is_file()} == before
    assert {path.name for path in tmp_path.iterdir()} == {"state", "taken"}
    split_registry(simulator.state, tmp_path / "gate", "https://registry.example:8600")
    for folder in (simulator.state, tmp_path / "gate"):
        with pytest.raises(StateError, match="split before"):
            split_registry(folder, tmp_path / "again", "https://registry.example:8600")
    shutil.rmtree(tmp_path / "gate")


def rules(machines: TwoMachines, consent: str) -> set[str]:
    """The rules by which the gate, opened anew, refuses."""
    machines.gate.close()
    machines.gate = Authority.open(machines.gate.folder, clock=machines.simulator.clock)
    gate = machines.gate.gate(inspect=inspect_once)
    return {one.rule_id for one in gate.decide(machines.simulator.request(consent), worker_key=bytes(32)).denials}
