"""An append-only log in a database: RFC 6962 tree, C2SP checkpoints, one durable transaction per append.

Hashes of complete subtrees of 16 entries and more are stored once, smaller ones follow from the entries: an append
costs O(1) amortised, a proof O(log n). Where a group fills a whole tile of 256 entries, these are one row in the form
of a C2SP entry bundle, others a row each.
Several threads and processes may append: each append holds the write lock from reading the size to commit.
A checkpoint is signed only after the tree was shown to extend the last one signed.
"""

import base64
import contextlib
import json
import threading
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import TextIO

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from provenance.checkpoint import Checkpoint, sign_checkpoint, size_of, verify_checkpoint
from provenance.database import Place, Schema, open_store
from provenance.entry_bundle import TILE_WIDTH, pack_bundle, unpack_bundle
from provenance.errors import LogError, ProofError
from provenance.rfc6962 import (
    ReadNode,
    completed_levels,
    consistency_path,
    inclusion_path,
    leaf_hashes,
    tree_root,
    verify_consistency,
)
from provenance.signed_note import check_key_name
from provenance.subtree_hashes import STORED_FROM, Learn, SubtreeHashes
from provenance.tlog_proof import format_log_proof

MAX_ENTRY_BYTES = 65_535  # so that entries fit the tile format's 16-bit length
MAX_CARRIED_BYTES = 4096
MAX_SIZE = 1 << 62
_TABLES = ("entries", "bundles", "nodes")
_BUNDLES = "CREATE TABLE bundles (number INTEGER PRIMARY KEY, entries BLOB NOT NULL) STRICT;\n"


def _stays(table: str) -> str:
    return (
        f"CREATE TRIGGER {table}_stay BEFORE UPDATE ON {table} BEGIN SELECT RAISE(ABORT, 'append only'); END;\n"
        f"CREATE TRIGGER {table}_keep BEFORE DELETE ON {table} BEGIN SELECT RAISE(ABORT, 'append only'); END;\n"
    )


_SQLITE = (
    """
CREATE TABLE entries (number INTEGER PRIMARY KEY, entry BLOB NOT NULL) STRICT;
CREATE TABLE nodes (level INTEGER, position INTEGER, hash BLOB NOT NULL, PRIMARY KEY (level, position))
    STRICT, WITHOUT ROWID;
CREATE TABLE head (only INTEGER PRIMARY KEY CHECK (only = 1), origin TEXT NOT NULL, size INTEGER NOT NULL)
    STRICT;
CREATE TABLE checkpoints (size INTEGER PRIMARY KEY, root BLOB NOT NULL, note TEXT NOT NULL) STRICT;
"""
    + _BUNDLES
    + "".join(map(_stays, _TABLES))
)
_POSTGRESQL = """
CREATE TABLE entries (number BIGINT PRIMARY KEY, entry BYTEA NOT NULL);
CREATE TABLE bundles (number BIGINT PRIMARY KEY, entries BYTEA NOT NULL);
CREATE TABLE nodes (level INTEGER, position BIGINT, hash BYTEA NOT NULL, PRIMARY KEY (level, position));
CREATE TABLE head ("only" INTEGER PRIMARY KEY CHECK ("only" = 1), origin TEXT NOT NULL, size BIGINT NOT NULL);
CREATE TABLE checkpoints (size BIGINT PRIMARY KEY, root BYTEA NOT NULL, note TEXT NOT NULL);
CREATE FUNCTION append_only() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''append only''; END';
""" + "".join(
    f"CREATE TRIGGER {table}_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} EXECUTE FUNCTION append_only();\n"
    for table in _TABLES
)
_SCHEMA = Schema("log", 2, _SQLITE, _POSTGRESQL, upgrades=((1, _BUNDLES + _stays("bundles")),))


class TransparencyLog:
    """The log kept in the SQLite file `path` (made 0600 if missing), or in PostgreSQL, under the name `origin`.

    Without a `signer` entries can be read, appended and proven against the last signed checkpoint, but none
    is signed. Use as a context manager, or `close`.
    """

    def __init__(self, path: Place, *, origin: str, signer: Ed25519PrivateKey | None) -> None:
        check_key_name(origin)
        self._origin, self._signer = origin, signer
        self._lock = threading.RLock()
        self._database = open_store(path, _SCHEMA, error=LogError)
        self._path = self._database.name
        with self._write():
            self._database.execute("INSERT INTO head VALUES (1, ?, 0) ON CONFLICT DO NOTHING", (origin,))
            (kept,) = self._database.execute("SELECT origin FROM head").fetchone()
        if kept != origin:
            self._database.close()
            raise LogError(f"{self._path}: this is the log of {kept}, not of {origin}")

    def __enter__(self) -> "TransparencyLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the database file."""
        with self._lock:
            self._database.close()

    @property
    def origin(self) -> str:
        """The name under which checkpoints are signed."""
        return self._origin

    @property
    def public_key(self) -> Ed25519PublicKey | None:
        """The key that checkpoints are checked with; None without a signer."""
        return self._signer.public_key() if self._signer is not None else None

    @property
    def size(self) -> int:
        """How many entries the log holds now."""
        with self._lock:
            return self._read_size()

    def append(self, entry: bytes) -> int:
        """Append one entry durably; returns its index."""
        return self.append_all([entry])[0]

    def append_all(self, entries: Sequence[bytes]) -> range:
        """Append several entries in one transaction; returns their indices. All or none are stored."""
        with self._write(group=len(entries) > TILE_WIDTH):
            return self._append(entries, self._nodes())

    def append_proven(self, entry: bytes) -> tuple[int, str]:
        """Append one entry and sign a checkpoint over it in the same durable transaction: its index and proof."""
        if self._signer is None:
            raise LogError(f"{self._path}: no signing key is given, so nothing can be proven")
        with self._write():
            nodes = self._nodes()
            (index,) = self._append([entry], nodes, learn=nodes.learn)
            note = self._sign_checkpoint(self._signer, index + 1, nodes)
        return index, _proof_of(entry, index, note, nodes)

    def _append(self, entries: Sequence[bytes], read: ReadNode, *, learn: Learn | None = None) -> range:
        """Store entries within the caller's transaction; `learn` is told every hash that they complete."""
        longest = max(map(len, entries), default=0)
        if longest > MAX_ENTRY_BYTES:
            raise LogError(f"log entry: at most {MAX_ENTRY_BYTES} bytes, got {longest}; log its digest instead")
        size = self._read_size()
        for level, start, hashes in completed_levels(size, leaf_hashes(entries), read):
            if learn is not None:
                learn(level, start, hashes)
            if level >= STORED_FROM:
                rows = [(level, start + i, value) for i, value in enumerate(hashes)]
                self._database.executemany("INSERT INTO nodes VALUES (?, ?, ?)", rows)
        self._store_entries(size, entries)
        self._database.execute("UPDATE head SET size = ?", (size + len(entries),))
        return range(size, size + len(entries))

    def _store_entries(self, size: int, entries: Sequence[bytes]) -> None:
        """Whole tiles as bundles, what stands before and after them one by one."""
        end = size + len(entries)
        first, last = -(-size // TILE_WIDTH), end // TILE_WIDTH
        if first >= last:
            first = last = end // TILE_WIDTH + 1  # no whole tile: all of them stand before the next one
        before, after = min(end, first * TILE_WIDTH), min(end, last * TILE_WIDTH)
        single = [*range(size, before), *range(after, end)]
        self._database.executemany(
            "INSERT INTO entries VALUES (?, ?)", [(number, entries[number - size]) for number in single]
        )
        starts = ((number, number * TILE_WIDTH - size) for number in range(first, last))
        bundles = [(number, pack_bundle(entries[at : at + TILE_WIDTH])) for number, at in starts]
        self._database.executemany("INSERT INTO bundles VALUES (?, ?)", bundles)

    def entry(self, index: int) -> bytes:
        """The entry at `index`; LogError when there is none."""
        if not 0 <= index < MAX_SIZE:
            raise LogError(f"{self._path}: holds no entry {index}")
        with self._lock:
            found = self._read_entries(index, 1)
        if not found:
            raise LogError(f"{self._path}: holds no entry {index}")
        return found[0]

    def entries(self, start: int, end: int) -> Iterator[bytes]:
        """The entries from `start` up to `end`, read tile by tile; LogError when one is missing."""
        while start < end:
            stop = min(end, (start // TILE_WIDTH + 1) * TILE_WIDTH)
            with self._lock:
                found = self._read_entries(start, stop - start)
                if not found:
                    raise LogError(f"{self._path}: lacks entry {start}; the file is damaged")
            yield from found
            start += len(found)

    def root(self, size: int | None = None) -> bytes:
        """The Merkle root over the first `size` entries (all of them by default)."""
        with self._lock:
            held = self._read_size()
            wanted = held if size is None else size
            if not 0 <= wanted <= held:
                raise LogError(f"{self._path}: holds {held} entries, no root for size {wanted}")
            return tree_root(wanted, self._nodes())

    def inclusion_proof(self, index: int, size: int) -> list[bytes]:
        """Sibling hashes from leaf `index` up to the root over the first `size` entries."""
        with self._lock:
            self._require_held(size)
            return inclusion_path(index, size, self._nodes())

    def consistency_proof(self, old_size: int, new_size: int) -> list[bytes]:
        """Hashes that show the tree of `new_size` to extend the tree of `old_size`."""
        with self._lock:
            self._require_held(new_size)
            return consistency_path(old_size, new_size, self._nodes())

    def subtree_hashes(self, level: int, start: int, count: int) -> list[bytes]:
        """Hashes of `count` complete subtrees of 2**level entries from number `start` on."""
        with self._lock:
            nodes = self._nodes()
            return [nodes(level, start + offset) for offset in range(count)]

    def checkpoint(self) -> str:
        """A signed checkpoint over all entries, or without a signer the last one signed."""
        with self._lock:
            last = self._last_checkpoint()
            if last is not None and (self._signer is None or last[0] == self._read_size()):
                return last[2]
            if self._signer is None:
                raise LogError(f"{self._path}: no checkpoint was signed yet, and no signing key is given")
        with self._write():
            return self._sign_checkpoint(self._signer, self._read_size(), self._nodes())

    def prove(self, index: int) -> str:
        """The tlog-proof text that entry `index` is in the log, with a checkpoint that covers it.

        An entry of at most `MAX_CARRIED_BYTES` stands in it too, so that a third party can check it without the log.
        """
        note = self.checkpoint()
        size = size_of(note)
        if not 0 <= index < size:
            raise LogError(f"{self._path}: the checkpoint covers {size} entries, not entry {index}")
        with self._lock:
            return _proof_of(self.entry(index), index, note, self._nodes())

    def require_own(self, note: str) -> str:
        """`note`, a checkpoint of this log with whatever cosignatures it got; ProofError for any other."""
        key = self.public_key
        if key is None:
            raise LogError(f"{self._path}: opened without its key, it can't tell its own checkpoints")
        stated = verify_checkpoint(note, origin=self._origin, public_key=key)
        if stated.size > self.size or self.root(stated.size) != stated.root:
            raise ProofError(f"the checkpoint over {stated.size} entries is not of this log's entries")
        return note

    def export(self, sink: TextIO, note: str | None = None) -> int:
        """Write JSON lines: a header, every entry as base64, the checkpoint; return the number of entries.

        `note`: an earlier checkpoint, such as a cosigned one, instead of one over all entries; see `require_own`.
        """
        note = self.checkpoint() if note is None else self.require_own(note)
        size = size_of(note)
        sink.write(json.dumps({"origin": self._origin, "size": size}) + "\n")
        for index, entry in enumerate(self.entries(0, size)):
            sink.write(json.dumps({"index": index, "entry": base64.b64encode(entry).decode()}) + "\n")
        sink.write(json.dumps({"checkpoint": note}) + "\n")
        return size

    def _sign_checkpoint(self, signer: Ed25519PrivateKey, size: int, read: ReadNode) -> str:
        root = tree_root(size, read)
        last = self._last_checkpoint()
        if last is not None:
            old_size, old_root, note = last
            try:
                path = consistency_path(old_size, size, read)
                verify_consistency(old_size, size, old_root, root, path)
            except ProofError as error:
                raise LogError(
                    f"{self._path}: the tree does not extend the signed checkpoint of size {old_size}; "
                    "nothing is signed. Restore the file from a copy that holds all entries."
                ) from error
            if old_size == size:
                return note
        note = sign_checkpoint(Checkpoint(self._origin, size, root), signer)
        self._database.execute("INSERT INTO checkpoints VALUES (?, ?, ?)", (size, root, note))
        return note

    def _last_checkpoint(self) -> tuple[int, bytes, str] | None:
        row = self._database.execute("SELECT size, root, note FROM checkpoints ORDER BY size DESC LIMIT 1").fetchone()
        return (int(row[0]), bytes(row[1]), str(row[2])) if row else None

    def _read_size(self) -> int:
        row = self._database.execute("SELECT size FROM head").fetchone()
        if row is None:
            raise LogError(f"{self._path}: the head of the log is missing")
        return int(row[0])

    def _nodes(self) -> SubtreeHashes:
        return SubtreeHashes(self._read_stored_node, self._read_entries)

    def _read_stored_node(self, level: int, position: int) -> bytes:
        row = self._database.execute(
            "SELECT hash FROM nodes WHERE level = ? AND position = ?", (level, position)
        ).fetchone()
        if row is None:
            raise LogError(f"{self._path}: the tree lacks node {position} of level {level}; the file is damaged")
        return bytes(row[0])

    def _read_entries(self, start: int, count: int) -> list[bytes]:
        """The entries from `start` on, as far as they are there; all within one tile."""
        rows = self._database.execute(
            "SELECT entry FROM entries WHERE number >= ? AND number < ? ORDER BY number", (start, start + count)
        ).fetchall()
        if rows:
            return [bytes(entry) for (entry,) in rows]
        number, at = divmod(start, TILE_WIDTH)
        row = self._database.execute("SELECT entries FROM bundles WHERE number = ?", (number,)).fetchone()
        if row is None:
            return []
        try:
            return unpack_bundle(bytes(row[0]), at + count)[at:]
        except ProofError as error:
            raise LogError(f"{self._path}: bundle {number} is damaged: {error}") from error

    def _require_held(self, size: int) -> None:
        held = self._read_size()
        if size > held:
            raise LogError(f"{self._path}: holds {held} entries, asked for a proof at size {size}")

    @contextlib.contextmanager
    def _write(self, *, group: bool = False) -> Iterator[None]:
        with self._lock, self._database.write(group=group):
            yield


def _proof_of(entry: bytes, index: int, note: str, read: ReadNode) -> str:
    """The tlog-proof text for a checkpoint that covers `entry`, which stands at `index`."""
    extra = entry if len(entry) <= MAX_CARRIED_BYTES else None
    return format_log_proof(index, inclusion_path(index, size_of(note), read), note, extra=extra)
