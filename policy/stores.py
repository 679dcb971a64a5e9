"""The gate's stores, opened together on one database connection."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path

from policy.clock import Clock
from policy.events import AppendOnlyLog, EventRecorder
from policy.gate_database import WriteAheadSync, open_database
from policy.proof_of_possession import ReplayCache
from policy.subject_keys import SubjectKeys
from policy.uses import UseLedger


@dataclass(frozen=True)
class GateStores:
    """Use ledger, replay cache, event recorder and subjects' keys; they share transactions through `connection`.

    `sync` puts on the disk what was committed without waiting for it.
    """

    connection: sqlite3.Connection
    sync: WriteAheadSync
    ledger: UseLedger
    replays: ReplayCache
    events: EventRecorder
    subject_keys: SubjectKeys

    @classmethod
    def open(cls, path: Path, log: AppendOnlyLog, clock: Clock) -> GateStores:
        """Open the gate's database; events go to `log`."""
        connection = open_database(path)
        events = EventRecorder(connection, log)

        def log_refund(reservation_id: str, decision_id: str, reason: str) -> None:
            detail = {"reservation": reservation_id, "reason": reason}
            events.record("use.refunded", detail, now=clock(), decision=decision_id)

        ledger = UseLedger(connection, log_refund=log_refund)
        return cls(connection, WriteAheadSync(path), ledger, ReplayCache(connection), events, SubjectKeys(connection))

    def close(self) -> None:
        """Close the database; what was committed is on the disk then."""
        self.sync.close()
        self.connection.close()
