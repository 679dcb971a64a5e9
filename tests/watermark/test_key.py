"""The key keeps its secret and survives storage."""

import pytest

from watermark import MarkKey, WatermarkError


def test_a_stored_key_comes_back_equal() -> None:
    key = MarkKey.generate()
    assert MarkKey.from_bytes(key.to_bytes()) == key


def test_the_secret_shows_neither_in_repr_nor_in_an_error() -> None:
    key = MarkKey(b"\xc3" * 32, 7)
    assert "c3" not in repr(key)
    with pytest.raises(WatermarkError) as caught:
        MarkKey(b"top secret", 7)
    assert "top secret" not in str(caught.value)


def test_two_generated_keys_differ() -> None:
    assert MarkKey.generate(key_id=1).secret != MarkKey.generate(key_id=1).secret


@pytest.mark.parametrize("key_id", [-1, 4096, True, "7"])
def test_a_key_id_must_be_a_12_bit_integer(key_id: object) -> None:
    with pytest.raises(WatermarkError):
        MarkKey(bytes(32), key_id)  # type: ignore[arg-type]


@pytest.mark.parametrize("data", [b"", b"VMK1", b"VMK2" + bytes(34), b"VMK1" + bytes(35)])
def test_other_bytes_are_refused_as_a_key(data: bytes) -> None:
    with pytest.raises(WatermarkError):
        MarkKey.from_bytes(data)
