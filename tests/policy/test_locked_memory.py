"""Keys leave no copy behind in this process, and nobody of the same user can look into it."""

from __future__ import annotations

import multiprocessing
import os
import re
from pathlib import Path

import pytest

from policy.broker import KeyVault, WorkerKey
from policy.kek import FileKek
from policy.locked_memory import LockedBuffer, guard_process, is_guarded, wipe_bytes
from policy.seal import open_sealed, read_sealed_header
from tests.policy.conftest import make_weights

SPAWN = multiprocessing.get_context("forkserver")
linux = pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs Linux: /proc/self/mem")


def copies_in_memory(masked: bytes) -> int:
    """How often a key lies in this process's memory. `masked` is it with every bit flipped, so as not to be found."""
    found, part = 0, bytes(255 - byte for byte in masked[:16])
    with Path("/proc/self/maps").open() as maps, Path("/proc/self/mem").open("rb", buffering=0) as memory:
        for line in maps:
            region = re.match(r"([0-9a-f]+)-([0-9a-f]+) rw", line)
            if region is None:
                continue
            start, end = (int(address, 16) for address in region.groups())
            try:
                memory.seek(start)
                found += memory.read(end - start).count(part)
            except (OSError, ValueError, OverflowError):
                continue
    del part
    return found


def open_in_child(sealed: Path, vault: KeyVault, digest: str, answer: object) -> None:
    """The path of a key from vault to tensors, then a search for what is left of it."""
    with vault.unwrap(digest) as key:
        masked = bytes(255 - byte for byte in key.view)
        copies_in_memory(masked)  # the first search leaves pieces of itself on the heap
        inside = copies_in_memory(masked)
        open_sealed(sealed, key.view)
    answer.put((inside, copies_in_memory(masked)))  # type: ignore[attr-defined]


@linux
def test_no_copy_of_a_content_key_stays_in_memory(tmp_path: Path) -> None:
    sealed, key_file = make_weights(tmp_path)
    content_key, digest = bytes.fromhex(key_file.read_text()), read_sealed_header(sealed).model_digest
    kek = tmp_path / "kek"
    kek.write_bytes(os.urandom(32))
    kek.chmod(0o600)
    vault = KeyVault(FileKek(kek), tmp_path / "keys.json")
    vault.store(digest, content_key)
    answer = SPAWN.Queue()
    child = SPAWN.Process(target=open_in_child, args=(sealed, vault, digest, answer))
    child.start()
    inside, after = answer.get(timeout=60)
    child.join()
    assert inside >= 1  # the search finds a key that is there
    assert after < inside  # what stays is the searches' own pattern on the heap


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
    assert answer.get(timeout=60) == (False, True, True)
    child.join()
