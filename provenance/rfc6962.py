"""The Merkle tree of RFC 6962 section 2 (SHA-256) as pure functions over stored subtree hashes.

Complete subtrees are addressed as (level, index): level 0 holds leaf hashes, and (l, i) covers the leaves
i * 2^l up to (i + 1) * 2^l. Every root and proof is built from O(log n) of them.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence

from provenance.errors import ProofError

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()

ReadNode = Callable[[int, int], bytes]
"""(level, index) -> hash of that complete subtree."""


def leaf_hash(entry: bytes) -> bytes:
    """SHA-256(0x00 || entry)."""
    return hashlib.sha256(b"\x00" + entry).digest()


def leaf_hashes(entries: Iterable[bytes]) -> list[bytes]:
    """`leaf_hash` of each, faster than one by one."""
    sha256 = hashlib.sha256
    return [sha256(b"\x00" + entry).digest() for entry in entries]


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 || left || right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def completed_nodes(index: int, leaf: bytes, read: ReadNode) -> list[tuple[int, int, bytes]]:
    """The nodes (level, index, hash) that appending leaf number `index` completes, the leaf itself first."""
    level, hashed = 0, leaf
    nodes = [(0, index, leaf)]
    while index & 1:
        hashed = node_hash(read(level, index - 1), hashed)
        level, index = level + 1, index >> 1
        nodes.append((level, index, hashed))
    return nodes


def completed_levels(size: int, leaves: Sequence[bytes], read: ReadNode) -> Iterator[tuple[int, int, list[bytes]]]:
    """What appending many leaves to a tree of `size` completes, level by level: (level, first index, hashes).

    Same nodes as `completed_nodes` one by one, several times faster.
    """
    sha256 = hashlib.sha256
    level, start, hashes = 0, size, list(leaves)
    while hashes:
        yield level, start, hashes
        if start & 1:
            start, hashes = start - 1, [read(level, start - 1), *hashes]
        pairs = zip(hashes[::2], hashes[1::2], strict=False)  # a last one without a sibling waits
        hashes = [sha256(b"\x01" + left + right).digest() for left, right in pairs]
        level, start = level + 1, start >> 1


def tree_root(size: int, read: ReadNode) -> bytes:
    """MTH(D[n]) for the first `size` leaves."""
    return _range_root(0, size, read) if size else EMPTY_ROOT


def inclusion_path(index: int, size: int, read: ReadNode) -> list[bytes]:
    """PATH(m, D[n]): sibling hashes from the leaf up. Raises ProofError unless 0 <= index < size."""
    if not 0 <= index < size:
        raise ProofError(f"inclusion proof: index must be within 0..{size - 1}, got {index}")
    path: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(_range_root(middle, end, read))
            end = middle
        else:
            path.append(_range_root(start, middle, read))
            start = middle
    return path[::-1]


def consistency_path(old_size: int, new_size: int, read: ReadNode) -> list[bytes]:
    """PROOF(m, D[n]), empty when old is 0 or both are equal; ProofError unless 0 <= old_size <= new_size."""
    if not 0 <= old_size <= new_size:
        raise ProofError(f"consistency proof: expected 0 <= old <= new, got {old_size} and {new_size}")
    if old_size in (0, new_size):
        return []
    path: list[bytes] = []
    start, end, whole = 0, new_size, True
    while old_size - start != end - start:
        middle = start + _split(end - start)
        if old_size <= middle:
            path.append(_range_root(middle, end, read))
            end = middle
        else:
            path.append(_range_root(start, middle, read))
            start, whole = middle, False
    if not whole:
        path.append(_range_root(start, end, read))
    return path[::-1]


def verify_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> None:
    """RFC 9162 section 2.1.3.2; raises ProofError when the proof does not hold."""
    if not 0 <= index < size:
        raise ProofError(f"inclusion proof: index must be within 0..{size - 1}, got {index}")
    _check_hashes([leaf, root, *path])
    position, last, hashed = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            raise ProofError("inclusion proof: longer than the tree is high")
        if position & 1 or position == last:
            hashed = node_hash(sibling, hashed)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            hashed = node_hash(hashed, sibling)
        position, last = position >> 1, last >> 1
    if last != 0:
        raise ProofError("inclusion proof: shorter than the tree is high")
    if hashed != root:
        raise ProofError("inclusion proof: leads to another root than the checkpoint's")


def verify_consistency(old_size: int, new_size: int, old_root: bytes, new_root: bytes, path: Sequence[bytes]) -> None:
    """RFC 9162 section 2.1.4.2; raises ProofError when the newer tree does not extend the older one."""
    if not 0 <= old_size <= new_size:
        raise ProofError(f"consistency proof: expected 0 <= old <= new, got {old_size} and {new_size}")
    _check_hashes([old_root, new_root, *path])
    if old_size in (0, new_size):
        _check_trivial_consistency(old_size, new_size, old_root, new_root, path)
        return
    hashes = list(path) if old_size & (old_size - 1) else [old_root, *path]
    if not hashes:
        raise ProofError("consistency proof: empty for two different sizes")
    position, last = old_size - 1, new_size - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    old = new = hashes[0]
    for sibling in hashes[1:]:
        if last == 0:
            raise ProofError("consistency proof: longer than the tree is high")
        if position & 1 or position == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        position, last = position >> 1, last >> 1
    if last != 0 or old != old_root or new != new_root:
        raise ProofError("consistency proof: the newer tree does not extend the older one")


def _check_trivial_consistency(
    old_size: int, new_size: int, old_root: bytes, new_root: bytes, path: Sequence[bytes]
) -> None:
    if path:
        raise ProofError("consistency proof: must be empty for an empty or an equal tree")
    if old_size == 0 and old_root != EMPTY_ROOT:
        raise ProofError("consistency proof: the empty tree has another root")
    if old_size == new_size and old_root != new_root:
        raise ProofError("consistency proof: two trees of one size have different roots")


def _check_hashes(hashes: Sequence[bytes]) -> None:
    if any(len(value) != HASH_BYTES for value in hashes):
        raise ProofError(f"proof: every hash must have {HASH_BYTES} bytes")


def _split(size: int) -> int:
    """The largest power of two smaller than `size` (size > 1)."""
    return 1 << ((size - 1).bit_length() - 1)


def _range_root(start: int, end: int, read: ReadNode) -> bytes:
    """Root over the leaves start..end, where start is a multiple of the next power of two >= end - start."""
    size = end - start
    if size & (size - 1) == 0:
        level = size.bit_length() - 1
        return read(level, start >> level)
    middle = start + _split(size)
    return node_hash(_range_root(start, middle, read), _range_root(middle, end, read))
