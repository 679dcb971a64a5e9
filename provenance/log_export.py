"""Checking a whole exported log offline: every entry in order, the root recomputed, the checkpoint's signature.

The format is JSON lines, as `TransparencyLog.export` writes them: a header, the entries, a checkpoint.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from provenance.checkpoint import Checkpoint, verify_checkpoint
from provenance.errors import ProofError
from provenance.rfc6962 import EMPTY_ROOT, completed_nodes, leaf_hash, tree_root
from provenance.signed_note import decode_base64


def verify_log_export(
    lines: Iterable[str], *, origin: str, public_key: Ed25519PublicKey, since: Checkpoint | None = None
) -> Checkpoint:
    """The signed checkpoint that covers exactly the exported entries; raises ProofError at the first fault.

    With `since`, an older checkpoint that must be the same log's, grown.
    """
    nodes: dict[tuple[int, int], bytes] = {}

    def read(level: int, position: int) -> bytes:
        return nodes[level, position]

    records = _records(lines)
    if next(records, {}).get("origin") != origin:
        raise ProofError(f"log export: expected a header that names the origin {origin}")
    size = 0
    root_then = EMPTY_ROOT
    for record in records:
        if "checkpoint" in record:
            break
        if record.get("index") != size or not isinstance(record.get("entry"), str):
            raise ProofError(f"log export: expected entry {size}, got {str(record)[:80]}")
        leaf = leaf_hash(decode_base64(record["entry"]))
        for level, position, value in completed_nodes(size, leaf, read):
            nodes[level, position] = value
            for below in (2 * position, 2 * position + 1):  # no longer needed
                nodes.pop((level - 1, below), None)
        size += 1
        if since is not None and size == since.size:
            root_then = tree_root(size, read)
    else:
        raise ProofError("log export: ends without a checkpoint")
    if next(records, None) is not None:
        raise ProofError("log export: goes on after its checkpoint")
    checkpoint = verify_checkpoint(str(record["checkpoint"]), origin=origin, public_key=public_key)
    if (checkpoint.size, checkpoint.root) != (size, tree_root(size, read)):
        raise ProofError(f"log export: its {size} entries are not those of the checkpoint over {checkpoint.size}")
    if since is not None and (since.origin != origin or since.size > size or root_then != since.root):
        raise ProofError(f"log export: it does not extend the checkpoint over {since.size} entries")
    return checkpoint


def _records(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ProofError(f"log export: line {number} is no JSON") from error
        if not isinstance(record, dict):
            raise ProofError(f"log export: line {number} is no JSON object")
        yield record
