"""Where manifests outlive their clips: a database, looked up by the number the watermark carries, insert-only."""

import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType

from provenance.database import Place, Schema, open_store
from provenance.errors import RepositoryError

MAX_MANIFEST_BYTES = 64 << 20
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
CREATE FUNCTION insert_only() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''insert only''; END';
CREATE TRIGGER manifests_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON manifests EXECUTE FUNCTION insert_only();
"""
_SCHEMA = Schema("repository", 1, _SQLITE, _POSTGRESQL)


@dataclass(frozen=True)
class StoredManifest:
    """One registered release. `clip_sha256` is lower-case hex of the signed file."""

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
        if not manifest_store or len(manifest_store) > MAX_MANIFEST_BYTES:
            raise RepositoryError(f"manifest store: 1 to {MAX_MANIFEST_BYTES} bytes, got {len(manifest_store)}")
        if len(clip_sha256) != 64 or not set(clip_sha256) <= set("0123456789abcdef"):
            raise RepositoryError("clip_sha256: expected 64 lower-case hex digits")
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
        if row is None:
            return None
        return StoredManifest(
            manifest_id=row[0] % 2**64,
            manifest_store=bytes(row[1]),
            clip_sha256=row[2],
            fingerprint=bytes(row[3]),
            created_at=datetime.fromisoformat(row[4]),
        )


def _to_signed(manifest_id: int) -> int:
    """Both databases' integers are signed 64-bit; ids are unsigned 64-bit."""
    if not 0 <= manifest_id < 2**64:
        raise RepositoryError(f"manifest id: expected a 64-bit unsigned number, got {manifest_id}")
    return manifest_id - 2**64 if manifest_id >= 2**63 else manifest_id
