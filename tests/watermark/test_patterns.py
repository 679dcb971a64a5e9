"""The keyed patterns are fixed for ever, fair, and differ in every respect between keys."""

import hashlib

import numpy as np
import torch

from tests.watermark.conftest import KEY, OTHER_KEY, SITE_KEYS
from watermark import prf
from watermark.audio_pattern import AudioPattern
from watermark.pilot import Pilot
from watermark.video_pattern import VideoPattern


def test_the_patterns_of_a_key_never_change() -> None:
    """Marked clips are out there: a change here would make them unreadable."""
    video, pilot = VideoPattern.of(KEY), Pilot.of(KEY)
    digest = hashlib.sha256()
    for part in (pilot.waves, pilot.phases, video.signs, video.owner.long()):
        digest.update(part.numpy().tobytes())
    assert digest.hexdigest() == "1dce3c2a8898f3dee87fcee13e49913a7092ac4c36c55d6b64a8f79d326cd369"


def test_the_patterns_of_a_site_key_never_change() -> None:
    digest = hashlib.sha256()
    video, pilot, sound = VideoPattern.of(SITE_KEYS[0]), Pilot.of(SITE_KEYS[0]), AudioPattern.of(SITE_KEYS[0])
    for part in (pilot.waves, pilot.phases, video.signs, video.owner, sound.pilot, sound.signs, sound.owner):
        digest.update(part.numpy().tobytes())
    assert digest.hexdigest() == "ac32dbe76afee21c38849ee823382e878d75c3074455d4e80544a33763440d23"


def test_keys_of_a_site_share_the_pilot_and_nothing_else() -> None:
    one, other = (VideoPattern.of(key) for key in SITE_KEYS[:2])
    assert torch.equal(one.pilot, other.pilot)
    assert abs(int((one.signs * other.signs).sum())) < 5 * one.signs.numel() ** 0.5
    mine, theirs = (AudioPattern.of(key) for key in SITE_KEYS[:2])
    assert torch.equal(mine.pilot, theirs.pilot)
    data = mine.owner >= 0
    assert torch.equal(data, theirs.owner >= 0)
    assert abs(float((mine.signs * theirs.signs)[data].sum())) < 5 * int(data.sum()) ** 0.5
    assert float((mine.owner == theirs.owner)[data].float().mean()) < 0.02


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
