"""Log entries in groups of at most 256, each behind its length in 16 bits (c2sp.org/tlog-tiles, entry bundle)."""

from collections.abc import Sequence

from provenance.errors import ProofError

TILE_WIDTH = 256


def pack_bundle(entries: Sequence[bytes]) -> bytes:
    """The bundle of these entries, of at most 65,535 bytes each."""
    pieces = [b""] * (2 * len(entries))
    pieces[::2] = [len(entry).to_bytes(2, "big") for entry in entries]
    pieces[1::2] = entries
    return b"".join(pieces)


def unpack_bundle(bundle: bytes, count: int) -> list[bytes]:
    """The first `count` entries of a bundle; raises ProofError when it ends before."""
    entries, offset = [], 0
    for _ in range(count):
        start = offset + 2
        end = start + int.from_bytes(bundle[offset:start], "big")
        if end > len(bundle) or start > len(bundle):
            raise ProofError("an entry bundle ends inside an entry")
        entries.append(bundle[start:end])
        offset = end
    return entries


def bundle_length(entries: Sequence[bytes]) -> int:
    """Bytes of the bundle of these entries."""
    return 2 * len(entries) + sum(map(len, entries))
