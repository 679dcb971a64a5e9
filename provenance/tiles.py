"""A log as static files (c2sp.org/tlog-tiles), so that any web server can serve it and others' tools can read it.

A hash tile of level L holds up to 256 hashes of complete subtrees of 256^L entries; an entry bundle up to 256 entries,
each behind its length in 16 bits. Tiles that will grow carry their width in their name: `000.p/17`.
"""

from collections.abc import Iterator
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from provenance.checkpoint import Checkpoint, verify_checkpoint
from provenance.entry_bundle import TILE_WIDTH, bundle_length, pack_bundle, unpack_bundle
from provenance.errors import LogError, ProofError
from provenance.rfc6962 import completed_levels, leaf_hash, tree_root
from provenance.transparency_log import TransparencyLog
from provenance.whole_file import write_whole

_TILE_LEVELS = 8  # of the binary tree in one tile
MAX_LEVEL = 7  # 256^8 entries are more than a tree size can say


def tile_name(index: int) -> str:
    """`x001/x234/067` for 1234067: groups of three digits, all but the last marked."""
    groups = [f"{index % 1000:03d}"]
    while index >= 1000:
        index //= 1000
        groups.append(f"x{index % 1000:03d}")
    return "/".join(reversed(groups))


def tiles_of(size: int) -> Iterator[tuple[int, int, int]]:
    """(level, index, width) of every hash tile of a tree of `size`, empty ones left out."""
    for level in range(MAX_LEVEL + 1):
        count = size >> (_TILE_LEVELS * level)
        for index in range(count // TILE_WIDTH):
            yield level, index, TILE_WIDTH
        if count % TILE_WIDTH:
            yield level, count // TILE_WIDTH, count % TILE_WIDTH


def export_tiles(log: TransparencyLog, folder: Path, note: str | None = None) -> Checkpoint:
    """Write checkpoint, hash tiles and entry bundles of everything signed; the checkpoint last.

    Run again after appending: full tiles that are there stay as they are. Returns the checkpoint that was written.
    `note`: an earlier checkpoint, such as a cosigned one, instead of one over all entries; raises ProofError for a
    checkpoint of another log.
    """
    note = log.checkpoint() if note is None else log.require_own(note)
    size = int(note.split("\n", 2)[1])
    for level, index, width in tiles_of(size):
        path = _path(folder, f"tile/{level}", index, width)
        if path.exists() and width == TILE_WIDTH:
            continue
        hashes = log.subtree_hashes(level * _TILE_LEVELS, index * TILE_WIDTH, width)
        _write(path, b"".join(hashes))
        if level == 0:
            entries = list(log.entries(index * TILE_WIDTH, index * TILE_WIDTH + width))
            _write(_path(folder, "tile/entries", index, width), pack_bundle(entries))
    _write(folder / "checkpoint", note.encode())
    return Checkpoint(log.origin, size, log.root(size))


def verify_tiles(
    folder: Path, *, origin: str, public_key: Ed25519PublicKey, since: Checkpoint | None = None
) -> Checkpoint:
    """The checkpoint in `folder`, after every entry was hashed and every tile compared with what follows from them.

    With `since`, an older checkpoint that must be the same log's, grown. Raises ProofError at the first fault, LogError
    when a file is missing or can't be read.
    """
    note = _read(folder / "checkpoint").decode("utf-8", "replace")
    checkpoint = verify_checkpoint(note, origin=origin, public_key=public_key)
    leaves = [leaf_hash(entry) for entry in _entries(folder, checkpoint.size)]
    nodes: dict[tuple[int, int], bytes] = {}

    def read(level: int, position: int) -> bytes:
        return nodes[level, position]

    for level, start, hashes in completed_levels(0, leaves, read):
        nodes.update({(level, start + offset): value for offset, value in enumerate(hashes)})
    if tree_root(checkpoint.size, read) != checkpoint.root:
        raise ProofError(f"{folder}: the entries are not those of the checkpoint over {checkpoint.size}")
    if since is not None and (
        since.origin != origin or since.size > checkpoint.size or tree_root(since.size, read) != since.root
    ):
        raise ProofError(f"{folder}: this log does not extend the checkpoint over {since.size} entries")
    for level, index, width in tiles_of(checkpoint.size):
        first = index * TILE_WIDTH
        expected = b"".join(nodes[level * _TILE_LEVELS, first + offset] for offset in range(width))
        if _read(_path(folder, f"tile/{level}", index, width)) != expected:
            raise ProofError(f"{folder}: tile {level}/{index} does not follow from the entries")
    return checkpoint


def _entries(folder: Path, size: int) -> Iterator[bytes]:
    for level, index, width in tiles_of(size):
        if level:
            return
        path = _path(folder, "tile/entries", index, width)
        bundle = _read(path)
        try:
            entries = unpack_bundle(bundle, width)
        except ProofError as error:
            raise ProofError(f"{path}: {error}") from error
        if bundle_length(entries) != len(bundle):
            raise ProofError(f"{path}: holds more than {width} entries")
        yield from entries


def _path(folder: Path, kind: str, index: int, width: int) -> Path:
    partial = "" if width == TILE_WIDTH else f".p/{width}"
    return folder / f"{kind}/{tile_name(index)}{partial}"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise LogError(f"{path}: a file of the log is missing ({error.strerror})") from error


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, content, mode=0o644)
