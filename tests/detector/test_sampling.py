"""Frames are sampled evenly, boundedly, and alike however the stream is cut; faces are followed over them."""

import itertools

import torch
from hypothesis import given
from hypothesis import strategies as st

from detector.even_sampling import CAPACITY, EvenSampler
from detector.face_crops import FaceCrop
from detector.pooling import follow_faces, pooled_logit


@given(st.floats(0.3, 3000), st.floats(1, 60))
def test_samples_are_bounded_and_even_over_any_length(duration_s: float, fps: float) -> None:
    sampler: EvenSampler[int] = EvenSampler()
    count = min(int(duration_s * fps) + 1, 20_000)
    for number in range(count):
        if sampler.wants(number / fps):
            sampler.keep(number / fps, number)
    times = [time for time, _ in sampler.samples()]
    assert 1 <= len(times) <= CAPACITY
    assert times[0] == 0
    gaps = [b - a for a, b in itertools.pairwise(times)]
    assert all(0 < gap <= 2 * sampler.interval_s + 1 / fps for gap in gaps)
    if count / fps > 4:
        assert len(times) > CAPACITY // 4 or len(times) == count


def crop(x: float, y: float, side: float) -> FaceCrop:
    return FaceCrop((x, y, x + side, y + side), torch.zeros(3, 2, 2, dtype=torch.uint8))


def test_two_people_stay_two_tracks_when_their_order_changes() -> None:
    left = [crop(10 + t, 50, 100 - t) for t in range(6)]
    right = [crop(300 - t, 60, 97 + t) for t in range(6)]
    frames = [sorted(both, key=lambda c: -c.face_px) for both in zip(left, right, strict=True)]
    tracks = follow_faces(frames)
    assert [len(track.samples) for track in tracks] == [6, 6]
    assert {tuple(c.box[0] < 150 for c in track.crops) for track in tracks} == {(True,) * 6, (False,) * 6}


def test_a_face_that_leaves_and_returns_is_one_track() -> None:
    tracks = follow_faces([[crop(0, 0, 50)], [], [], [crop(4, 2, 52)]])
    assert [track.samples for track in tracks] == [[0, 3]]


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=40))
def test_pooling_lies_between_the_frames_and_ignores_their_order(values: list[float]) -> None:
    pooled = pooled_logit(torch.tensor(values))
    assert min(values) - 1e-4 <= pooled <= max(values) + 1e-4
    assert pooled == pooled_logit(torch.tensor(values[::-1]))


def test_one_outlying_frame_of_a_long_clip_does_not_decide() -> None:
    assert pooled_logit(torch.tensor([0.0] * 15 + [100.0])) == 0
