"""A private SQLite file: mode 0600, write-ahead log, fully synchronous, schema version checked.

The write-ahead log is copied into the file early, so that the next commits overwrite it: a commit that makes it longer
takes the file system twice as long to put on the disk.
"""

import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType

from provenance.errors import ProvenanceError

BUSY_TIMEOUT_S = 60.0
_MAKING = threading.Lock()
"""Else a thread could connect before another one has closed the file that it made."""
_PAGES_BEFORE_CHECKPOINT = 500  # of the write-ahead log
_PAGES_OF_A_GROUP = 10_000  # a large group is not written twice at once


class SqliteDatabase:
    """A `provenance.database.Database` in one file; each store holds its own lock around its statements."""

    def __init__(
        self,
        path: Path,
        schema: str,
        *,
        version: int,
        error: type[ProvenanceError],
        upgrades: Mapping[int, str] = MappingProxyType({}),
    ) -> None:
        self._path, self._error = path, error
        self._connection = open_database(path, schema, version=version, error=error, upgrades=upgrades)
        self._pages = 0

    @property
    def name(self) -> str:
        """The file's path."""
        return str(self._path)

    def execute(self, statement: str, values: Sequence[object] = ()) -> sqlite3.Cursor:
        """See `Database`."""
        try:
            return self._connection.execute(statement, values)  # type: ignore[arg-type]
        except sqlite3.Error as cause:
            raise self._error(f"{self._path}: {cause}") from cause

    def executemany(self, statement: str, rows: Iterable[Sequence[object]]) -> None:
        """See `Database`."""
        try:
            self._connection.executemany(statement, rows)  # type: ignore[arg-type]
        except sqlite3.Error as cause:
            raise self._error(f"{self._path}: {cause}") from cause

    @contextmanager
    def write(self, *, group: bool = False) -> Iterator[None]:
        """See `Database`."""
        self._checkpoint_after(_PAGES_OF_A_GROUP if group else _PAGES_BEFORE_CHECKPOINT)
        self.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def close(self) -> None:
        """See `Database`."""
        self._connection.close()

    def _checkpoint_after(self, pages: int) -> None:
        if pages != self._pages:
            self.execute(f"PRAGMA wal_autocheckpoint = {pages}")
            self._pages = pages


def make_private_file(path: Path) -> None:
    """Make an empty file of mode 0600, unless there is one.

    One that is there isn't opened: closing any descriptor of a database gives up all locks that this process has on it,
    and another process would then delete the write-ahead log, with what was committed to it, under our connections
    (https://www.sqlite.org/howtocorrupt.html, section 2.2).
    """
    with _MAKING, suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


def open_database(
    path: Path,
    schema: str,
    *,
    version: int,
    error: type[ProvenanceError],
    upgrades: Mapping[int, str] = MappingProxyType({}),
) -> sqlite3.Connection:
    """Open `path`, making it with `schema` when it is missing or empty, or leading it up from an older version.

    Raises `error` when the file is damaged or of another schema version. Transactions are explicit.
    """
    make_private_file(path)
    database = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    try:
        _use_write_ahead_log(database)
        database.execute("PRAGMA synchronous = FULL")
        database.execute("PRAGMA trusted_schema = OFF")
        found = _make_schema_once(database, schema, version, upgrades)
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


def _make_schema_once(database: sqlite3.Connection, schema: str, version: int, upgrades: Mapping[int, str]) -> int:
    database.execute("BEGIN IMMEDIATE")
    found = int(database.execute("PRAGMA user_version").fetchone()[0])
    steps = (
        [(version, schema)] if found == 0 else [(n + 1, upgrades[n]) for n in range(found, version) if n in upgrades]
    )
    for reached, script in steps:
        for statement in _statements(script):
            database.execute(statement)
        database.execute(f"PRAGMA user_version = {int(reached)}")
        found = reached
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
