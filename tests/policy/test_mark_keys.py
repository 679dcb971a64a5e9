"""Mark keys rotate without a moment in which one is lost, and read back strictly."""

from pathlib import Path

import pytest

from policy import KeyFileError
from policy.keys import write_secret
from policy.mark_keys import create_mark_key, read_mark_keys, rotate_mark_key
from tests.policy.conftest import GateSimulator
from watermark import MarkKey


def test_the_active_key_comes_first_and_retired_ones_stay(tmp_path: Path) -> None:
    create_mark_key(tmp_path)
    first = read_mark_keys(tmp_path)[0].key
    old, second = rotate_mark_key(tmp_path)
    _, third = rotate_mark_key(tmp_path)
    assert old == first
    stored = read_mark_keys(tmp_path)
    assert stored[0].key == third
    assert {one.key for one in stored[1:]} == {first, second}
    assert [one.active for one in stored] == [True, False, False]
    assert len({one.key.key_id for one in stored}) == 3
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in tmp_path.iterdir())


def test_a_rotation_keeps_the_pilot_unless_a_new_one_is_asked_for(tmp_path: Path) -> None:
    create_mark_key(tmp_path)
    old, second = rotate_mark_key(tmp_path)
    _, third = rotate_mark_key(tmp_path, new_pilot=True)
    assert second.pilot == old.pilot
    assert third.pilot != old.pilot
    assert {one.key.pilot for one in read_mark_keys(tmp_path)} == {old.pilot, third.pilot}


def test_a_key_that_was_stored_before_pilots_were_shared_still_reads_and_keeps_its_own(tmp_path: Path) -> None:
    before = MarkKey(bytes(range(32)), 0x123)
    write_secret(tmp_path / "mark.key", b"VMK1" + bytes([0x01, 0x23]) + bytes(range(32)))
    old, new = rotate_mark_key(tmp_path)
    assert old == before
    assert new.pilot != old.pilot
    _, next_one = rotate_mark_key(tmp_path)
    assert next_one.pilot == new.pilot
    assert [one.key for one in read_mark_keys(tmp_path)] == [next_one, new, before]


def test_a_rotation_that_died_half_way_lost_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create_mark_key(tmp_path)
    first = read_mark_keys(tmp_path)[0].key

    def die(*_: object, **__: object) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as broken:
        broken.setattr("policy.mark_keys.write_secret", die)
        with pytest.raises(OSError, match="disk full"):
            rotate_mark_key(tmp_path)
    assert [one.key for one in read_mark_keys(tmp_path)] == [first]
    _, second = rotate_mark_key(tmp_path)
    assert [one.key for one in read_mark_keys(tmp_path)] == [second, first]


def test_a_missing_damaged_or_open_key_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match=r"mark\.key: cannot be read"):
        read_mark_keys(tmp_path)
    create_mark_key(tmp_path)
    (tmp_path / "mark-123.key").write_bytes(b"short")
    (tmp_path / "mark-123.key").chmod(0o600)
    with pytest.raises(KeyFileError, match=r"mark-123\.key: not a mark key"):
        read_mark_keys(tmp_path)
    (tmp_path / "mark-123.key").chmod(0o644)
    with pytest.raises(KeyFileError, match="other users can read it"):
        read_mark_keys(tmp_path)


def test_a_rotation_is_logged_with_proof_and_survives_reopening(simulator: GateSimulator) -> None:
    before = simulator.authority.mark_key
    receipt = simulator.authority.rotate_mark_key()
    assert b"mark_key.rotated" in simulator.authority.log.entry(receipt.log_index)
    after = simulator.authority.mark_key
    assert after != before
    simulator.reopen()
    assert simulator.authority.mark_keys == (after, before)
