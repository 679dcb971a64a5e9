"""The key keeps its secret and survives storage."""

import pytest

from watermark import MarkKey, WatermarkError
from watermark.key import by_pilot


@pytest.mark.parametrize("key", [MarkKey.generate(), MarkKey(bytes(range(32)), 7)], ids=["shared pilot", "own pilot"])
def test_a_stored_key_comes_back_equal(key: MarkKey) -> None:
    assert MarkKey.from_bytes(key.to_bytes()) == key


def test_a_key_beside_another_shares_its_pilot_and_no_more() -> None:
    one = MarkKey.generate(key_id=1)
    other = MarkKey.generate(key_id=2, beside=one)
    assert other.pilot == one.pilot
    assert other.secret not in (one.secret, one.pilot.secret)
    stranger = MarkKey.generate(key_id=3)
    assert [keys for _, keys in by_pilot([one, stranger, other])] == [[one, other], [stranger]]


def test_the_secret_shows_neither_in_repr_nor_in_an_error() -> None:
    key = MarkKey(b"\xc3" * 32, 7, b"\xc4" * 32)
    assert "c3" not in repr(key)
    assert "c4" not in repr(key)
    with pytest.raises(WatermarkError) as caught:
        MarkKey(b"top secret", 7)
    assert "top secret" not in str(caught.value)


def test_two_generated_keys_differ() -> None:
    assert MarkKey.generate(key_id=1).secret != MarkKey.generate(key_id=1).secret


@pytest.mark.parametrize("key_id", [-1, 4096, True, "7"])
def test_a_key_id_must_be_a_12_bit_integer(key_id: object) -> None:
    with pytest.raises(WatermarkError):
        MarkKey(bytes(32), key_id)  # type: ignore[arg-type]


def test_a_pilot_secret_of_another_length_is_refused() -> None:
    with pytest.raises(WatermarkError, match="32 bytes"):
        MarkKey(bytes(32), 1, bytes(31))


@pytest.mark.parametrize("data", [b"", b"VMK1", b"VMK2" + bytes(34), b"VMK1" + bytes(35), b"VMK3" + bytes(66)])
def test_other_bytes_are_refused_as_a_key(data: bytes) -> None:
    with pytest.raises(WatermarkError):
        MarkKey.from_bytes(data)
