"""The false-positive bound counts every tag that was compared."""

from math import log10

import numpy as np
import pytest

from tests.watermark.conftest import KEY, OTHER_KEY, PAYLOAD
from watermark.code import LIST_SIZE, encode
from watermark.detection import Detection, TagCheck
from watermark.payload import pack


def soft(key_bits: np.ndarray) -> np.ndarray:
    return 2.0 * encode(key_bits) - 1


def test_every_list_entry_of_every_word_is_an_attempt() -> None:
    check = TagCheck()
    random = np.random.default_rng(0)
    for _ in range(3):
        assert check.read(random.standard_normal(512), KEY) is None
    assert check.attempts == 3 * LIST_SIZE
    assert check.log10_false_positive == pytest.approx(log10(3 * LIST_SIZE / 2**48))


def test_reading_ends_with_the_genuine_entry() -> None:
    check = TagCheck()
    assert check.read(soft(pack(PAYLOAD, KEY)), KEY) == PAYLOAD
    assert check.attempts == 1


def test_a_word_with_a_forged_tag_is_refused_though_it_decodes() -> None:
    assert TagCheck().read(soft(pack(PAYLOAD, OTHER_KEY)), KEY) is None


def test_a_detection_is_found_only_with_a_payload() -> None:
    nothing = Detection("video", None, None, -14.0, 99.0, 10.0)
    assert not nothing.found
