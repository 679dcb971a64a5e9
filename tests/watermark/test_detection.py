"""The false-positive bound counts every tag that was compared."""

from math import log10

import numpy as np
import pytest
from torch import Tensor

from tests.watermark.conftest import KEY, OTHER_KEY, PAYLOAD, SOUND_RATE, blocks
from watermark import detect_audio, detect_video
from watermark.code import LIST_SIZE, encode
from watermark.detection import MOST_ATTEMPTS, Detection, TagCheck
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


def test_no_input_makes_the_bound_exceed_one_in_a_billion() -> None:
    check = TagCheck()
    check.attempts = MOST_ATTEMPTS - LIST_SIZE // 2
    assert not check.exhausted
    assert check.read(np.random.default_rng(1).standard_normal(512), KEY) is None
    assert check.exhausted
    assert check.attempts == MOST_ATTEMPTS
    assert check.read(soft(pack(PAYLOAD, KEY)), KEY) is None, "not even a genuine word is compared after the last"
    assert check.attempts == MOST_ATTEMPTS
    assert 2 * 10**check.log10_false_positive < 1e-9
    assert Detection("video", None, None, check.log10_false_positive, 0.0, 10.0).stopped


def test_a_video_search_stops_at_its_last_tag(marked_head: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("watermark.video_detector.TagCheck", lambda: TagCheck(most=0))
    detection = detect_video(blocks(marked_head), [KEY])
    assert not detection.found
    assert detection.seconds_used == pytest.approx(3.0), "the first look already ends it"


def test_a_sound_search_stops_at_its_last_tag(marked_voice: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("watermark.audio_detector.TagCheck", lambda: TagCheck(most=0))
    assert not detect_audio([marked_voice], [KEY], sample_rate=SOUND_RATE).found


def test_a_detection_is_found_only_with_a_payload() -> None:
    nothing = Detection("video", None, None, -14.0, 99.0, 10.0)
    assert not nothing.found
