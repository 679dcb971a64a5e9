"""A decision cut off between any two of its durable steps: no key, no use lost or doubled, the log whole."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from policy import Authority, PolicyError, StateError
from policy import gate_database as database
from provenance import verify_consistency
from provenance.checkpoint import verify_checkpoint
from tests.policy.child_process import KILLED, PROCESSES, Task
from tests.policy.conftest import GateSimulator, inspect_once, jti_of

MOMENTS = ("reserved", "checkpoint signed", "logged", "on the disk")


def decide_and_die(task: Task) -> None:
    """Decide on the task's request and end by SIGKILL at `task.kill_at`, one of MOMENTS."""
    authority = Authority.open(task.state, clock=lambda: task.now)
    gate = authority.gate(inspect=lambda *media: task.facts)
    log: Any = authority.log

    def die(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def then_die(act: Callable[..., object]) -> Callable[..., None]:
        return lambda *given: die(act(*given))

    match task.kill_at:
        case "reserved":
            log.append_proven = die
        case "checkpoint signed":
            log._sign_checkpoint = then_die(log._sign_checkpoint)
        case "logged":
            log.append_proven = then_die(log.append_proven)
        case "on the disk":
            gate._granted = die  # type: ignore[assignment, method-assign]
    gate.decide(task.request, worker_key=bytes(32))


def cut_off(simulator: GateSimulator, consent: str, moment: str) -> None:
    request = simulator.request(consent)
    facts = inspect_once(request.portrait, request.audio)
    task = Task(simulator.state, request, facts, simulator.state, simulator.clock(), kill_at=moment)
    child = PROCESSES.Process(target=decide_and_die, args=(task,))
    child.start()
    child.join(120)
    assert child.exitcode == KILLED


def logged(simulator: GateSimulator) -> list[str]:
    """Event and outcome of every entry."""
    log = simulator.authority.log
    entries = [json.loads(log.entry(index)) for index in range(log.size)]
    return [f"{entry['event']} {entry.get('outcome', '')}".strip() for entry in entries]


def tree_of(simulator: GateSimulator) -> tuple[int, bytes]:
    log = simulator.authority.log
    return log.size, log.root()


def assert_extends(simulator: GateSimulator, before: tuple[int, bytes]) -> None:
    """The log extends what it was before, and its checkpoint is good."""
    log, (size, root) = simulator.authority.log, before
    verify_consistency(size, log.size, root, log.root(), log.consistency_proof(size, log.size))
    verify_checkpoint(log.checkpoint(), origin=log.origin, public_key=simulator.authority.log_public_key)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_decision_that_is_killed_gives_its_use_back(simulator: GateSimulator, moment: str) -> None:
    consent = simulator.consent(uses=1)
    before = tree_of(simulator)
    cut_off(simulator, consent, moment)
    simulator.reopen()
    assert_extends(simulator, before)
    (use,) = simulator.authority.uses(jti_of(consent))
    assert use.state == "refunded"
    in_log = moment in ("logged", "on the disk")
    assert logged(simulator)[before[0] :] == [*(["decision allow"] if in_log else []), "use.refunded"]
    assert simulator.decide(simulator.request(consent)).allowed
    assert not simulator.decide(simulator.request(consent)).allowed


def test_a_power_cut_before_the_reservation_is_on_the_disk_takes_no_use(simulator: GateSimulator) -> None:
    """The log has the entry, the gate's database is as it was before: the worst that the order of syncs allows."""
    consent = simulator.consent(uses=1)
    simulator.reopen()  # copies what was written ahead into the file
    before = tree_of(simulator)
    kept = shutil.copy2(simulator.state / "gate.sqlite", simulator.state.parent / "gate.sqlite")
    cut_off(simulator, consent, "logged")
    simulator.authority.close()
    for left in simulator.state.glob("gate.sqlite*"):
        left.unlink()
    shutil.move(kept, simulator.state / "gate.sqlite")
    simulator.reopen()
    assert_extends(simulator, before)
    assert logged(simulator)[before[0] :] == ["decision allow"]
    assert simulator.authority.uses(jti_of(consent)) == ()
    decision = json.loads(simulator.authority.log.entry(before[0]))["decision"]
    with pytest.raises(PolicyError, match="no decision"):
        simulator.authority.replay(decision, simulator.authority.log.entry(before[0]))
    assert simulator.decide(simulator.request(consent)).allowed
    assert not simulator.decide(simulator.request(consent)).allowed


@pytest.mark.parametrize("purpose", ["detector-evaluation", "watermark-research"], ids=["allow", "refusal"])
def test_nothing_is_answered_before_it_is_on_the_disk(
    simulator: GateSimulator, monkeypatch: pytest.MonkeyPatch, purpose: str
) -> None:
    consent = simulator.consent(uses=1)

    def broken(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", broken)
    with pytest.raises(StateError, match="put on the disk"):
        simulator.decide(simulator.request(consent, purpose=purpose))
    monkeypatch.undo()
    assert simulator.decide(simulator.request(consent)).allowed
    assert simulator.used(consent) == 1


def test_what_is_synced_later_is_on_the_disk_when_the_sync_is_done(tmp_path: Path) -> None:
    """The synced file alone, without what the connection holds in memory, has every row."""
    path = tmp_path / "gate.sqlite"
    connection = database.open_database(path)
    connection.execute("CREATE TABLE rows (value INTEGER) STRICT")
    sync = database.WriteAheadSync(path)
    for value in range(3):
        with database.transaction(connection, synced=False):
            connection.execute("INSERT INTO rows VALUES (?)", (value,))
        assert sync.start().get() is None
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("gate.sqlite", "gate.sqlite-wal"):
        shutil.copy2(tmp_path / name, copy / name)
    found = database.open_database(copy / "gate.sqlite")
    assert found.execute("SELECT value FROM rows").fetchall() == [(0,), (1,), (2,)]
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    found.close()
    sync.close()
    connection.close()
