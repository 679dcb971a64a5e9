"""The log: durable, append-only, consistent under several writers and after a kill."""

import io
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pymerkle
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from provenance import (
    LogError,
    ProofError,
    TransparencyLog,
    leaf_hash,
    verify_checkpoint,
    verify_consistency,
    verify_log_export,
    verify_log_proof,
)
from provenance.rfc6962 import completed_levels, completed_nodes
from provenance.transparency_log import MAX_ENTRY_BYTES

ORIGIN = "log.example.org/vasari"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
ROOT = Path(__file__).resolve().parents[2]


def open_log(path: Path, signer: Ed25519PrivateKey | None = KEY) -> TransparencyLog:
    return TransparencyLog(path, origin=ORIGIN, signer=signer)


def check_whole(path: Path, size: int) -> list[bytes]:
    """Every stored entry is proven, and an independent library finds the same root."""
    with open_log(path) as log:
        assert log.size == size
        entries = [log.entry(index) for index in range(size)]
        oracle = pymerkle.InmemoryTree(algorithm="sha256")
        for entry in entries:
            oracle.append_entry(entry)
        if size:
            assert oracle.get_root() == log.root()
        for index in range(0, size, max(1, size // 16)):
            verify_log_proof(log.prove(index), entries[index], origin=ORIGIN, public_key=KEY.public_key())
    return entries


def test_every_entry_is_proven_at_every_size(tmp_path: Path) -> None:
    with open_log(tmp_path / "log.sqlite") as log:
        for number in range(20):
            assert log.append(b"entry %d" % number) == number
            for index in range(number + 1):
                proof = verify_log_proof(
                    log.prove(index), b"entry %d" % index, origin=ORIGIN, public_key=KEY.public_key()
                )
                assert (proof.index, proof.checkpoint.size) == (index, number + 1)
    check_whole(tmp_path / "log.sqlite", 20)


def test_groups_and_single_entries_make_the_same_tree(tmp_path: Path) -> None:
    entries = [b"%d" % n for n in range(45)]
    with open_log(tmp_path / "single") as single, open_log(tmp_path / "grouped") as grouped:
        for entry in entries:
            single.append(entry)
        assert grouped.append_all(entries[:7]) == range(7)
        assert grouped.append_all([]) == range(7, 7)
        assert grouped.append_all(entries[7:]) == range(7, 45)
        assert single.root() == grouped.root()
        assert single.checkpoint() == grouped.checkpoint()


def test_any_two_checkpoints_are_consistent(tmp_path: Path) -> None:
    with open_log(tmp_path / "log.sqlite") as log:
        checkpoints = []
        for number in range(1, 12):
            log.append(b"%d" % number)
            checkpoints.append(verify_checkpoint(log.checkpoint(), origin=ORIGIN, public_key=KEY.public_key()))
        for old in checkpoints:
            for new in checkpoints[old.size - 1 :]:
                verify_consistency(old.size, new.size, old.root, new.root, log.consistency_proof(old.size, new.size))


def test_the_files_are_for_their_owner_only(tmp_path: Path) -> None:
    with open_log(tmp_path / "log.sqlite") as log:
        log.append(b"entry")
        assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_entries_can_be_neither_changed_nor_deleted(tmp_path: Path) -> None:
    with open_log(tmp_path / "log.sqlite") as log:
        log.append_all([b"entry"] * 16)
    database = sqlite3.connect(tmp_path / "log.sqlite")
    for statement in ("UPDATE entries SET entry = x'00'", "DELETE FROM entries", "DELETE FROM nodes"):
        with pytest.raises(sqlite3.IntegrityError, match="append only"):
            database.execute(statement)
    database.close()


@pytest.mark.parametrize("size", [3, 16, 35])
def test_no_checkpoint_is_signed_over_a_rewritten_tree(size: int, tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite"
    with open_log(path) as log:
        log.append_all([b"%d" % n for n in range(size)])
        log.checkpoint()
    with open_log(tmp_path / "forged.sqlite") as forged:
        forged.append_all([b"forged", *(b"%d" % n for n in range(1, size))])
    database = sqlite3.connect(path)
    for name in ("nodes_stay", "nodes_keep", "entries_stay"):
        database.execute(f"DROP TRIGGER {name}")
    database.execute("UPDATE entries SET entry = ? WHERE number = 0", (b"forged",))
    database.execute("ATTACH ? AS forged", (str(tmp_path / "forged.sqlite"),))
    database.execute("DELETE FROM nodes")
    database.execute("INSERT INTO nodes SELECT * FROM forged.nodes")
    database.commit()
    database.close()
    with open_log(path) as log:
        log.append(b"next")
        with pytest.raises(LogError, match="does not extend"):
            log.checkpoint()


def test_a_missing_entry_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite"
    with open_log(path) as log:
        log.append_all([b"1", b"2", b"3"])
    database = sqlite3.connect(path)
    database.execute("DROP TRIGGER entries_keep")
    database.execute("DELETE FROM entries WHERE number = 1")
    database.commit()
    database.close()
    with open_log(path) as log, pytest.raises(LogError, match="damaged"):
        log.append(b"4")


def test_a_damaged_tree_is_named_and_not_extended(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite"
    with open_log(path) as log:
        log.append_all([b"%d" % n for n in range(16)])
    database = sqlite3.connect(path)
    database.execute("DROP TRIGGER nodes_keep")
    database.execute("DELETE FROM nodes")
    database.commit()
    database.close()
    with open_log(path) as log:
        with pytest.raises(LogError, match="damaged"):
            log.append_all([b"more"] * 16)
        assert log.size == 16


def test_without_a_key_the_last_signed_checkpoint_is_served(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite"
    with open_log(path, signer=None) as log:
        log.append(b"1")
        with pytest.raises(LogError, match="no signing key"):
            log.checkpoint()
    with open_log(path) as log:
        note = log.checkpoint()
    with open_log(path, signer=None) as log:
        log.append(b"2")
        assert log.checkpoint() == note
        verify_log_proof(log.prove(0), b"1", origin=ORIGIN, public_key=KEY.public_key())
        with pytest.raises(LogError, match="covers 1 entries"):
            log.prove(1)


def test_another_origin_or_file_is_refused(tmp_path: Path) -> None:
    open_log(tmp_path / "log.sqlite").close()
    with pytest.raises(LogError, match=r"not of other\.example\.org"):
        TransparencyLog(tmp_path / "log.sqlite", origin="other.example.org", signer=KEY)
    (tmp_path / "text").write_text("this is no database, but it is long enough to be read as one" * 20)
    with pytest.raises(LogError, match="SQLite"):
        open_log(tmp_path / "text")
    database = sqlite3.connect(tmp_path / "newer")
    database.execute("PRAGMA user_version = 9")
    database.close()
    with pytest.raises(LogError, match="version 9"):
        open_log(tmp_path / "newer")


def test_an_oversized_entry_and_an_unknown_index_are_refused(tmp_path: Path) -> None:
    with open_log(tmp_path / "log.sqlite") as log:
        with pytest.raises(LogError, match="digest instead"):
            log.append_all([b"small", bytes(MAX_ENTRY_BYTES + 1)])
        assert log.size == 0
        assert log.append(bytes(MAX_ENTRY_BYTES)) == 0
        for index in (-1, 1):
            with pytest.raises(LogError):
                log.entry(index)
            with pytest.raises(LogError):
                log.prove(index)


def exported(path: Path, count: int) -> list[str]:
    with open_log(path) as log:
        log.append_all([b"entry %d" % number for number in range(count)])
        sink = io.StringIO()
        assert log.export(sink) == count
    return sink.getvalue().splitlines()


@pytest.mark.parametrize("count", [0, 1, 2, 3, 64, 77])
def test_an_export_is_checked_without_the_database(count: int, tmp_path: Path) -> None:
    lines = exported(tmp_path / "log.sqlite", count)
    assert len(lines) == count + 2
    checkpoint = verify_log_export(lines, origin=ORIGIN, public_key=KEY.public_key())
    assert checkpoint.size == count


CHANGED_EXPORTS: dict[str, Callable[[list[str]], list[str]]] = {
    "an entry is missing": lambda lines: lines[:2] + lines[3:],
    "the last entry is missing": lambda lines: lines[:5] + lines[6:],
    "two entries are swapped": lambda lines: [lines[0], lines[2], lines[1], *lines[3:]],
    "an entry is another": lambda lines: [lines[0], lines[1].replace("ZW50", "ZW51"), *lines[2:]],
    "an entry is added": lambda lines: [*lines[:6], '{"index": 5, "entry": ""}', lines[6]],
    "the checkpoint is missing": lambda lines: lines[:6],
    "something follows": lambda lines: [*lines, "{}"],
    "the header is missing": lambda lines: lines[1:],
    "a line is no JSON": lambda lines: [*lines[:3], "{", *lines[3:]],
    "a line is no object": lambda lines: [*lines[:3], "[]", *lines[3:]],
    "nothing is left": lambda lines: [],
}


@pytest.mark.parametrize("change", CHANGED_EXPORTS)
def test_a_changed_export_is_refused(change: str, tmp_path: Path) -> None:
    lines = CHANGED_EXPORTS[change](exported(tmp_path / "log.sqlite", 5))
    with pytest.raises(ProofError):
        verify_log_export(lines, origin=ORIGIN, public_key=KEY.public_key())


def test_an_export_signed_with_another_key_is_refused(tmp_path: Path) -> None:
    lines = exported(tmp_path / "log.sqlite", 5)
    with pytest.raises(ProofError):
        verify_log_export(lines, origin=ORIGIN, public_key=Ed25519PrivateKey.generate().public_key())


def test_threads_share_one_log(tmp_path: Path) -> None:
    with open_log(tmp_path / "log.sqlite") as log:
        threads = [
            threading.Thread(target=lambda name=name: [log.append(b"%s %d" % (name, n)) for n in range(20)])
            for name in (b"a", b"b", b"c", b"d")
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    entries = check_whole(tmp_path / "log.sqlite", 80)
    assert len(set(entries)) == 80


WRITER = """
import sys
from pathlib import Path
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from provenance import TransparencyLog
path, name, count = Path(sys.argv[1]), sys.argv[2].encode(), int(sys.argv[3])
key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
with TransparencyLog(path, origin="log.example.org/vasari", signer=key) as log:
    for number in range(count):
        index = log.append(b"%s %d" % (name, number))
        if number % 5 == 0:
            log.checkpoint()
        print(index, flush=True)
"""


def start_writer(path: Path, name: str, count: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), name, str(count)], cwd=ROOT, stdout=subprocess.PIPE
    )


def test_two_processes_append_to_one_log(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite"
    writers = [start_writer(path, name, 40) for name in ("left", "right")]
    indices = [int(line) for writer in writers for line in writer.communicate(timeout=60)[0].split()]
    assert sorted(indices) == list(range(80))
    entries = check_whole(path, 80)
    for name in (b"left", b"right"):
        mine = [entry for entry in entries if entry.startswith(name)]
        assert mine == [b"%s %d" % (name, number) for number in range(40)]


def test_a_killed_writer_loses_nothing_it_reported(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite"
    writer = start_writer(path, "killed", 100_000)
    assert writer.stdout is not None
    reported = [int(writer.stdout.readline()) for _ in range(10)]
    time.sleep(0.05)
    os.kill(writer.pid, signal.SIGKILL)
    reported += [int(line) for line in writer.stdout.read().split(b"\n") if line]
    writer.wait()
    with open_log(path) as log:
        size = log.size
    assert size >= max(reported) + 1
    assert check_whole(path, size) == [b"killed %d" % number for number in range(size)]
    with open_log(path) as log:
        assert log.append(b"after") == size


@given(st.integers(0, 40), st.integers(1, 40))
def test_many_leaves_complete_the_nodes_that_single_ones_do(before: int, added: int) -> None:
    nodes: dict[tuple[int, int], bytes] = {}

    def read(level: int, position: int) -> bytes:
        return nodes[level, position]

    def add(index: int) -> None:
        for level, position, value in completed_nodes(index, leaf_hash(b"%d" % index), read):
            nodes[level, position] = value

    for index in range(before):
        add(index)
    at_once = completed_levels(before, [leaf_hash(b"%d" % index) for index in range(before, before + added)], read)
    made = {(level, start + i): value for level, start, hashes in at_once for i, value in enumerate(hashes)}
    known = set(nodes)
    for index in range(before, before + added):
        add(index)
    assert made == {place: value for place, value in nodes.items() if place not in known}


def test_an_entry_is_proven_as_it_is_appended(tmp_path: Path) -> None:
    with open_log(tmp_path / "log.sqlite") as log:
        for number in range(70):
            entry = b"entry %d" % number
            index, proof = log.append_proven(entry)
            assert (index, proof) == (number, log.prove(number))
            assert verify_log_proof(proof, entry, origin=ORIGIN, public_key=KEY.public_key()).index == number
