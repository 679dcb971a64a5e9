"""Opening a private SQLite file: mode 0600, write-ahead log, fully synchronous, schema version checked."""

import os
import sqlite3
import time
from pathlib import Path

from provenance.errors import ProvenanceError

BUSY_TIMEOUT_S = 60.0


def open_database(path: Path, schema: str, *, version: int, error: type[ProvenanceError]) -> sqlite3.Connection:
    """Open `path`, making it with `schema` when it is missing or empty.

    Raises `error` when the file is damaged or of another schema version. Transactions are explicit.
    """
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    database = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    try:
        _use_write_ahead_log(database)
        database.execute("PRAGMA synchronous = FULL")
        database.execute("PRAGMA trusted_schema = OFF")
        found = _make_schema_once(database, schema, version)
    except sqlite3.Error as cause:
        database.close()
        raise error(f"{path}: expected a SQLite database of this program, got: {cause}") from cause
    if found != version:
        database.close()
        raise error(f"{path}: has schema version {found}, this program knows version {version}")
    return database


def _use_write_ahead_log(database: sqlite3.Connection) -> None:
    """Switch the journal; SQLite's own busy timeout does not cover this when several processes open at once."""
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            database.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            busy = error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
            if not busy or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _make_schema_once(database: sqlite3.Connection, schema: str, version: int) -> int:
    database.execute("BEGIN IMMEDIATE")
    found = int(database.execute("PRAGMA user_version").fetchone()[0])
    if found == 0:
        for statement in _statements(schema):
            database.execute(statement)
        database.execute(f"PRAGMA user_version = {int(version)}")
        found = version
    database.execute("COMMIT")
    return found


def _statements(schema: str) -> list[str]:
    """Split on complete statements (triggers hold semicolons)."""
    statements, pending = [], ""
    for line in schema.splitlines():
        pending += line + "\n"
        if sqlite3.complete_statement(pending):
            statements.append(pending)
            pending = ""
    return statements
