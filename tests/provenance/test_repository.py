"""The repository finds releases by any 64-bit number and keeps them unchanged."""

import sqlite3
import threading
from pathlib import Path

import pytest

from provenance import ManifestRepository, RepositoryError
from tests.provenance.conftest import NOW

SHA256 = "ab" * 32


def fill(repository: ManifestRepository, manifest_id: int, store: bytes = b"store") -> None:
    repository.store(manifest_id, store, clip_sha256=SHA256, fingerprint=b"print", created_at=NOW)


@pytest.mark.parametrize("manifest_id", [0, 1, 2**63 - 1, 2**63, 2**64 - 1])
def test_a_release_is_found_by_any_unsigned_64_bit_number(manifest_id: int, tmp_path: Path) -> None:
    with ManifestRepository(tmp_path / "repository.sqlite") as repository:
        fill(repository, manifest_id)
    with ManifestRepository(tmp_path / "repository.sqlite") as repository:
        found = repository.find(manifest_id)
        assert found is not None
        assert (found.manifest_id, found.manifest_store, found.fingerprint) == (manifest_id, b"store", b"print")
        assert (found.clip_sha256, found.created_at) == (SHA256, NOW)
        assert repository.find((manifest_id + 12345) % 2**64) is None
        assert repository.find_clip(SHA256) == found
        assert repository.find_clip("cd" * 32) is None


@pytest.mark.parametrize("manifest_id", [-1, 2**64])
def test_a_number_of_more_than_64_bits_is_refused(manifest_id: int, tmp_path: Path) -> None:
    with ManifestRepository(tmp_path / "r") as repository:
        with pytest.raises(RepositoryError, match="64-bit"):
            fill(repository, manifest_id)
        with pytest.raises(RepositoryError, match="64-bit"):
            repository.find(manifest_id)


def test_a_number_is_never_given_to_a_second_release(tmp_path: Path) -> None:
    with ManifestRepository(tmp_path / "r") as repository:
        fill(repository, 7)
        fill(repository, 7)  # the same release again, as after a crash
        with pytest.raises(RepositoryError, match="taken"):
            fill(repository, 7, b"another")
        found = repository.find(7)
        assert found is not None
        assert found.manifest_store == b"store"


def test_a_release_can_be_neither_changed_nor_deleted(tmp_path: Path) -> None:
    with ManifestRepository(tmp_path / "r") as repository:
        fill(repository, 7)
    database = sqlite3.connect(tmp_path / "r")
    for statement in ("UPDATE manifests SET store = x'00'", "DELETE FROM manifests"):
        with pytest.raises(sqlite3.IntegrityError, match="insert only"):
            database.execute(statement)
    database.close()


def test_the_files_are_for_their_owner_only(tmp_path: Path) -> None:
    with ManifestRepository(tmp_path / "r") as repository:
        fill(repository, 7)
        assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


@pytest.mark.parametrize(("store", "sha256"), [(b"", SHA256), (b"store", "AB" * 32), (b"store", "ab" * 31)])
def test_an_empty_store_or_malformed_hash_is_refused(store: bytes, sha256: str, tmp_path: Path) -> None:
    with ManifestRepository(tmp_path / "r") as repository, pytest.raises(RepositoryError):
        repository.store(1, store, clip_sha256=sha256, fingerprint=b"", created_at=NOW)


def test_several_openers_and_threads_write_at_once(tmp_path: Path) -> None:
    repositories = [ManifestRepository(tmp_path / "r") for _ in range(2)]
    threads = [
        threading.Thread(target=lambda n=n: [fill(repositories[n % 2], 100 * n + i) for i in range(10)])
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(repositories[0].find(100 * n + i) for n in range(4) for i in range(10))
    for repository in repositories:
        repository.close()


def test_a_file_that_is_no_repository_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no database, but long enough to be read as one" * 30)
    with pytest.raises(RepositoryError, match="SQLite"):
        ManifestRepository(tmp_path / "text")


def test_segments_of_a_stream_are_kept_in_order_and_found_as_one(tmp_path: Path) -> None:
    """Its fingerprint is that of all segments so far; numbers may not be left out, taken twice or changed."""
    part = b"VFP1" + bytes(128 * 10)
    with ManifestRepository(tmp_path / "manifests.sqlite") as repository:
        stored = {"clip_sha256": "a" * 64, "fingerprint": part, "created_at": NOW}
        with pytest.raises(RepositoryError, match="has no segment 0"):
            repository.store_segment(5, 1, b"store", **stored)  # type: ignore[arg-type]
        repository.store(5, b"first", **stored)  # type: ignore[arg-type]
        repository.store_segment(5, 1, b"second", **stored)  # type: ignore[arg-type]
        for number in (1, 3):
            with pytest.raises(RepositoryError):
                repository.store_segment(5, number, b"other", **stored)  # type: ignore[arg-type]
        found = repository.find(5)
        assert found is not None
        assert (found.manifest_store, found.fingerprint) == (b"first", part + part[4:])
