"""A mark that was read in sound is placed in time, whatever was cut in or out."""

import pytest
import torch
from torch import Tensor

from benchmarks.watermark_clips import speech
from media import audio_round_trip
from tests.watermark.conftest import KEY, SOUND_RATE, mark_sound
from watermark import WatermarkError, detect_audio, locate_sound_mark


def seconds(sound: Tensor, start: float, end: float) -> Tensor:
    return sound[round(start * SOUND_RATE) : round(end * SOUND_RATE)]


@pytest.fixture(scope="module")
def plain() -> Tensor:
    return speech(14.0, sample_rate=SOUND_RATE, seed=3)


@pytest.fixture(scope="module")
def marked(plain: Tensor) -> Tensor:
    return mark_sound(plain)


def placed(sound: Tensor) -> list[tuple[float, float]]:
    found = detect_audio([sound], [KEY], sample_rate=SOUND_RATE)
    return [(one.start_s, one.end_s) for one in locate_sound_mark([sound], found, [KEY], sample_rate=SOUND_RATE)]


def test_a_marked_part_of_a_recording_is_placed(plain: Tensor, marked: Tensor) -> None:
    joined = torch.cat([seconds(plain, 0, 4), seconds(marked, 4, 11), seconds(plain, 11, 14)])
    ((start, end),) = placed(audio_round_trip(joined, sample_rate=SOUND_RATE, bit_rate=64_000))
    assert (start, end) == pytest.approx((4, 11), abs=0.5)


def test_parts_whose_pattern_begins_elsewhere_are_placed_too(plain: Tensor, marked: Tensor) -> None:
    joined = torch.cat([seconds(marked, 0, 5), seconds(plain, 5, 8), seconds(marked, 9.3, 14)])
    first, second = placed(joined)
    assert first == pytest.approx((0, 5), abs=0.5)
    assert second == pytest.approx((8, 12.7), abs=0.5)


def test_only_what_was_read_can_be_placed(plain: Tensor) -> None:
    nothing = detect_audio([seconds(plain, 0, 3)], [KEY], sample_rate=SOUND_RATE)
    with pytest.raises(WatermarkError, match="only a mark that was read"):
        locate_sound_mark([plain], nothing, [KEY], sample_rate=SOUND_RATE)
