"""Where manifests outlive their clips: a database, looked up by the number the watermark carries, insert-only."""

import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType

from provenance.clip_fingerprint import join_fingerprints
from provenance.database import Place, Schema, open_store
from provenance.errors import RepositoryError

MAX_MANIFEST_BYTES = 64 << 20
_SEGMENTS = """
CREATE TABLE IF NOT EXISTS segments (
    id INTEGER NOT NULL, number INTEGER NOT NULL CHECK (number > 0), store BLOB NOT NULL, clip_sha256 TEXT NOT NULL,
    fingerprint BLOB NOT NULL, created_at TEXT NOT NULL, PRIMARY KEY (id, number)) STRICT;
CREATE TRIGGER IF NOT EXISTS segments_stay BEFORE UPDATE ON segments BEGIN SELECT RAISE(ABORT, 'insert only'); END;
CREATE TRIGGER IF NOT EXISTS segments_keep BEFORE DELETE ON segments BEGIN SELECT RAISE(ABORT, 'insert only'); END;
"""
_SQLITE = """
CREATE TABLE manifests (
    id INTEGER PRIMARY KEY, store BLOB NOT NULL, clip_sha256 TEXT NOT NULL, fingerprint BLOB NOT NULL,
    created_at TEXT NOT NULL) STRICT;
CREATE INDEX manifests_by_clip ON manifests (clip_sha256);
CREATE TRIGGER manifests_stay BEFORE UPDATE ON manifests BEGIN SELECT RAISE(ABORT, 'insert only'); END;
CREATE TRIGGER manifests_keep BEFORE DELETE ON manifests BEGIN SELECT RAISE(ABORT, 'insert only'); END;
"""
_POSTGRESQL = """
CREATE TABLE manifests (
    id BIGINT PRIMARY KEY, store BYTEA NOT NULL, clip_sha256 TEXT NOT NULL, fingerprint BYTEA NOT NULL,
    created_at TEXT NOT NULL);
CREATE INDEX manifests_by_clip ON manifests (clip_sha256);
CREATE TABLE segments (
    id BIGINT NOT NULL, number BIGINT NOT NULL CHECK (number > 0), store BYTEA NOT NULL, clip_sha256 TEXT NOT NULL,
    fingerprint BYTEA NOT NULL, created_at TEXT NOT NULL, PRIMARY KEY (id, number));
CREATE FUNCTION insert_only() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''insert only''; END';
CREATE TRIGGER manifests_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON manifests EXECUTE FUNCTION insert_only();
CREATE TRIGGER segments_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON segments EXECUTE FUNCTION insert_only();
"""
_SCHEMA = Schema("repository", 2, _SQLITE + _SEGMENTS, _POSTGRESQL, upgrades=((1, _SEGMENTS),))


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
    """Manifests in the SQLite file `place` (made 0600 if missing) or in PostgreSQL; safe for threads and processes."""

    def __init__(self, place: Place) -> None:
        self._lock = threading.Lock()
        self._database = open_store(place, _SCHEMA, error=RepositoryError)

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
            insert = "INSERT INTO manifests VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
            if self._database.execute(insert, row).rowcount:
                return
            kept = self._database.execute("SELECT * FROM manifests WHERE id = ?", row[:1]).fetchone()
        if kept is None or (kept[0], bytes(kept[1]), kept[2], bytes(kept[3]), kept[4]) != row:
            raise RepositoryError(f"{self._database.name}: manifest id {manifest_id:016x} is taken by another release")

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
        insert = "INSERT INTO segments VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
        with self._lock:
            if self._database.execute(before, (key, number - 1)).fetchone() is None:
                raise RepositoryError(f"{self._database.name}: stream {manifest_id:016x} has no segment {number - 1}")
            if not self._database.execute(insert, row).rowcount:
                raise RepositoryError(f"{self._database.name}: segment {number} of {manifest_id:016x} is there already")

    def find(self, manifest_id: int) -> StoredManifest | None:
        """The release registered under this id, or None."""
        return self._find("SELECT * FROM manifests WHERE id = ?", _to_signed(manifest_id))

    def find_clip(self, clip_sha256: str) -> StoredManifest | None:
        """The release whose signed file has this SHA-256, or None."""
        return self._find("SELECT * FROM manifests WHERE clip_sha256 = ?", clip_sha256)

    def fingerprints(self, limit: int) -> list[tuple[int, bytes]]:
        """Ids and fingerprints of the latest releases, at most `limit`."""
        with self._lock:
            rows = self._database.execute(
                "SELECT id, fingerprint FROM manifests ORDER BY created_at DESC LIMIT ?", (limit,)
            ).fetchall()
        return [(row[0] % 2**64, bytes(row[1])) for row in rows]

    def _find(self, query: str, value: int | str) -> StoredManifest | None:
        with self._lock:
            row = self._database.execute(query, (value,)).fetchone()
            later = "SELECT fingerprint FROM segments WHERE id = ? ORDER BY number"
            more = [bytes(part) for (part,) in self._database.execute(later, row[:1]).fetchall()] if row else []
        if row is None:
            return None
        return StoredManifest(
            manifest_id=row[0] % 2**64,
            manifest_store=bytes(row[1]),
            clip_sha256=row[2],
            fingerprint=join_fingerprints([bytes(row[3]), *more]) if more else bytes(row[3]),
            created_at=datetime.fromisoformat(row[4]),
        )


def _check_row(manifest_store: bytes, clip_sha256: str) -> None:
    if not manifest_store or len(manifest_store) > MAX_MANIFEST_BYTES:
        raise RepositoryError(f"manifest store: 1 to {MAX_MANIFEST_BYTES} bytes, got {len(manifest_store)}")
    if len(clip_sha256) != 64 or not set(clip_sha256) <= set("0123456789abcdef"):
        raise RepositoryError("clip_sha256: expected 64 lower-case hex digits")


def _to_signed(manifest_id: int) -> int:
    """Both databases' integers are signed 64-bit; ids are unsigned 64-bit."""
    if not 0 <= manifest_id < 2**64:
        raise RepositoryError(f"manifest id: expected a 64-bit unsigned number, got {manifest_id}")
    return manifest_id - 2**64 if manifest_id >= 2**63 else manifest_id
