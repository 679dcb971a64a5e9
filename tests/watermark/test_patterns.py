"""The keyed patterns are fixed for ever, fair, and differ in every respect between keys."""

import hashlib

import numpy as np

from tests.watermark.conftest import KEY, OTHER_KEY
from watermark import prf
from watermark.video_pattern import VideoPattern


def test_the_patterns_of_a_key_never_change() -> None:
    """Marked clips are out there: a change here would make them unreadable."""
    video = VideoPattern.of(KEY)
    digest = hashlib.sha256()
    for part in (video.pilot_waves, video.pilot_phases, video.signs, video.owner):
        digest.update(part.numpy().tobytes())
    assert digest.hexdigest() == "1dce3c2a8898f3dee87fcee13e49913a7092ac4c36c55d6b64a8f79d326cd369"


def test_signs_are_fair_and_patterns_of_two_keys_unrelated() -> None:
    mine, theirs = (VideoPattern.of(key) for key in (KEY, OTHER_KEY))
    chips = mine.signs.numel()
    assert abs(int(mine.signs.sum())) < 5 * chips**0.5
    assert abs(int((mine.signs * theirs.signs).sum())) < 5 * chips**0.5


def test_labels_separate_the_streams() -> None:
    a, b = (np.frombuffer(prf.stream(KEY, label, 4096), np.uint8) for label in ("one", "two"))
    assert abs(np.mean(np.unpackbits(a ^ b)) - 0.5) < 0.02
    assert prf.derive(KEY, "one") != prf.derive(OTHER_KEY, "one")


def test_every_coded_bit_owns_as_many_cells_in_every_segment() -> None:
    for owner in VideoPattern.of(KEY).owner.numpy():
        assert set(np.bincount(owner)) == {8}
