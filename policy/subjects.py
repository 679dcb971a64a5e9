"""The registry's side of a depicted person's keys: who enrolled which, and how far its counter has come."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from datetime import datetime

from policy.errors import PolicyError, TokenError, UnknownTokenError
from policy.subject_device import Credential
from policy.webauthn import Assertion, RelyingParty, decode_subject_key, verify_assertion

SCHEMA = """
CREATE TABLE IF NOT EXISTS subjects (
    credential_id TEXT PRIMARY KEY, person TEXT NOT NULL, key TEXT NOT NULL UNIQUE, sign_count INTEGER NOT NULL,
    enrolled_at INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS subjects_by_person ON subjects (person);
"""


@dataclass(frozen=True)
class Enrolled:
    """One key of one person; `person` is the registry's own pseudonym for them."""

    person: str
    key: str
    sign_count: int


class Subjects:
    """Credentials in the registry's database."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        connection.executescript(SCHEMA)

    def enrol(self, person: str, credential: Credential, now: datetime) -> None:
        """Keep a credential for a person; raises PolicyError when it is another's, TokenError for no key."""
        decode_subject_key(credential.public_key)
        known = self.find(credential.credential_id)
        if known is not None and (known.person, known.key) == (person, credential.public_key):
            return
        try:
            self._connection.execute(
                "INSERT INTO subjects VALUES (?, ?, ?, 0, ?)",
                (credential.credential_id, person, credential.public_key, int(now.timestamp())),
            )
        except sqlite3.IntegrityError as error:
            raise PolicyError("this device is enrolled for another person, or under another key") from error

    def find(self, credential_id: str) -> Enrolled | None:
        """The key of a credential, if any."""
        row = self._connection.execute(
            "SELECT person, key, sign_count FROM subjects WHERE credential_id = ?", (credential_id,)
        ).fetchone()
        return None if row is None else Enrolled(*row)

    def remove(self, credential_id: str) -> Enrolled:
        """Forget a lost device, for good; raises UnknownTokenError when it is not enrolled."""
        enrolled = self.find(credential_id)
        if enrolled is None:
            raise UnknownTokenError(f"no device {credential_id!r:.80} is enrolled here")
        self._connection.execute("DELETE FROM subjects WHERE credential_id = ?", (credential_id,))
        return enrolled

    def verify(self, assertion: Assertion, *, challenge: bytes, party: RelyingParty) -> Enrolled:
        """Whose signature it is; raises TokenError. Call in a transaction: the counter moves on.

        A counter that does not grow means that two devices hold one key (WebAuthn section 6.1.1).
        """
        enrolled = self.find(assertion.credential_id)
        if enrolled is None:
            raise TokenError("unknown_subject", "the device that signed is not enrolled; enrol it first")
        count = verify_assertion(
            assertion, key=decode_subject_key(enrolled.key), challenge=challenge, party=party
        ).sign_count
        if (count or enrolled.sign_count) and count <= enrolled.sign_count:
            raise TokenError(
                "cloned_device", f"the device counts {count} after {enrolled.sign_count}: its key was copied"
            )
        self._connection.execute(
            "UPDATE subjects SET sign_count = ? WHERE credential_id = ?", (count, assertion.credential_id)
        )
        return enrolled
