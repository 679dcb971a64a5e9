"""The sound's keyed pattern is fixed for ever, shared out fairly, and free of loudness."""

import hashlib

import numpy as np
import torch

from tests.watermark.conftest import KEY, OTHER_KEY
from watermark.audio_pattern import FRAME, PILOT_CELLS, AudioPattern, deviation, window
from watermark.code import CODED_BITS


def test_the_pattern_of_a_key_never_changes() -> None:
    """Marked clips are out there: a change here would make them unreadable."""
    pattern = AudioPattern.of(KEY)
    digest = hashlib.sha256()
    for part in (pattern.pilot, pattern.signs, pattern.owner):
        digest.update(part.numpy().tobytes())
    assert digest.hexdigest() == "4238d2fb48b70ebcfd4232c38de0548065d933307164a1f9ad4bb657349cfde2"


def test_every_coded_bit_owns_as_many_cells_and_the_pilot_the_rest() -> None:
    owner = AudioPattern.of(KEY).owner.flatten().numpy()
    cells = np.bincount(owner[owner >= 0])
    assert len(cells) == CODED_BITS
    assert cells.max() - cells.min() <= 1
    assert (owner < 0).sum() == PILOT_CELLS


def test_patterns_of_two_keys_are_unrelated() -> None:
    mine, theirs = (AudioPattern.of(key).signs for key in (KEY, OTHER_KEY))
    assert abs(float((mine * theirs).sum())) < 5 * mine.numel() ** 0.5


def test_what_is_written_and_read_does_not_depend_on_loudness() -> None:
    noise = torch.randn(8, FRAME, generator=torch.Generator().manual_seed(1)) * window()
    loud, quiet = (deviation(torch.fft.rfft(gain * noise).abs().square())[0] for gain in (1.0, 0.01))
    assert float((loud - quiet).abs().max()) < 1e-2
