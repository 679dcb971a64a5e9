"""Hashes of a log's complete subtrees as one operation sees them: each stored node and each block of entries read once.

Subtrees of 16 entries and more are stored; smaller ones are hashed from their entries. What is complete in an
append-only log never changes, so what was read stays true for as long as the operation takes.
"""

from collections.abc import Callable, Sequence

from provenance.errors import LogError
from provenance.rfc6962 import ReadNode, leaf_hashes, node_hash

STORED_FROM = 4
"""Level from which on nodes are stored: subtrees of 2**4 entries."""

ReadEntries = Callable[[int, int], Sequence[bytes]]
"""(first, count) -> the entries from `first` on, as far as they are there."""
Learn = Callable[[int, int, Sequence[bytes]], None]
"""(level, first position, hashes) of subtrees that were just completed."""


class SubtreeHashes:
    """A `ReadNode`; raises LogError where an entry is missing."""

    def __init__(self, read_stored: ReadNode, read_entries: ReadEntries) -> None:
        self._read_stored, self._read_entries = read_stored, read_entries
        self._known: dict[tuple[int, int], bytes] = {}

    def __call__(self, level: int, position: int) -> bytes:
        """The hash of the subtree."""
        found = self._known.get((level, position))
        if found is None:
            if level >= STORED_FROM:
                found = self._read_stored(level, position)
            elif level:
                found = node_hash(self(level - 1, 2 * position), self(level - 1, 2 * position + 1))
            else:
                found = self._read_block(position)
            self._known[level, position] = found
        return found

    def learn(self, level: int, start: int, hashes: Sequence[bytes]) -> None:
        """Take hashes that were just made."""
        self._known.update(((level, start + number), value) for number, value in enumerate(hashes))

    def _read_block(self, index: int) -> bytes:
        """Read the leaf's whole block, of which the other leaves will be asked for too."""
        first = index >> STORED_FROM << STORED_FROM
        leaves = leaf_hashes(self._read_entries(first, 1 << STORED_FROM))
        if index - first >= len(leaves):
            raise LogError(f"the log lacks entry {index}; its file is damaged")
        self.learn(0, first, leaves)
        return leaves[index - first]
