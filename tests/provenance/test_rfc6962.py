"""The Merkle tree against known vectors, an independent library, and mutated proofs."""

import hashlib

import pymerkle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provenance import ProofError, leaf_hash, verify_consistency, verify_inclusion
from provenance.rfc6962 import EMPTY_ROOT, completed_nodes, consistency_path, inclusion_path, tree_root

# Inputs and roots of the test vectors that certificate-transparency implementations share.
VECTOR_LEAVES = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
VECTOR_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


class Tree:
    """A tree in memory that stores exactly the nodes the log stores."""

    def __init__(self, entries: list[bytes]) -> None:
        self.entries = entries
        self.nodes: dict[tuple[int, int], bytes] = {}
        for index, entry in enumerate(entries):
            for level, position, value in completed_nodes(index, leaf_hash(entry), self.read):
                self.nodes[level, position] = value

    def read(self, level: int, position: int) -> bytes:
        return self.nodes[level, position]

    def root(self, size: int) -> bytes:
        return tree_root(size, self.read)


TREE = Tree([bytes([n]) * (n % 7) for n in range(70)])
SIZES = st.integers(1, 70)


def test_roots_equal_the_shared_vectors() -> None:
    tree = Tree(VECTOR_LEAVES)
    assert [tree.root(size).hex() for size in range(1, 9)] == VECTOR_ROOTS
    assert hashlib.sha256(b"").digest() == EMPTY_ROOT == tree.root(0)


def test_roots_equal_an_independent_library() -> None:
    oracle = pymerkle.InmemoryTree(algorithm="sha256")
    for size, entry in enumerate(TREE.entries, start=1):
        oracle.append_entry(entry)
        assert oracle.get_root() == TREE.root(size)


@given(size=SIZES, data=st.data())
def test_every_inclusion_proof_holds(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    path = inclusion_path(index, size, TREE.read)
    verify_inclusion(leaf_hash(TREE.entries[index]), index, size, path, TREE.root(size))


@given(sizes=st.tuples(SIZES, SIZES))
def test_every_consistency_proof_holds(sizes: tuple[int, int]) -> None:
    old, new = sorted(sizes)
    verify_consistency(old, new, TREE.root(old), TREE.root(new), consistency_path(old, new, TREE.read))


@settings(max_examples=200)
@given(size=SIZES, data=st.data())
def test_no_mutated_inclusion_proof_holds(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    path = inclusion_path(index, size, TREE.read)
    leaf, root = leaf_hash(TREE.entries[index]), TREE.root(size)
    kind = data.draw(st.sampled_from(["leaf", "root", "drop", "extra", "flip", "index", "swap"]))
    if kind == "leaf":
        leaf = leaf_hash(data.draw(st.binary(min_size=8, max_size=40)))
    elif kind == "root":
        root = flip(root, data.draw(st.integers(0, 255)))
    elif kind == "extra":
        path.insert(data.draw(st.integers(0, len(path))), data.draw(st.binary(min_size=32, max_size=32)))
    elif kind == "index":
        wrong = data.draw(st.integers(-1, size))
        if wrong == index or leaf_hash(TREE.entries[min(max(wrong, 0), size - 1)]) == leaf:
            return
        index = wrong
    elif not path:
        return
    elif kind == "drop":
        del path[data.draw(st.integers(0, len(path) - 1))]
    elif kind == "flip":
        at = data.draw(st.integers(0, len(path) - 1))
        path[at] = flip(path[at], data.draw(st.integers(0, 255)))
    elif len(set(path)) < 2:
        return
    else:
        swapped = path[::-1]
        if swapped == path:
            return
        path = swapped
    with pytest.raises(ProofError):
        verify_inclusion(leaf, index, size, path, root)


@settings(max_examples=200)
@given(sizes=st.tuples(SIZES, SIZES), data=st.data())
def test_no_mutated_consistency_proof_holds(sizes: tuple[int, int], data: st.DataObject) -> None:
    old, new = sorted(sizes)
    path = consistency_path(old, new, TREE.read)
    old_root, new_root = TREE.root(old), TREE.root(new)
    kind = data.draw(st.sampled_from(["old root", "new root", "drop", "extra", "flip"]))
    if kind == "old root":
        old_root = flip(old_root, data.draw(st.integers(0, 255)))
    elif kind == "new root":
        new_root = flip(new_root, data.draw(st.integers(0, 255)))
    elif kind == "extra":
        path.insert(data.draw(st.integers(0, len(path))), data.draw(st.binary(min_size=32, max_size=32)))
    elif not path:
        return
    elif kind == "drop":
        del path[data.draw(st.integers(0, len(path) - 1))]
    else:
        at = data.draw(st.integers(0, len(path) - 1))
        path[at] = flip(path[at], data.draw(st.integers(0, 255)))
    with pytest.raises(ProofError):
        verify_consistency(old, new, old_root, new_root, path)


@pytest.mark.parametrize(("index", "size"), [(-1, 4), (4, 4), (0, 0)])
def test_an_index_outside_the_tree_is_refused(index: int, size: int) -> None:
    with pytest.raises(ProofError, match="index"):
        inclusion_path(index, size, TREE.read)
    with pytest.raises(ProofError, match="index"):
        verify_inclusion(leaf_hash(b""), index, size, [], TREE.root(size))


def test_the_empty_tree_is_consistent_with_every_tree() -> None:
    verify_consistency(0, 5, EMPTY_ROOT, TREE.root(5), [])
    with pytest.raises(ProofError):
        verify_consistency(0, 5, TREE.root(1), TREE.root(5), [])


def flip(value: bytes, bit: int) -> bytes:
    changed = bytearray(value)
    changed[bit // 8] ^= 1 << (bit % 8)
    return bytes(changed)
