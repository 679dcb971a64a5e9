"""The gate's own SQLite file: uses, proofs seen, private records of what the public log commits to.

A commit is on the disk before it returns, unless the caller has `WriteAheadSync` do that beside other work. In
write-ahead mode a commit only appends to the file `...-wal`, so one `fdatasync` of that file is all that is missing
(or, where another commit copied it over meanwhile, SQLite did it first). What is committed but not yet on the disk
outlives the process, and is lost as a whole, never in part, when the power fails.
"""

from __future__ import annotations

import os
import sqlite3
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from threading import Thread

from provenance import make_private_file

BUSY_TIMEOUT_S = 10.0

Answer = SimpleQueue[OSError | None]
"""Gives one value: None when it is done, or what went wrong."""


def open_database(path: Path, *, any_thread: bool = False) -> sqlite3.Connection:
    """Open or create, mode 0600, write-ahead log, every commit on the disk before it returns.

    `any_thread`: for whoever lets one thread at a time use it, but not always the same.
    """
    make_private_file(path)
    connection = sqlite3.connect(path, isolation_level=None, timeout=BUSY_TIMEOUT_S, check_same_thread=not any_thread)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


class WriteAheadSync:
    """Puts what was committed to one database on the disk, in a thread of its own."""

    def __init__(self, path: Path) -> None:
        self._asked: SimpleQueue[Answer | None] = SimpleQueue()
        written_ahead = f"{path}-wal"
        self._thread = Thread(target=_sync_when_asked, args=(written_ahead, self._asked), name="gate-sync", daemon=True)
        self._end = weakref.finalize(self, self._asked.put, None)

    def start(self) -> Answer:
        """Begin. The answer comes when all that was committed before is on the disk, or what kept it off."""
        if self._thread.ident is None:
            self._thread.start()
        answer: Answer = SimpleQueue()
        self._asked.put(answer)
        return answer

    def close(self) -> None:
        """End the thread once it is done."""
        self._end()
        if self._thread.ident is not None:
            self._thread.join()


def _sync_when_asked(path: str, asked: SimpleQueue[Answer | None]) -> None:
    while (answer := asked.get()) is not None:
        wrong: OSError | None = OSError("it was not tried")
        try:
            descriptor = os.open(path, os.O_RDWR)
            try:
                os.fdatasync(descriptor)
            finally:
                os.close(descriptor)
            wrong = None
        except OSError as error:
            wrong = error
        finally:
            answer.put(wrong)


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
