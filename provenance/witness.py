"""A witness (c2sp.org/tlog-witness): it cosigns a checkpoint only when the tree extends the last one that it saw.

The memory is one SQLite file. Checking and remembering happen in one transaction, before anything is answered, so that
two requests at once can't get two histories cosigned.
"""

import base64
import contextlib
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from provenance.checkpoint import Checkpoint, parse_checkpoint_body, verify_checkpoint
from provenance.cosignature import cosign
from provenance.errors import LogError, ProofError
from provenance.rfc6962 import EMPTY_ROOT, HASH_BYTES, verify_consistency
from provenance.signed_note import decode_base64, parse_decimal, parse_note
from provenance.sqlite_file import open_database

MAX_REQUEST_BYTES = 64 * 1024
MAX_PROOF_LINES = 63
SIZE_MEDIA_TYPE = "text/x.tlog.size"
_SCHEMA = "CREATE TABLE seen (origin TEXT PRIMARY KEY, size INTEGER NOT NULL, root BLOB NOT NULL) STRICT;\n"


@dataclass(frozen=True)
class WitnessAnswer:
    """HTTP status, body and media type of one answer; 200 carries cosignature lines."""

    status: int
    body: str = ""
    media_type: str = "text/plain; charset=utf-8"


@dataclass(frozen=True)
class WitnessRequest:
    """A parsed add-checkpoint request; nothing verified yet."""

    old_size: int
    proof: tuple[bytes, ...]
    note: str


class Witness:
    """Cosigns checkpoints of the logs whose keys it was given, under its own `name`."""

    def __init__(
        self, memory: Path, *, name: str, key: Ed25519PrivateKey, logs: Mapping[str, Ed25519PublicKey]
    ) -> None:
        self._name, self._key, self._logs = name, key, dict(logs)
        self._database = open_database(memory, _SCHEMA, version=1, error=LogError)

    def close(self) -> None:
        """Close the memory."""
        self._database.close()

    def add_checkpoint(self, request: str, *, now: datetime) -> WitnessAnswer:
        """Answer one add-checkpoint request; never raises for anything in it."""
        try:
            asked = parse_request(request)
            claimed = parse_checkpoint_body(parse_note(asked.note).text)
        except ProofError as error:
            return WitnessAnswer(400, f"{error}\n")
        key = self._logs.get(claimed.origin)
        if key is None:
            return WitnessAnswer(404, "this log is not known here\n")
        try:
            checkpoint = verify_checkpoint(asked.note, origin=claimed.origin, public_key=key)
        except ProofError as error:
            return WitnessAnswer(403, f"{error}\n")
        if asked.old_size > checkpoint.size:
            return WitnessAnswer(400, "the old size is beyond the checkpoint's\n")
        return self._check_and_remember(asked, checkpoint, now)

    def _check_and_remember(self, asked: WitnessRequest, checkpoint: Checkpoint, now: datetime) -> WitnessAnswer:
        with self._transaction():
            row = self._database.execute(
                "SELECT size, root FROM seen WHERE origin = ?", (checkpoint.origin,)
            ).fetchone()
            size, root = row or (0, EMPTY_ROOT)
            if asked.old_size != size:
                return WitnessAnswer(409, f"{size}\n", SIZE_MEDIA_TYPE)
            if size == checkpoint.size and bytes(root) != checkpoint.root:
                return WitnessAnswer(409, f"{size}\n", SIZE_MEDIA_TYPE)
            try:
                verify_consistency(size, checkpoint.size, bytes(root), checkpoint.root, asked.proof)
            except ProofError as error:
                return WitnessAnswer(422, f"{error}\n")
            self._database.execute(
                "INSERT OR REPLACE INTO seen VALUES (?, ?, ?)", (checkpoint.origin, checkpoint.size, checkpoint.root)
            )
        return WitnessAnswer(200, cosign(asked.note, name=self._name, key=self._key, now=now))

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")
        except sqlite3.Error as error:
            raise LogError(f"witness memory: {error}") from error


def format_request(old_size: int, proof: list[bytes] | tuple[bytes, ...], note: str) -> str:
    """The body of an add-checkpoint request."""
    lines = "".join(f"{base64.b64encode(value).decode()}\n" for value in proof)
    return f"old {old_size}\n{lines}\n{note}"


def parse_request(text: str) -> WitnessRequest:
    """Split a request; raises ProofError for anything but the exact format."""
    if len(text) > MAX_REQUEST_BYTES:
        raise ProofError(f"witness request: longer than {MAX_REQUEST_BYTES} characters")
    head, separator, note = text.partition("\n\n")
    lines = head.split("\n")
    if not separator or not lines[0].startswith("old ") or len(lines) - 1 > MAX_PROOF_LINES:
        raise ProofError("witness request: expected 'old <size>', at most 63 proof lines, an empty line, a checkpoint")
    proof = tuple(decode_base64(line, size=HASH_BYTES) for line in lines[1:])
    return WitnessRequest(parse_decimal(lines[0].removeprefix("old ")), proof, note)
