"""The gate's own list of depicted persons' keys, filled at enrolment and never by a consent.

A consent names the key that signed it; only a key on this list counts. So whoever steals the registry's
signing key still can't consent in someone's name: the person's device key is missing.
"""

from __future__ import annotations

import sqlite3
from datetime import datetime

SCHEMA = """
CREATE TABLE IF NOT EXISTS subject_keys (
    pseudonym TEXT NOT NULL, key TEXT NOT NULL, enrolled_at INTEGER NOT NULL, revoked_at INTEGER,
    PRIMARY KEY (pseudonym, key)
) STRICT, WITHOUT ROWID;
"""


class SubjectKeys:
    """Enrolled keys by pseudonym, in the gate's database."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        connection.executescript(SCHEMA)

    def enrol(self, pseudonym: str, key: str, now: datetime) -> None:
        """Add a key (base64url SubjectPublicKeyInfo); a revoked one stays revoked."""
        self._connection.execute(
            "INSERT OR IGNORE INTO subject_keys VALUES (?, ?, ?, NULL)", (pseudonym, key, int(now.timestamp()))
        )

    def revoke(self, key: str, now: datetime) -> int:
        """Stop taking a key, for good, whoever enrolled it; how many entries that were good ended."""
        return self._connection.execute(
            "UPDATE subject_keys SET revoked_at = ? WHERE key = ? AND revoked_at IS NULL", (int(now.timestamp()), key)
        ).rowcount

    def of(self, pseudonym: str) -> tuple[str, ...]:
        """The keys of a person that count now."""
        rows = self._connection.execute(
            "SELECT key FROM subject_keys WHERE pseudonym = ? AND revoked_at IS NULL ORDER BY key", (pseudonym,)
        )
        return tuple(key for (key,) in rows)
