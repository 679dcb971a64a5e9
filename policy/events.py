"""What the gate writes to the transparency log: commitments in public, the meaning in private.

A log entry names the kind of event, the decision it belongs to and the failing rules, nothing that
points to a person. What it is about goes into the gate's database together with a random salt; the
entry holds only the salted commitment. Deleting salt and detail makes the entry say nothing for ever,
and the tree stays whole.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from policy.canonical import canonical_json, commitment, sha256_hex
from policy.errors import PolicyError

SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    entry_sha256 TEXT PRIMARY KEY,
    event TEXT NOT NULL, decision TEXT, subject TEXT, at INTEGER NOT NULL,
    salt BLOB NOT NULL, detail BLOB NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS events_by_subject ON events (subject);
CREATE INDEX IF NOT EXISTS events_by_decision ON events (decision);
"""


class AppendOnlyLog(Protocol):
    """The part of the transparency log that the gate needs."""

    def append(self, entry: bytes) -> int:
        """Store durably; the entry's index."""
        ...

    def append_proven(self, entry: bytes) -> tuple[int, str]:
        """Store durably, under a signed checkpoint: index and inclusion proof as text."""
        ...


@dataclass(frozen=True)
class Entry:
    """A log entry not yet appended. `data` is what goes into the tree."""

    data: bytes

    @property
    def sha256(self) -> str:
        """Hexadecimal SHA-256 of the entry: what manifests and grants refer to."""
        return sha256_hex(self.data)


@dataclass(frozen=True)
class PrivateRecord:
    """What a log entry is about; with `salt` it opens the commitment in the entry."""

    event: str
    decision: str | None
    at: int
    detail: Mapping[str, Any]
    salt: bytes
    entry_sha256: str


def entry_of(
    event: str,
    about: bytes,
    *,
    salt: bytes,
    at: int,
    decision: str | None,
    public: Mapping[str, str | Sequence[str]] | None,
) -> Entry:
    """The one log entry that these members make: what is recorded, and what a replay must make again."""
    members: dict[str, object] = {"v": 1, "event": event, "at": at, "about": commitment(salt, about)}
    if decision is not None:
        members["decision"] = decision
    return Entry(canonical_json({**(public or {}), **members}))


class EventRecorder:
    """Writes events: private record first, then the public log entry."""

    def __init__(self, connection: sqlite3.Connection, log: AppendOnlyLog) -> None:
        self._connection = connection
        self._log = log
        connection.executescript(SCHEMA)

    def prepare(
        self,
        event: str,
        detail: Mapping[str, object],
        *,
        now: datetime,
        decision: str | None = None,
        subject: str | None = None,
        public: Mapping[str, str | Sequence[str]] | None = None,
    ) -> Entry:
        """Keep the private record (in the caller's transaction, if any) and make the log entry.

        `subject` is the consent or accreditation id by which the record is found again.
        """
        salt, about, at = secrets.token_bytes(32), canonical_json(detail), int(now.timestamp())
        entry = entry_of(event, about, salt=salt, at=at, decision=decision, public=public)
        self._connection.execute(
            "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)",
            (entry.sha256, event, decision, subject, at, salt, about),
        )
        return entry

    def append(self, entry: Entry) -> int:
        """Append to the transparency log; raises PolicyError when that fails, whatever the reason."""
        try:
            return self._log.append(entry.data)
        except Exception as error:
            raise PolicyError(f"the transparency log took no entry: {error}") from error

    def record(
        self,
        event: str,
        detail: Mapping[str, object],
        *,
        now: datetime,
        decision: str | None = None,
        subject: str | None = None,
    ) -> int:
        """`prepare` and `append` in one; the log index."""
        return self.append(self.prepare(event, detail, now=now, decision=decision, subject=subject))

    def append_proven(self, entry: Entry) -> tuple[int, str]:
        """`append` with the proof that the entry is in the log; raises PolicyError when either fails."""
        try:
            return self._log.append_proven(entry.data)
        except Exception as error:
            raise PolicyError(f"the transparency log took no entry: {error}") from error

    def find(self, entry_sha256: str) -> PrivateRecord | None:
        """The private record behind a log entry, unless it was erased."""
        return next(iter(self._records("entry_sha256 = ?", entry_sha256)), None)

    def find_decision(self, decision_id: str) -> PrivateRecord | None:
        """The private record of a decision, unless it was erased."""
        return next(iter(self._records("event = 'decision' AND decision = ?", decision_id)), None)

    def about(self, subject: str) -> tuple[PrivateRecord, ...]:
        """Everything recorded about one consent or accreditation, oldest first."""
        return self._records("subject = ? ORDER BY at, rowid", subject)

    def consents_until(self) -> Mapping[str, datetime]:
        """The consents that decisions were about, by id, and until when each was good as the latest one saw it."""
        rows = self._connection.execute(
            "SELECT subject, MAX(json_extract(CAST(detail AS TEXT), '$.consent.exp')) FROM events "
            "WHERE event = 'decision' AND subject IS NOT NULL GROUP BY subject"
        )
        return {subject: datetime.fromtimestamp(ends, UTC) for subject, ends in rows}

    def erase(self, subject: str) -> int:
        """Forget salts and details of one consent: its log entries say nothing for ever after; how many."""
        return self._connection.execute("DELETE FROM events WHERE subject = ?", (subject,)).rowcount

    def _records(self, where: str, value: str) -> tuple[PrivateRecord, ...]:
        rows = self._connection.execute(
            f"SELECT event, decision, at, detail, salt, entry_sha256 FROM events WHERE {where}",  # noqa: S608
            (value,),
        )
        return tuple(
            PrivateRecord(event, decision, at, json.loads(detail), salt, entry_sha256)
            for event, decision, at, detail, salt, entry_sha256 in rows
        )
