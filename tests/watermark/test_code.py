"""The code corrects what it says it corrects."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from watermark.code import CODED_BITS, LIST_SIZE, decode, encode

messages = st.lists(st.integers(0, 1), min_size=128, max_size=128).map(lambda bits: np.array(bits, np.uint8))


def received(message: np.ndarray, mean: float, seed: int) -> np.ndarray:
    """Soft bits of the given mean under noise of deviation 1."""
    noise = np.random.default_rng(seed).standard_normal(CODED_BITS)
    return mean * (2.0 * encode(message) - 1) + noise


@given(messages)
@settings(max_examples=10, deadline=None)
def test_an_undisturbed_word_gives_its_message(message: np.ndarray) -> None:
    assert np.array_equal(decode(2.0 * encode(message) - 1, message[:16])[0], message)


@given(messages, st.integers(0, 127))
@settings(max_examples=10, deadline=None)
def test_one_message_bit_changes_at_least_35_coded_bits(message: np.ndarray, place: int) -> None:
    other = message.copy()
    other[place] ^= 1
    assert np.sum(encode(message) != encode(other)) >= 35


def test_soft_bits_of_mean_0_9_and_deviation_1_are_read_without_error() -> None:
    random = np.random.default_rng(1)
    for seed in range(20):
        message = random.integers(0, 2, 128).astype(np.uint8)
        assert np.array_equal(decode(received(message, 0.9, seed), message[:16])[0], message), seed


def test_the_list_reads_words_that_its_first_entry_gets_wrong() -> None:
    random = np.random.default_rng(2)
    first = listed = 0
    for seed in range(25):
        message = random.integers(0, 2, 128).astype(np.uint8)
        words = decode(received(message, 0.66, seed), message[:16])
        assert len(words) <= LIST_SIZE
        first += np.array_equal(words[0], message)
        listed += any(np.array_equal(word, message) for word in words)
    assert listed > first


def test_every_listed_word_starts_with_the_known_header_and_none_comes_twice() -> None:
    header = np.array([1, 0] * 8, np.uint8)
    words = decode(np.random.default_rng(3).standard_normal(CODED_BITS), header)
    assert all(np.array_equal(word[:16], header) for word in words)
    assert len({word.tobytes() for word in words}) == len(words) == LIST_SIZE
