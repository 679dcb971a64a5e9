"""The gate's own SQLite file: uses, proofs seen, private records of what the public log commits to.

A commit is on the disk before it returns, unless the caller has `WriteAheadSync` do that beside other work. In
write-ahead mode a commit only appends to the file `...-wal`, so one `fdatasync` of that file is all that is missing
(or, where another commit copied it over meanwhile, SQLite did it first). What is committed but not yet on the disk
outlives the process, and is lost as a whole, never in part, when the power fails.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

BUSY_TIMEOUT_S = 10.0


def open_database(path: Path, *, any_thread: bool = False) -> sqlite3.Connection:
    """Open or create, mode 0600, write-ahead log, every commit on the disk before it returns.

    `any_thread`: for whoever lets one thread at a time use it, but not always the same.
    """
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    connection = sqlite3.connect(path, isolation_level=None, timeout=BUSY_TIMEOUT_S, check_same_thread=not any_thread)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


class WriteAheadSync:
    """Puts what was committed to one database on the disk, in a thread of its own."""

    def __init__(self, path: Path) -> None:
        self._written_ahead = path.with_name(f"{path.name}-wal")
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="gate-sync")

    def start(self) -> Future[None]:
        """Begin; done when all that was committed before is on the disk, or with the OSError that kept it off."""
        return self._thread.submit(self._sync)

    def close(self) -> None:
        """End the thread once it is done."""
        self._thread.shutdown()

    def _sync(self) -> None:
        descriptor = os.open(self._written_ahead, os.O_RDWR)
        try:
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def transaction(connection: sqlite3.Connection, *, synced: bool = True) -> Iterator[None]:
    """One write transaction that holds the write lock from its first statement (BEGIN IMMEDIATE).

    Without `synced` it is not on the disk until a `WriteAheadSync` that was started after it is done.
    """
    if not synced:
        connection.execute("PRAGMA synchronous = NORMAL")
    try:
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")
    finally:
        if not synced:
            connection.execute("PRAGMA synchronous = FULL")
