"""Where manifests outlive their clips: SQLite, looked up by the number the watermark carries, insert-only."""

import sqlite3
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from provenance.clip_fingerprint import join_fingerprints
from provenance.errors import RepositoryError
from provenance.sqlite_file import open_database

MAX_MANIFEST_BYTES = 64 << 20
_SCHEMA_VERSION = 1
_SEGMENTS = (
    """CREATE TABLE IF NOT EXISTS segments (
    id INTEGER NOT NULL, number INTEGER NOT NULL CHECK (number > 0), store BLOB NOT NULL, clip_sha256 TEXT NOT NULL,
    fingerprint BLOB NOT NULL, created_at TEXT NOT NULL, PRIMARY KEY (id, number)) STRICT""",
    """CREATE TRIGGER IF NOT EXISTS segments_stay BEFORE UPDATE ON segments
    BEGIN SELECT RAISE(ABORT, 'insert only'); END""",
    """CREATE TRIGGER IF NOT EXISTS segments_keep BEFORE DELETE ON segments
    BEGIN SELECT RAISE(ABORT, 'insert only'); END""",
)
_SCHEMA = """
CREATE TABLE manifests (
    id INTEGER PRIMARY KEY, store BLOB NOT NULL, clip_sha256 TEXT NOT NULL, fingerprint BLOB NOT NULL,
    created_at TEXT NOT NULL) STRICT;
CREATE INDEX manifests_by_clip ON manifests (clip_sha256);
CREATE TRIGGER manifests_stay BEFORE UPDATE ON manifests BEGIN SELECT RAISE(ABORT, 'insert only'); END;
CREATE TRIGGER manifests_keep BEFORE DELETE ON manifests BEGIN SELECT RAISE(ABORT, 'insert only'); END;
"""


@dataclass(frozen=True)
class StoredManifest:
    """One registered release. `clip_sha256` is lower-case hex of the signed file.

    Of a stream: manifest and file of its first segment, and the fingerprint of all segments so far.
    """

    manifest_id: int
    manifest_store: bytes
    clip_sha256: str
    fingerprint: bytes
    created_at: datetime


class ManifestRepository:
    """Manifests in the SQLite file `path` (made 0600 if missing); safe for threads and processes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._database = open_database(path, _SCHEMA, version=_SCHEMA_VERSION, error=RepositoryError)
        try:
            for statement in _SEGMENTS:
                self._database.execute(statement)
        except sqlite3.Error as error:
            self._database.close()
            raise RepositoryError(f"{path}: {error}") from error

    def __enter__(self) -> "ManifestRepository":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the database file."""
        with self._lock:
            self._database.close()

    def store(
        self,
        manifest_id: int,
        manifest_store: bytes,
        *,
        clip_sha256: str,
        fingerprint: bytes,
        created_at: datetime,
    ) -> None:
        """Register a release durably.

        Storing the same release again does nothing; another one under a taken id is a RepositoryError.
        """
        _check_row(manifest_store, clip_sha256)
        row = (
            _to_signed(manifest_id),
            manifest_store,
            clip_sha256,
            fingerprint,
            created_at.astimezone(UTC).isoformat(),
        )
        with self._lock:
            try:
                self._database.execute("INSERT INTO manifests VALUES (?, ?, ?, ?, ?)", row)
            except sqlite3.IntegrityError as error:
                kept = self._database.execute("SELECT * FROM manifests WHERE id = ?", row[:1]).fetchone()
                if kept != row:
                    raise RepositoryError(
                        f"{self._path}: manifest id {manifest_id:016x} is taken by another release"
                    ) from error
            except sqlite3.Error as error:
                raise RepositoryError(f"{self._path}: {error}") from error

    def store_segment(
        self,
        manifest_id: int,
        number: int,
        manifest_store: bytes,
        *,
        clip_sha256: str,
        fingerprint: bytes,
        created_at: datetime,
    ) -> None:
        """Register segment `number` (from 1) of a stream whose segment 0 was stored as a release.

        Raises RepositoryError when the stream or the segment before isn't there, or this number is taken.
        """
        _check_row(manifest_store, clip_sha256)
        key = _to_signed(manifest_id)
        row = (key, number, manifest_store, clip_sha256, fingerprint, created_at.astimezone(UTC).isoformat())
        before = (
            "SELECT 1 FROM manifests WHERE id = ? AND ? = 0"
            if number == 1
            else "SELECT 1 FROM segments WHERE id = ? AND number = ?"
        )
        with self._lock:
            try:
                if self._database.execute(before, (key, number - 1)).fetchone() is None:
                    raise RepositoryError(f"{self._path}: stream {manifest_id:016x} has no segment {number - 1}")
                self._database.execute("INSERT INTO segments VALUES (?, ?, ?, ?, ?, ?)", row)
            except sqlite3.Error as error:
                raise RepositoryError(f"{self._path}: segment {number} of {manifest_id:016x}: {error}") from error

    def find(self, manifest_id: int) -> StoredManifest | None:
        """The release registered under this id, or None."""
        return self._find("SELECT * FROM manifests WHERE id = ?", _to_signed(manifest_id))

    def find_clip(self, clip_sha256: str) -> StoredManifest | None:
        """The release whose signed file has this SHA-256, or None."""
        return self._find("SELECT * FROM manifests WHERE clip_sha256 = ?", clip_sha256)

    def fingerprints(self, limit: int) -> list[tuple[int, bytes]]:
        """Ids and fingerprints of the latest releases, at most `limit`."""
        with self._lock:
            try:
                rows = self._database.execute(
                    "SELECT id, fingerprint FROM manifests ORDER BY created_at DESC LIMIT ?", (limit,)
                ).fetchall()
            except sqlite3.Error as error:
                raise RepositoryError(f"{self._path}: {error}") from error
        return [(row[0] % 2**64, bytes(row[1])) for row in rows]

    def _find(self, query: str, value: int | str) -> StoredManifest | None:
        with self._lock:
            try:
                row = self._database.execute(query, (value,)).fetchone()
                later = "SELECT fingerprint FROM segments WHERE id = ? ORDER BY number"
                more = [part for (part,) in self._database.execute(later, row[:1])] if row else []
            except sqlite3.Error as error:
                raise RepositoryError(f"{self._path}: {error}") from error
        if row is None:
            return None
        return StoredManifest(
            manifest_id=row[0] % 2**64,
            manifest_store=row[1],
            clip_sha256=row[2],
            fingerprint=join_fingerprints([row[3], *more]) if more else row[3],
            created_at=datetime.fromisoformat(row[4]),
        )


def _check_row(manifest_store: bytes, clip_sha256: str) -> None:
    if not manifest_store or len(manifest_store) > MAX_MANIFEST_BYTES:
        raise RepositoryError(f"manifest store: 1 to {MAX_MANIFEST_BYTES} bytes, got {len(manifest_store)}")
    if len(clip_sha256) != 64 or not set(clip_sha256) <= set("0123456789abcdef"):
        raise RepositoryError("clip_sha256: expected 64 lower-case hex digits")


def _to_signed(manifest_id: int) -> int:
    """SQLite integers are signed 64-bit; ids are unsigned 64-bit."""
    if not 0 <= manifest_id < 2**64:
        raise RepositoryError(f"manifest id: expected a 64-bit unsigned number, got {manifest_id}")
    return manifest_id - 2**64 if manifest_id >= 2**63 else manifest_id
