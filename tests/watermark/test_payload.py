"""A payload is accepted only if it is genuine."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.watermark.conftest import KEY, OTHER_KEY, PAYLOAD
from watermark import MarkKey, Payload, WatermarkError
from watermark.payload import header_bits, pack, unpack

manifest_ids = st.integers(0, 2**64 - 1)


@given(manifest_ids, st.binary(min_size=32, max_size=32), st.integers(0, 4095))
@settings(max_examples=60, deadline=None)
def test_every_payload_comes_back_under_its_key(manifest_id: int, secret: bytes, key_id: int) -> None:
    key = MarkKey(secret, key_id)
    assert unpack(pack(Payload(manifest_id), key), key) == Payload(manifest_id)


def test_the_wire_form_is_version_key_id_manifest_id_tag() -> None:
    bits = pack(PAYLOAD, KEY)
    wire = int("".join(map(str, bits)), 2)
    assert len(bits) == 128
    assert (wire >> 124, wire >> 112 & 0xFFF, wire >> 48 & (2**64 - 1)) == (1, KEY.key_id, PAYLOAD.manifest_id)
    assert np.array_equal(bits[:16], header_bits(KEY))


def test_any_single_flipped_bit_is_refused() -> None:
    wire = pack(PAYLOAD, KEY)
    for place in range(128):
        flipped = wire.copy()
        flipped[place] ^= 1
        assert unpack(flipped, KEY) is None, place


def test_a_payload_forged_with_another_secret_is_refused() -> None:
    assert unpack(pack(PAYLOAD, OTHER_KEY), KEY) is None


def test_a_truncated_payload_is_an_error() -> None:
    with pytest.raises(WatermarkError):
        unpack(pack(PAYLOAD, KEY)[:120], KEY)


@pytest.mark.parametrize("manifest_id", [-1, 2**64, 1.0, True])
def test_a_manifest_id_must_be_a_64_bit_integer(manifest_id: object) -> None:
    with pytest.raises(WatermarkError):
        Payload(manifest_id)  # type: ignore[arg-type]
