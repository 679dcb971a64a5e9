"""Uses are taken by exactly one, survive nothing that died, and are given back only by a logged event."""

from __future__ import annotations

import hashlib
import os
import signal
import sqlite3
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from policy.errors import PolicyError, ReleaseError
from policy.gate_database import open_database, transaction
from policy.uses import LEASE, ProcessIdentity, UseLedger
from tests.policy.child_process import PROCESSES

NOW = datetime(2026, 11, 22, tzinfo=UTC)


class Ledger:
    """A ledger with the list of refunds it logged."""

    def __init__(self, path: Path) -> None:
        self.refunds: list[tuple[str, str, str]] = []
        self.connection: sqlite3.Connection = open_database(path)
        self.uses = UseLedger(self.connection, log_refund=lambda *event: self.refunds.append(event))

    def reserve(self, name: str, seconds: float = 3.0, most: int = 5) -> bool:
        """What the gate does: read the standing and reserve in one transaction."""
        with transaction(self.connection):
            if self.uses.standing("c").used >= most:
                return False
            self.uses.reserve(name, consent="c", decision="d", duration_ms=round(seconds * 1000), now=NOW)
        return True


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "gate.sqlite")


def test_a_use_goes_from_reserved_over_delivering_to_consumed(ledger: Ledger, tmp_path: Path) -> None:
    assert ledger.reserve("r")
    assert (ledger.uses.standing("c").used, ledger.uses.standing("c").used_ms) == (1, 3000)
    ledger.uses.deliver("r", output=tmp_path / "clip.mp4", part=None, clip_sha256="ab" * 32, log_index=9)
    ledger.uses.consume("r", NOW)
    (use,) = ledger.uses.uses("c")
    assert (use.state, use.clip_sha256, use.log_index) == ("consumed", "ab" * 32, 9)
    assert not ledger.uses.refund("r", "too late", NOW)
    assert ledger.uses.standing("c").used == 1
    assert ledger.refunds == []


def test_a_refund_is_logged_and_frees_the_use(ledger: Ledger) -> None:
    ledger.reserve("r")
    assert ledger.uses.refund("r", "it broke", NOW)
    assert ledger.refunds == [("r", "d", "it broke")]
    assert ledger.uses.standing("c").used == 0
    assert not ledger.uses.refund("r", "again", NOW)


def test_a_refund_that_cannot_be_logged_does_not_count(ledger: Ledger) -> None:
    def broken_log(*event: str) -> None:
        raise PolicyError("the log is full")

    ledger.reserve("r")
    uses = UseLedger(ledger.connection, log_refund=broken_log)
    with pytest.raises(PolicyError, match="full"):
        uses.refund("r", "it broke", NOW)
    assert uses.standing("c").used == 1


def test_nothing_can_be_done_with_a_refunded_use(ledger: Ledger, tmp_path: Path) -> None:
    ledger.reserve("r")
    ledger.uses.refund("r", "it broke", NOW)
    steps: list[Callable[[], None]] = [
        lambda: ledger.uses.renew("r", NOW),
        lambda: ledger.uses.deliver("r", output=tmp_path / "x", part=None, clip_sha256="0", log_index=9),
        lambda: ledger.uses.consume("r", NOW),
    ]
    for step in steps:
        with pytest.raises(ReleaseError, match="reserved use is gone"):
            step()


def test_a_live_process_keeps_its_use_until_the_lease_ends(ledger: Ledger) -> None:
    ledger.reserve("r")
    assert ledger.uses.recover(NOW + LEASE - timedelta(seconds=1)) == 0
    ledger.uses.renew("r", NOW + timedelta(minutes=5))
    assert ledger.uses.recover(NOW + LEASE) == 0
    assert ledger.uses.recover(NOW + timedelta(minutes=5) + LEASE) == 1
    assert ledger.uses.standing("c").used == 0
    assert len(ledger.refunds) == 1


def reserve_and_wait(path: Path) -> None:
    Ledger(path).reserve("r")
    time.sleep(60)


def test_the_use_of_a_killed_process_is_recovered(ledger: Ledger, tmp_path: Path) -> None:
    child = PROCESSES.Process(target=reserve_and_wait, args=(tmp_path / "gate.sqlite",))
    child.start()
    while ledger.uses.standing("c").used == 0:
        time.sleep(0.01)
    assert ledger.uses.recover(NOW) == 0
    assert child.pid
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    assert ledger.uses.recover(NOW) == 1
    assert ledger.uses.standing("c").used == 0


@pytest.mark.parametrize("handed_out", [True, False])
def test_a_death_around_the_hand_out_is_settled_by_what_is_there(
    ledger: Ledger, tmp_path: Path, handed_out: bool
) -> None:
    out, part = tmp_path / "clip.mp4", tmp_path / ".clip.mp4.part"
    out.write_bytes(b"clip" if handed_out else b"an older file")
    part.write_bytes(b"half")
    ledger.reserve("r")
    sha256 = "7aed44c7e1a1b12d8caed7c89097ef5fbb1b88ee4f6d5e0ee1e3b7b9a9d6f9b0"
    if handed_out:
        sha256 = hashlib.sha256(b"clip").hexdigest()
    ledger.uses.deliver("r", output=out, part=part, clip_sha256=sha256, log_index=9)
    assert ledger.uses.recover(NOW + LEASE) == 1
    assert ledger.uses.standing("c").used == int(handed_out)
    assert len(ledger.refunds) == int(not handed_out)
    assert not part.exists()
    assert out.exists()


def test_a_pipe_in_place_of_the_clip_is_not_waited_for(ledger: Ledger, tmp_path: Path) -> None:
    out = tmp_path / "clip.mp4"
    os.mkfifo(out)
    ledger.reserve("r")
    ledger.uses.deliver("r", output=out, part=None, clip_sha256=hashlib.sha256(b"").hexdigest(), log_index=9)
    assert ledger.uses.recover(NOW + LEASE) == 1
    assert ledger.uses.standing("c").used == 0


def test_a_process_id_that_was_given_to_someone_else_counts_as_gone() -> None:
    current = ProcessIdentity.current()
    assert not current.is_gone()
    assert ProcessIdentity(current.host, current.pid, "1").is_gone()
    assert not ProcessIdentity("another machine", current.pid, "1").is_gone()


def race(path: Path, names: list[str], most: int, start: Barrier, results: Queue[int]) -> None:
    ledger = Ledger(path)
    start.wait(60)
    results.put(sum(ledger.reserve(name, most=most) for name in names))


def test_processes_racing_for_the_last_uses_get_exactly_those(tmp_path: Path) -> None:
    path = tmp_path / "gate.sqlite"
    Ledger(path).connection.close()
    workers, rounds, most = 4, 10, 7
    start, results = PROCESSES.Barrier(workers), PROCESSES.Queue()
    names = [[f"{number}.{count}" for count in range(rounds)] for number in range(workers)]
    processes = [PROCESSES.Process(target=race, args=(path, mine, most, start, results)) for mine in names]
    for process in processes:
        process.start()
    won = sum(results.get(timeout=30) for _ in processes)
    for process in processes:
        process.join()
    assert won == most
    assert Ledger(path).uses.standing("c").used == most
