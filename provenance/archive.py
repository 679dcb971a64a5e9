"""The manifests that a resolution service holds, and the soft bindings that lead to them.

Three rules keep an archive from being poisoned:

* a binding is stored only for a manifest whose own signed soft-binding assertion holds that value under that algorithm:
  nobody can lead others' marks to their manifest;
* algorithms in `RESERVED` are bound by releases alone, never from outside;
* a manifest belongs to the client that stored it; nobody else deletes it or binds to it.
"""

import threading
from dataclasses import dataclass
from datetime import UTC, datetime

from provenance.database import Place, Rows, Schema, open_store
from provenance.errors import RepositoryError
from provenance.manifest import SOFT_BINDING_ALGORITHM

RESERVED = (SOFT_BINDING_ALGORITHM,)
MAX_BINDING_BYTES = 1024
MAX_RECEIPTS = 100


@dataclass(frozen=True)
class ArchivedManifest:
    """One stored manifest: the label of its active manifest, the whole store, and whose it is."""

    manifest_id: str
    store: bytes
    owner: str
    stored_at: datetime


_SQLITE = """
CREATE TABLE manifests (
    manifest_id TEXT PRIMARY KEY, store BLOB, owner TEXT NOT NULL, stored_at TEXT NOT NULL) STRICT;
CREATE TABLE bindings (
    number INTEGER PRIMARY KEY, algorithm TEXT NOT NULL, value BLOB NOT NULL, manifest_id TEXT NOT NULL,
    UNIQUE (algorithm, value, manifest_id)) STRICT;
CREATE TABLE receipts (number INTEGER PRIMARY KEY, manifest_id TEXT NOT NULL, receipt TEXT NOT NULL) STRICT;
CREATE INDEX receipts_by_manifest ON receipts (manifest_id);
"""
_POSTGRESQL = """
CREATE TABLE manifests (manifest_id TEXT PRIMARY KEY, store BYTEA, owner TEXT NOT NULL, stored_at TEXT NOT NULL);
CREATE TABLE bindings (
    number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, algorithm TEXT NOT NULL, value BYTEA NOT NULL,
    manifest_id TEXT NOT NULL, UNIQUE (algorithm, value, manifest_id));
CREATE TABLE receipts (
    number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, manifest_id TEXT NOT NULL, receipt TEXT NOT NULL);
CREATE INDEX receipts_by_manifest ON receipts (manifest_id);
"""
_SCHEMA = Schema("archive", 1, _SQLITE, _POSTGRESQL)


class ManifestArchive:
    """An archive in the SQLite file `place` (made 0600 if missing) or in PostgreSQL; safe for threads and processes.

    All methods raise RepositoryError when the database fails.
    """

    def __init__(self, place: Place) -> None:
        self._lock = threading.Lock()
        self._database = open_store(place, _SCHEMA, error=RepositoryError)

    def close(self) -> None:
        """Close the database file."""
        with self._lock:
            self._database.close()

    def put(self, manifest: ArchivedManifest) -> bool:
        """Store it; False when the owner stored the same before. RepositoryError when the id is taken by another."""
        row = (manifest.manifest_id, manifest.store, manifest.owner, manifest.stored_at.astimezone(UTC).isoformat())
        if self._run("INSERT INTO manifests VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", row).rowcount:
            return True
        kept = self.get(manifest.manifest_id)
        if kept is None or (kept.store, kept.owner) != (manifest.store, manifest.owner):
            raise RepositoryError(f"manifest id {manifest.manifest_id} is taken")
        return False

    def get(self, manifest_id: str) -> ArchivedManifest | None:
        """The manifest, or None when there is none or it was deleted."""
        if "\0" in manifest_id:  # which PostgreSQL takes in no text
            return None
        row = self._run("SELECT * FROM manifests WHERE manifest_id = ?", (manifest_id,)).fetchone()
        if row is None or row[1] is None:
            return None
        return ArchivedManifest(row[0], bytes(row[1]), row[2], datetime.fromisoformat(row[3]))

    def delete(self, manifest_id: str) -> bool:
        """Forget a manifest with its bindings; False when there is none. Its id stays taken."""
        gone = self._run(
            "UPDATE manifests SET store = NULL WHERE manifest_id = ? AND store IS NOT NULL", (manifest_id,)
        ).rowcount
        self._run("DELETE FROM bindings WHERE manifest_id = ?", (manifest_id,))
        return bool(gone)

    def bind(self, algorithm: str, value: bytes, manifest_id: str) -> None:
        """Lead `value` to the manifest."""
        self._run(
            "INSERT INTO bindings (algorithm, value, manifest_id) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
            (algorithm, value, manifest_id),
        )

    def find(self, algorithm: str, value: bytes, limit: int) -> list[str]:
        """Ids of the manifests that `value` leads to, oldest first."""
        if "\0" in algorithm:
            return []
        rows = self._run(
            "SELECT manifest_id FROM bindings WHERE algorithm = ? AND value = ? ORDER BY number LIMIT ?",
            (algorithm, value, limit),
        )
        return [row[0] for row in rows.fetchall()]

    def add_receipt(self, manifest_id: str, receipt: str) -> None:
        """Keep a receipt."""
        self._run("INSERT INTO receipts (manifest_id, receipt) VALUES (?, ?)", (manifest_id, receipt))

    def receipts(self, manifest_id: str) -> list[str]:
        """The receipts of a manifest, oldest first."""
        rows = self._run(
            "SELECT receipt FROM receipts WHERE manifest_id = ? ORDER BY number LIMIT ?", (manifest_id, MAX_RECEIPTS)
        )
        return [row[0] for row in rows.fetchall()]

    def _run(self, statement: str, values: tuple[object, ...]) -> Rows:
        with self._lock:
            return self._database.execute(statement, values)
