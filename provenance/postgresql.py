"""A store in PostgreSQL: each kind of store has a schema of its own in one database, `vasari_log` and so on.

Writers of one store wait for each other on an advisory lock that the transaction holds, commits are on the disk before
they count (`synchronous_commit`), and a connection that the server closed is opened again before the next statement.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import urlsplit

from provenance.errors import ProvenanceError

try:
    import psycopg
except ImportError:  # an optional dependency
    psycopg = None  # type: ignore[assignment]

CONNECT_TIMEOUT_S = 10
LOCK_TIMEOUT_S = 60


class PostgresqlDatabase:
    """A `Database` at the address `url`; tables are made when they are missing."""

    def __init__(self, url: str, kind: str, schema: str, *, version: int, error: type[ProvenanceError]) -> None:
        parts = urlsplit(url)
        self._url, self._error, self._space = url, error, f"vasari_{kind}"
        self._name = f"postgresql://{parts.hostname or ''}{parts.path} {self._space}"
        self._lock_number = int.from_bytes(hashlib.sha256(self._space.encode()).digest()[:8], "big", signed=True)
        if psycopg is None:
            raise error(f"{self._name}: PostgreSQL needs one more package: pip install 'vasari[postgresql]'")
        if parts.password or "password=" in parts.query:
            raise error(f"{self._name}: leave the password out of the address; libpq reads it from ~/.pgpass")
        self._connection = self._connect()
        try:
            found = self._make_once(schema, version)
        except ProvenanceError:
            self.close()
            raise
        if found != version:
            self.close()
            raise error(f"{self._name}: has schema version {found}, this program knows version {version}")

    @property
    def name(self) -> str:
        """The address without user and options."""
        return self._name

    def execute(self, statement: str, values: Sequence[object] = ()) -> "psycopg.Cursor[tuple[object, ...]]":
        """See `Database`."""
        if self._connection.closed:
            self._connection = self._connect()
        try:
            return self._connection.execute(statement.replace("?", "%s").encode(), values or None)
        except psycopg.Error as cause:
            raise self._error(f"{self._name}: {str(cause).strip()}") from cause

    def executemany(self, statement: str, rows: Iterable[Sequence[object]]) -> None:
        """See `Database`."""
        try:
            with self._connection.cursor() as cursor:
                cursor.executemany(statement.replace("?", "%s").encode(), rows)
        except psycopg.Error as cause:
            raise self._error(f"{self._name}: {str(cause).strip()}") from cause

    @contextmanager
    def write(self, *, group: bool = False) -> Iterator[None]:
        """See `Database`."""
        self.execute("BEGIN")
        try:
            self.execute("SELECT pg_advisory_xact_lock(?)", (self._lock_number,))
            yield
            self.execute("COMMIT")
        except BaseException:
            if not self._connection.closed:
                self._connection.rollback()
            raise

    def close(self) -> None:
        """See `Database`."""
        self._connection.close()

    def _connect(self) -> "psycopg.Connection[tuple[object, ...]]":
        try:
            connection = psycopg.connect(self._url, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S)
            connection.execute(f"SET search_path = {self._space}".encode())
            connection.execute("SET synchronous_commit = on")
            connection.execute(f"SET lock_timeout = '{LOCK_TIMEOUT_S}s'".encode())
        except psycopg.Error as cause:
            raise self._error(f"{self._name}: {str(cause).strip()}") from cause
        return connection

    def _make_once(self, schema: str, version: int) -> int:
        with self.write():
            self.execute(f"CREATE SCHEMA IF NOT EXISTS {self._space}")
            self.execute("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL)")
            row = self.execute("SELECT version FROM schema_version").fetchone()
            if row is None:
                self.execute(schema)
                self.execute("INSERT INTO schema_version VALUES (?)", (version,))
                return version
            return int(str(row[0]))
