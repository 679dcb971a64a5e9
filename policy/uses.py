"""How often a consent was used: reserved by one atomic step, consumed at hand-out only, else given back.

A reservation goes reserved -> delivering -> consumed, or from either of the first two to refunded.
It belongs to a process and has a lease. When the process died or the lease ran out, anyone who opens
the ledger settles it: a clip that was handed out stays consumed, everything else is refunded. Each
refund is logged before it counts.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from policy.errors import ReleaseError
from policy.gate_database import transaction

LEASE = timedelta(minutes=10)

SCHEMA = """
CREATE TABLE IF NOT EXISTS reservations (
    id TEXT PRIMARY KEY,
    consent TEXT NOT NULL,
    decision TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('reserved', 'delivering', 'consumed', 'refunded')),
    duration_ms INTEGER NOT NULL CHECK (duration_ms > 0),
    created_at INTEGER NOT NULL,
    lease_expires_at INTEGER NOT NULL,
    host TEXT NOT NULL, pid INTEGER NOT NULL, started TEXT NOT NULL,
    output TEXT, part TEXT, clip_sha256 TEXT, log_index INTEGER,
    settled_at INTEGER, reason TEXT
) STRICT;
CREATE TABLE IF NOT EXISTS hops (
    reservation TEXT NOT NULL REFERENCES reservations (id), hop TEXT NOT NULL, PRIMARY KEY (hop, reservation)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS reservations_by_consent ON reservations (consent, state);
CREATE INDEX IF NOT EXISTS reservations_open ON reservations (state) WHERE state IN ('reserved', 'delivering');
"""


@dataclass(frozen=True)
class Standing:
    """What a consent's ledger says: uses and milliseconds that are reserved or consumed."""

    used: int
    used_ms: int


@dataclass(frozen=True)
class ConsentUse:
    """One use of a consent, as its subject may see it. Times in seconds since 1970.

    `log_index` is where the decision stands in the transparency log, known once a clip was delivered.
    """

    reservation_id: str
    decision_id: str
    state: str
    duration_ms: int
    created_at: int
    settled_at: int | None
    clip_sha256: str | None
    log_index: int | None
    reason: str | None


@dataclass(frozen=True)
class ProcessIdentity:
    """Names one running process: machine boot and PID namespace, process id, start time in clock ticks."""

    host: str
    pid: int
    started: str

    @classmethod
    def current(cls) -> ProcessIdentity:
        """This process."""
        return _identity_of(os.getpid())

    def is_gone(self) -> bool:
        """True only when the process surely ended; False when it runs or cannot be seen from here."""
        if self == ProcessIdentity.current():
            return False
        return bool(self.host) and self.host == _host() and _start_time(self.pid) != self.started


LogRefund = Callable[[str, str, str], object]
"""(reservation id, decision id, reason): writes the refund to the transparency log, raises if it can't."""


class UseLedger:
    """Reservations in the gate's database."""

    def __init__(self, connection: sqlite3.Connection, *, log_refund: LogRefund) -> None:
        self._connection = connection
        self._log_refund = log_refund
        connection.executescript(SCHEMA)

    def standing(self, consent: str) -> Standing:
        """Uses of this consent that count now."""
        used, used_ms = self._connection.execute(
            "SELECT count(*), coalesce(sum(duration_ms), 0) FROM reservations"
            " WHERE consent = ? AND state IN ('reserved', 'delivering', 'consumed')",
            (consent,),
        ).fetchone()
        return Standing(used, used_ms)

    def hop_standing(self, hop: str) -> Standing:
        """Uses that went through this hop of a delegation (named by the SHA-256 of its token)."""
        used, used_ms = self._connection.execute(
            "SELECT count(*), coalesce(sum(duration_ms), 0) FROM hops JOIN reservations ON id = reservation"
            " WHERE hop = ? AND state IN ('reserved', 'delivering', 'consumed')",
            (hop,),
        ).fetchone()
        return Standing(used, used_ms)

    def reserve(
        self,
        reservation_id: str,
        *,
        consent: str,
        decision: str,
        duration_ms: int,
        now: datetime,
        hops: Sequence[str] = (),
    ) -> None:
        """Take one use, of the consent and of every hop on the way.

        Call inside the transaction in which `standing` and `hop_standing` were read and judged.
        """
        owner, clock = ProcessIdentity.current(), int(now.timestamp())
        self._connection.execute(
            "INSERT INTO reservations (id, consent, decision, state, duration_ms, created_at,"
            " lease_expires_at, host, pid, started) VALUES (?, ?, ?, 'reserved', ?, ?, ?, ?, ?, ?)",
            (reservation_id, consent, decision, duration_ms, clock, clock + int(LEASE.total_seconds()),
             owner.host, owner.pid, owner.started),
        )  # fmt: skip
        self._connection.executemany("INSERT INTO hops VALUES (?, ?)", ((reservation_id, hop) for hop in hops))

    def renew(self, reservation_id: str, now: datetime) -> None:
        """Extend the lease; raises ReleaseError when the reservation was settled by someone else."""
        self._move(
            "UPDATE reservations SET lease_expires_at = ? WHERE id = ? AND state = 'reserved'",
            (int((now + LEASE).timestamp()), reservation_id),
        )

    def deliver(
        self, reservation_id: str, *, output: Path, part: Path | None, clip_sha256: str, log_index: int
    ) -> None:
        """Note where the finished clip is about to appear; raises ReleaseError like `renew`."""
        self._move(
            "UPDATE reservations SET state = 'delivering', output = ?, part = ?, clip_sha256 = ?, log_index = ?"
            " WHERE id = ? AND state = 'reserved'",
            (str(output), str(part) if part else None, clip_sha256, log_index, reservation_id),
        )

    def consume(self, reservation_id: str, now: datetime) -> None:
        """The clip is handed out; raises ReleaseError like `renew`."""
        self._move(
            "UPDATE reservations SET state = 'consumed', settled_at = ? WHERE id = ? AND state = 'delivering'",
            (int(now.timestamp()), reservation_id),
        )

    def refund(self, reservation_id: str, reason: str, now: datetime) -> bool:
        """Log and give back an open reservation; False when it was settled already."""
        with transaction(self._connection):
            row = self._connection.execute(
                "SELECT decision FROM reservations WHERE id = ? AND state IN ('reserved', 'delivering')",
                (reservation_id,),
            ).fetchone()
            if row is None:
                return False
            self._settle_refund(reservation_id, row[0], reason, now)
        return True

    def abandon(self, reservation_id: str) -> None:
        """Let the lease end at once; the next `recover` refunds it (when the log can be written again)."""
        self._connection.execute("UPDATE reservations SET lease_expires_at = 0 WHERE id = ?", (reservation_id,))

    def recover(self, now: datetime) -> int:
        """Settle what dead processes and expired leases left open; returns how many were settled."""
        clock = int(now.timestamp())
        if not self._any_of_others(clock) or not self._abandoned(clock):
            return 0
        with transaction(self._connection):
            rows = self._abandoned(clock)
            for row in rows:
                self._settle_abandoned(row, now)
        return len(rows)

    def uses(self, consent: str) -> tuple[ConsentUse, ...]:
        """Every use of this consent, oldest first, refunded ones included."""
        rows = self._connection.execute(
            "SELECT id, decision, state, duration_ms, created_at, settled_at, clip_sha256, log_index, reason"
            " FROM reservations WHERE consent = ? ORDER BY created_at, rowid",
            (consent,),
        )
        return tuple(ConsentUse(*row) for row in rows)

    def _any_of_others(self, clock: int) -> bool:
        """Whether another process, or an expired lease, has an open row; asked before every decision."""
        me = ProcessIdentity.current()
        found = self._connection.execute(
            "SELECT 1 FROM reservations WHERE state IN ('reserved', 'delivering')"
            " AND (lease_expires_at <= ? OR pid <> ? OR started <> ? OR host <> ?) LIMIT 1",
            (clock, me.pid, me.started, me.host),
        )
        return found.fetchone() is not None

    def _abandoned(self, clock: int) -> list[tuple[Any, ...]]:
        """Open rows whose owner is gone or whose lease ran out; each owner is looked up once."""
        rows = self._connection.execute(
            "SELECT id, decision, host, pid, started, lease_expires_at, output, part, clip_sha256"
            " FROM reservations WHERE state IN ('reserved', 'delivering')"
        ).fetchall()
        gone = {owner: ProcessIdentity(*owner).is_gone() for owner in {row[2:5] for row in rows}}
        return [row for row in rows if clock >= row[5] or gone[row[2:5]]]

    def _settle_abandoned(self, row: tuple[Any, ...], now: datetime) -> None:
        reservation_id, decision, *_, output, part, clip_sha256 = row
        if part:
            Path(part).unlink(missing_ok=True)
        if output and _file_sha256(Path(output)) == clip_sha256:
            self._connection.execute(
                "UPDATE reservations SET state = 'consumed', settled_at = ?, reason = ? WHERE id = ?",
                (int(now.timestamp()), "handed out before its process ended", reservation_id),
            )
        else:
            self._settle_refund(reservation_id, decision, "its process ended before hand-out", now)

    def _settle_refund(self, reservation_id: str, decision: str, reason: str, now: datetime) -> None:
        self._log_refund(reservation_id, decision, reason)
        self._connection.execute(
            "UPDATE reservations SET state = 'refunded', settled_at = ?, reason = ? WHERE id = ?",
            (int(now.timestamp()), reason, reservation_id),
        )

    def _move(self, statement: str, values: tuple[object, ...]) -> None:
        if self._connection.execute(statement, values).rowcount != 1:
            raise ReleaseError(
                "the reserved use is gone: its lease ran out or it was settled by another process; run again"
            )


@cache
def _identity_of(pid: int) -> ProcessIdentity:
    """Of this process, by its id, so that a forked child asks anew."""
    return ProcessIdentity(_host(), pid, _start_time(pid))


@cache
def _host() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _start_time(pid: int) -> str:
    """Field 22 of /proc/PID/stat; empty when there is no such process or it is a zombie."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2]
    except OSError:
        return ""
    state, *fields = after_name.split()
    return "" if state in "ZX" else fields[18]


def _file_sha256(path: Path) -> str | None:
    """None unless a regular file is there; a pipe, which who owns the folder may have put there, is not waited for."""
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            regular = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
            return hashlib.file_digest(file, "sha256").hexdigest() if regular else None
    except OSError:
        return None
