"""Keys of one site share a pilot: the place is looked for once, and still only the right key reads a mark."""

import pytest
import torch
from torch import Tensor

from tests.watermark.conftest import (
    KEY,
    OTHER_KEY,
    PAYLOAD,
    SITE_KEYS,
    SOUND_RATE,
    blocks,
    mark_sound,
    mark_video,
)
from watermark import MarkKey, detect_audio, detect_still, detect_video, video_detector
from watermark.code import encode
from watermark.payload import pack
from watermark.pilot import Pilot
from watermark.pose import identity_matrix
from watermark.soft_bits import folded
from watermark.video_pattern import VideoPattern

MARKED_BY = SITE_KEYS[26]


@pytest.fixture(scope="module")
def site_head(head: Tensor) -> Tensor:
    return mark_video(head, key=MARKED_BY)


@pytest.fixture
def searched(monkeypatch: pytest.MonkeyPatch) -> list[Pilot]:
    """The pilots whose poses were looked for."""
    seen: list[Pilot] = []
    search = video_detector.search_linear

    def spy(spectra: video_detector.Spectra, pilot: Pilot) -> list[object]:
        seen.append(pilot)
        return list(search(spectra, pilot))

    monkeypatch.setattr(video_detector, "search_linear", spy)
    return seen


def test_the_right_one_of_forty_keys_reads_a_crop_after_one_search(site_head: Tensor, searched: list[Pilot]) -> None:
    detection = detect_video(blocks(site_head[:, :, 40:330, 70:360]), SITE_KEYS)
    assert (detection.payload, detection.key_id) == (PAYLOAD, MARKED_BY.key_id)
    assert len(searched) == 1


def test_pilots_of_several_sites_are_all_looked_for(site_head: Tensor, searched: list[Pilot]) -> None:
    turned = site_head.flip(2)
    keys = [KEY, *SITE_KEYS[:2], OTHER_KEY, MARKED_BY]
    detection = detect_video(blocks(turned), keys)
    assert (detection.payload, detection.key_id) == (PAYLOAD, MARKED_BY.key_id)
    assert set(searched) == {Pilot.of(KEY), Pilot.of(MARKED_BY)}


def test_the_other_keys_of_a_site_see_the_pilot_and_read_nothing(site_head: Tensor) -> None:
    others = [key for key in SITE_KEYS if key != MARKED_BY]
    detection = detect_video(blocks(site_head), others)
    assert not detection.found
    assert detection.pilot_z > video_detector.SURE_OF_TIME


def test_to_another_key_of_the_site_the_bits_are_coin_tosses(site_head: Tensor) -> None:
    window = video_detector.FrameWindow()
    for block in blocks(site_head):
        window.push(block.frames, block.times)
    view = video_detector._View(window)
    plain = identity_matrix(*view.pictures.shape[1:])
    pose = video_detector.strength(view.spectra((1.0,)).waves[0], plain, 1.0, Pilot.of(MARKED_BY))
    (seen, *_) = folded(view.slots, view.pictures, pose, [pose.phase_slots])
    coded = torch.from_numpy(encode(pack(PAYLOAD, MARKED_BY))).bool()

    def agreement(key: MarkKey) -> float:
        shares = VideoPattern.of(key).correlate(seen.torus)
        first = torch.arange(shares.shape[0])
        return float(((shares[first, :, first].sum(0) > 0) == coded).float().mean())

    assert agreement(MARKED_BY) > 0.95
    others = [agreement(key) for key in SITE_KEYS if key != MARKED_BY]
    assert abs(sum(others) / len(others) - 0.5) < 5 * 0.5 / (len(others) * 512) ** 0.5


def test_tags_are_counted_over_all_keys_of_a_site(site_head: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("watermark.soft_bits.WORTH_DECODING", -1e9)
    few, many = (detect_video(blocks(site_head), SITE_KEYS[:count]) for count in (2, 8))
    assert not few.found
    assert not many.found
    assert 10 ** (many.log10_false_positive - few.log10_false_positive) >= 3


@pytest.mark.parametrize("keys", [[MARKED_BY], [*SITE_KEYS[:3], MARKED_BY]], ids=["first", "retired"])
def test_a_mark_without_its_pilot_is_read_where_it_was_made(head: Tensor, keys: list[MarkKey]) -> None:
    stripped = mark_video(head, key=MarkKey(MARKED_BY.secret, MARKED_BY.key_id, b"\x66" * 32))
    detection = detect_video(blocks(stripped), keys)
    assert (detection.payload, detection.key_id) == (PAYLOAD, MARKED_BY.key_id)


def test_a_still_is_read_by_the_right_key_of_a_site(site_head: Tensor) -> None:
    detection = detect_still(site_head[40], SITE_KEYS[20:30])
    assert (detection.payload, detection.key_id) == (PAYLOAD, MARKED_BY.key_id)


def test_sound_is_read_by_the_right_key_of_a_site(voice: Tensor) -> None:
    marked = mark_sound(voice, key=MARKED_BY)
    detection = detect_audio([marked], SITE_KEYS, sample_rate=SOUND_RATE)
    assert (detection.payload, detection.key_id) == (PAYLOAD, MARKED_BY.key_id)
    others = [key for key in SITE_KEYS if key != MARKED_BY]
    assert not detect_audio([marked], others, sample_rate=SOUND_RATE).found
