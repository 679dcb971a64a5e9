"""The log as tiles: named and cut as the format says, complete, and any change of any file is seen."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from provenance import LogError, ProofError, TransparencyLog, export_tiles, verify_checkpoint, verify_tiles
from provenance.rfc6962 import leaf_hash, node_hash
from provenance.tiles import tile_name, tiles_of

ORIGIN = "log.example.org/vasari"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key()


def test_tiles_are_named_in_groups_of_three_digits() -> None:
    assert [tile_name(n) for n in (0, 67, 999, 1000, 1234067)] == ["000", "067", "999", "x001/000", "x001/x234/067"]


@given(st.integers(0, 2**34))
def test_the_widths_of_each_level_are_those_of_the_format(size: int) -> None:
    tiles = list(tiles_of(size)) if size < 2**18 else []
    for level in range(3):
        of_level = [width for at, _, width in tiles if at == level]
        assert sum(of_level) == (size >> 8 * level if tiles else 0)
        assert all(width == 256 for width in of_level[:-1])
        assert all(0 < width <= 256 for width in of_level)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """70,000 entries: three levels, the last two partial."""
    folder = tmp_path_factory.mktemp("tiles")
    with TransparencyLog(folder / "log.sqlite", origin=ORIGIN, signer=KEY) as log:
        log.append_all([b"%d" % n for n in range(66_000)])
        (folder / "old.checkpoint").write_text(log.checkpoint())
        export_tiles(log, folder / "served")
        log.append_all([b"%d" % n for n in range(66_000, 70_000)])
        export_tiles(log, folder / "served")
    return folder


def test_a_grown_log_is_verified_from_its_tiles_alone(served: Path) -> None:
    old = verify_checkpoint((served / "old.checkpoint").read_text(), origin=ORIGIN, public_key=PUBLIC)
    checkpoint = verify_tiles(served / "served", origin=ORIGIN, public_key=PUBLIC, since=old)
    assert (old.size, checkpoint.size) == (66_000, 70_000)


def test_a_tile_holds_the_hashes_that_its_place_says(served: Path) -> None:
    tile = served / "served" / "tile"
    assert (tile / "0" / "001").read_bytes()[:32] == leaf_hash(b"256")
    hashes = [leaf_hash(b"%d" % n) for n in range(256)]
    while len(hashes) > 1:
        hashes = [node_hash(a, b) for a, b in zip(hashes[::2], hashes[1::2], strict=True)]
    assert (tile / "1" / "000").read_bytes()[:32] == hashes[0]
    assert (tile / "1" / "001.p" / "17").stat().st_size == 17 * 32
    assert (tile / "2" / "000.p" / "1").stat().st_size == 32
    assert (tile / "entries" / "273.p" / "112").read_bytes()[:7] == b"\0\x0569888"


@pytest.mark.parametrize("name", ["tile/0/000", "tile/1/000", "tile/2/000.p/1", "tile/entries/100", "checkpoint"])
def test_a_changed_or_missing_file_is_seen(name: str, served: Path) -> None:
    path = served / "served" / name
    content = path.read_bytes()
    try:
        path.write_bytes(content[:-10] + bytes([content[-10] ^ 1]) + content[-9:])
        with pytest.raises(ProofError):
            verify_tiles(served / "served", origin=ORIGIN, public_key=PUBLIC)
        path.unlink()
        with pytest.raises(LogError, match="missing"):
            verify_tiles(served / "served", origin=ORIGIN, public_key=PUBLIC)
    finally:
        path.write_bytes(content)


def test_an_older_checkpoint_of_another_history_is_seen(served: Path, tmp_path: Path) -> None:
    with TransparencyLog(tmp_path / "other.sqlite", origin=ORIGIN, signer=KEY) as other:
        other.append(b"another history")
        old = verify_checkpoint(other.checkpoint(), origin=ORIGIN, public_key=PUBLIC)
    with pytest.raises(ProofError, match="does not extend"):
        verify_tiles(served / "served", origin=ORIGIN, public_key=PUBLIC, since=old)
