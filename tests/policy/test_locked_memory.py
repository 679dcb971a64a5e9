"""Keys leave no copy behind in this process, and nobody of the same user can look into it."""

from __future__ import annotations

import ctypes
import io
import mmap
import multiprocessing
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from policy.broker import KeyVault, WorkerKey
from policy.kek import FileKek
from policy.locked_memory import LockedBuffer, guard_process, is_guarded, wipe_bytes
from policy.seal import open_sealed, read_sealed_header
from tests.policy.conftest import make_weights

SPAWN = multiprocessing.get_context("forkserver")
linux = pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs Linux: /proc/self/mem")


PIECE = 1 << 20


def copies_in_memory(masked: bytes) -> int:
    """How often a key lies in this process's memory. `masked` is it with every bit flipped, so as not to be found.

    What the search itself holds lies in two mappings of its own, which are left out and wiped.
    """
    with mmap.mmap(-1, 16) as pattern, mmap.mmap(-1, PIECE) as piece:
        own = [(at, at + len(part)) for part in (pattern, piece) for at in (_address(part),)]
        for index, byte in enumerate(masked[:16]):
            pattern[index] = 255 - byte
        found = 0
        with Path("/proc/self/maps").open() as maps, Path("/proc/self/mem").open("rb", buffering=0) as memory:
            for line in maps:
                region = re.match(r"([0-9a-f]+)-([0-9a-f]+) rw", line)
                if region is None:
                    continue
                start, end = (int(address, 16) for address in region.groups())
                found += sum(1 for at in _hits(memory, start, end, pattern, piece) if not _within(at, own))
        pattern[:], piece[:] = bytes(16), bytes(PIECE)
    return found


def _hits(memory: io.RawIOBase, start: int, end: int, pattern: mmap.mmap, piece: mmap.mmap) -> Iterator[int]:
    """Addresses of the pattern; pieces overlap so that none is cut."""
    for at in range(start, end, PIECE - 16):
        try:
            memory.seek(at)
            with memoryview(piece)[: min(PIECE, end - at)] as view:
                read = memory.readinto(view) or 0
        except (OSError, ValueError, OverflowError):
            return
        hit = piece.find(pattern, 0, read)
        while hit >= 0:
            if hit < PIECE - 16 or at + PIECE >= end:
                yield at + hit
            hit = piece.find(pattern, hit + 1, read)


def _address(part: mmap.mmap) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(part))


def _within(at: int, ranges: list[tuple[int, int]]) -> bool:
    return any(start <= at < end for start, end in ranges)


def open_in_child(sealed: Path, vault: KeyVault, digest: str, answer: object) -> None:
    """The path of a key from vault to tensors, then a search for what is left of it."""
    with vault.unwrap(digest) as key:
        masked = bytes(255 - byte for byte in key.view)
        inside = copies_in_memory(masked)
        open_sealed(sealed, key.view)
    answer.put((inside, copies_in_memory(masked)))  # type: ignore[attr-defined]


@linux
def test_no_copy_of_a_content_key_stays_in_memory(tmp_path: Path) -> None:
    content_key = os.urandom(32)
    sealed, _ = make_weights(tmp_path, content_key)
    digest = read_sealed_header(sealed).model_digest
    kek = tmp_path / "kek"
    kek.write_bytes(os.urandom(32))
    kek.chmod(0o600)
    vault = KeyVault(FileKek(kek), tmp_path / "keys.json")
    vault.store(digest, content_key)
    answer = SPAWN.Queue()
    child = SPAWN.Process(target=open_in_child, args=(sealed, vault, digest, answer))
    child.start()
    inside, after = answer.get(timeout=200)
    child.join()
    assert (inside, after) == (1, 0)


def test_a_wiped_key_cannot_be_read_and_does_not_show() -> None:
    key = LockedBuffer.take(bytes(range(40, 72)))
    assert bytes(key.view) == bytes(range(40, 72))
    assert repr(key) == "LockedBuffer(32 bytes)"
    key.wipe()
    key.wipe()
    with pytest.raises(ValueError, match="released"):
        bytes(key.view)


def test_bytes_are_cleared_in_place() -> None:
    secret = bytes(bytearray(range(1, 33)))
    wipe_bytes(secret)
    assert secret == bytes(32)


def test_a_key_for_another_worker_stays_closed() -> None:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

    from policy.broker import SUITE, _info
    from policy.errors import GrantError

    worker, other = WorkerKey(), WorkerKey()
    wrapped = SUITE.encrypt(bytes(32), X25519PublicKey.from_public_bytes(worker.public_bytes), info=_info("g"))
    with pytest.raises(GrantError):
        other.unwrap(wrapped, "g")
    with worker.unwrap(wrapped, "g") as key:
        assert len(key) == 32


def guarded_child(answer: object) -> None:
    """Guard this process and say whether it is."""
    before = is_guarded()
    guard_process()
    answer.put((before, is_guarded(), Path("/proc/self/fd").exists()))  # type: ignore[attr-defined]


@linux
def test_a_guarded_process_is_not_dumpable_and_still_sees_its_own_files() -> None:
    answer = SPAWN.Queue()
    child = SPAWN.Process(target=guarded_child, args=(answer,))
    child.start()
    assert answer.get(timeout=200) == (False, True, True)
    child.join()
