"""What every store promises, the same for SQLite and PostgreSQL: log, releases, stored manifests."""

import itertools
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pymerkle
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from provenance import (
    ArchivedManifest,
    LogError,
    ManifestArchive,
    ManifestRepository,
    Place,
    ProvenanceError,
    RepositoryError,
    TransparencyLog,
    export_tiles,
    read_places,
    verify_checkpoint,
    verify_consistency,
    verify_log_proof,
    verify_tiles,
)
from tests.provenance.conftest import NOW
from tests.provenance.postgresql import postgresql_server

ORIGIN = "log.example.org/vasari"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def new_database() -> Iterator[Callable[[], str]]:
    with postgresql_server() as make:
        yield make


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "sqlite":
        return tmp_path / "store.sqlite"
    make: Callable[[], str] = request.getfixturevalue("new_database")
    return make()


def open_log(place: Place) -> TransparencyLog:
    return TransparencyLog(place, origin=ORIGIN, signer=KEY)


def entries_of(count: int) -> list[bytes]:
    return [b"entry %d" % number for number in range(count)]


@pytest.mark.parametrize("groups", [(1, 1, 1), (255, 1, 1), (256,), (3, 700, 2), (250, 6, 512, 1), (513, 255)])
def test_entries_come_back_proven_however_they_were_grouped(
    groups: tuple[int, ...], place: Place, tmp_path: Path
) -> None:
    entries, oracle = entries_of(sum(groups)), pymerkle.InmemoryTree(algorithm="sha256")
    oracle.append_entries(entries)
    with open_log(place) as log:
        start = 0
        for group in groups:
            assert log.append_all(entries[start : start + group]) == range(start, start + group)
            start += group
        assert list(log.entries(0, log.size)) == entries
        assert log.root() == oracle.get_root()
        for index in {0, 2, 254, 255, 256, 300, len(entries) - 1} & set(range(len(entries))):
            assert log.entry(index) == entries[index]
            verify_log_proof(log.prove(index), entries[index], origin=ORIGIN, public_key=KEY.public_key())
        export_tiles(log, tmp_path / "tiles")
    assert verify_tiles(tmp_path / "tiles", origin=ORIGIN, public_key=KEY.public_key()).size == len(entries)


def test_what_is_opened_again_goes_on_and_stays_consistent(place: Place) -> None:
    checkpoints = []
    for number in range(3):
        with open_log(place) as log:
            assert log.append(b"%d" % number) == number
            checkpoints.append(verify_checkpoint(log.checkpoint(), origin=ORIGIN, public_key=KEY.public_key()))
            first, last = checkpoints[0], checkpoints[-1]
            path = log.consistency_proof(first.size, last.size)
            verify_consistency(first.size, last.size, first.root, last.root, path)


def test_the_log_of_another_name_is_refused(place: Place) -> None:
    open_log(place).close()
    with pytest.raises(LogError, match="this is the log of"):
        TransparencyLog(place, origin="other.example.org", signer=KEY)


def test_a_group_that_fails_leaves_nothing(place: Place) -> None:
    with open_log(place) as log:
        log.append(b"kept")
        with pytest.raises(TypeError):
            log.append_all([b"good"] * 300 + ["no bytes"])  # type: ignore[list-item]
        assert log.size == 1
        assert list(log.entries(0, 1)) == [b"kept"]
        assert log.append(b"next") == 1


WRITER = """
import sys
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from provenance import TransparencyLog
key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
with TransparencyLog(sys.argv[1], origin="log.example.org/vasari", signer=key) as log:
    for number in range(30):
        print(log.append_proven(b"%s %d" % (sys.argv[2].encode(), number))[0], flush=True)
"""


def test_processes_and_threads_share_one_log(place: Place) -> None:
    command = [sys.executable, "-c", WRITER, str(place)]
    writers = [subprocess.Popen([*command, name], cwd=ROOT, stdout=subprocess.PIPE) for name in ("left", "right")]
    with open_log(place) as log:
        threads = [threading.Thread(target=lambda: [log.append(b"here") for _ in range(10)]) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        told = [int(line) for writer in writers for line in writer.communicate(timeout=120)[0].split()]
        assert len(set(told)) == 60
        assert log.size == 80
        for index in range(0, 80, 9):
            verify_log_proof(log.prove(index), log.entry(index), origin=ORIGIN, public_key=KEY.public_key())


def test_a_release_is_kept_unchanged_under_its_number(place: Place) -> None:
    with ManifestRepository(place) as repository:
        for release in (0, 7, 2**64 - 1):
            repository.store(release, b"store", clip_sha256="ab" * 32, fingerprint=b"print", created_at=NOW)
            repository.store(release, b"store", clip_sha256="ab" * 32, fingerprint=b"print", created_at=NOW)
        with pytest.raises(RepositoryError, match="taken"):
            repository.store(7, b"other", clip_sha256="ab" * 32, fingerprint=b"print", created_at=NOW)
    with ManifestRepository(place) as repository:
        found = repository.find(2**64 - 1)
        assert found is not None
        assert (found.manifest_store, found.fingerprint, found.created_at) == (b"store", b"print", NOW)
        assert repository.find(8) is None
        assert repository.find_clip("ab" * 32) is not None
        assert {release for release, _ in repository.fingerprints(10)} == {0, 7, 2**64 - 1}


def test_an_archive_keeps_binds_and_forgets(place: Place) -> None:
    archive = ManifestArchive(place)
    manifest = ArchivedManifest("urn:one", b"store", "platform", NOW)
    assert archive.put(manifest)
    assert not archive.put(manifest)
    with pytest.raises(RepositoryError, match="taken"):
        archive.put(ArchivedManifest("urn:one", b"store", "another", NOW))
    for manifest_id in ("urn:one", "urn:one", "urn:two"):
        archive.bind("org.example.a", b"\0value", manifest_id)
    archive.add_receipt("urn:one", "first")
    archive.add_receipt("urn:one", "second")
    assert archive.get("urn:one") == manifest
    assert archive.find("org.example.a", b"\0value", 5) == ["urn:one", "urn:two"]
    assert archive.find("org.example.a", b"\0value", 1) == ["urn:one"]
    assert archive.find("org.example.a\0", b"\0value", 1) == []
    assert archive.get("urn:one\0") is None
    assert archive.receipts("urn:one") == ["first", "second"]
    assert archive.delete("urn:one")
    assert not archive.delete("urn:one")
    assert archive.get("urn:one") is None
    assert archive.find("org.example.a", b"\0value", 5) == ["urn:two"]
    with pytest.raises(RepositoryError, match="taken"):  # an id that was deleted stays taken
        archive.put(manifest)
    archive.close()


def test_postgresql_refuses_changes_to_log_and_releases(new_database: Callable[[], str]) -> None:
    url = new_database()
    with open_log(url) as log, ManifestRepository(url) as repository:
        log.append_all(entries_of(300))
        repository.store(1, b"store", clip_sha256="ab" * 32, fingerprint=b"print", created_at=NOW)
    with psycopg.connect(url, autocommit=True) as connection:
        tables = ("vasari_log.entries", "vasari_log.bundles", "vasari_log.nodes", "vasari_repository.manifests")
        for verb, table in itertools.product(("DELETE FROM", "TRUNCATE"), tables):
            with pytest.raises(psycopg.errors.RaiseException, match="only"):
                connection.execute(f"{verb} {table}".encode())


def test_a_connection_that_the_server_closed_is_opened_again(new_database: Callable[[], str]) -> None:
    url = new_database()
    with open_log(url) as log, psycopg.connect(url, autocommit=True) as connection:
        log.append(b"before")
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
        with pytest.raises(LogError):
            log.append(b"lost")
        assert log.append(b"after") == 1


def test_a_server_that_is_not_there_and_a_password_in_the_address_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LogError, match="vasari_log"):
        open_log(f"postgresql://vasari@/none?host={tmp_path}")
    with pytest.raises(LogError, match="pgpass") as refused:
        open_log("postgresql://vasari:secret@db.example/none")
    assert "secret" not in str(refused.value)


def test_a_state_folder_says_where_its_stores_lie(tmp_path: Path) -> None:
    assert read_places(tmp_path)["log"] == tmp_path / "log.sqlite"
    (tmp_path / "stores.json").write_text('{"log": "postgresql://db.example/vasari"}')
    places = read_places(tmp_path)
    assert places["log"] == "postgresql://db.example/vasari"
    assert places["repository"] == tmp_path / "repository.sqlite"
    for wrong in ("[]", "{", '{"lag": "postgresql://x/y"}', '{"log": "mysql://x/y"}'):
        (tmp_path / "stores.json").write_text(wrong)
        with pytest.raises(ProvenanceError, match=r"stores\.json"):
            read_places(tmp_path)
