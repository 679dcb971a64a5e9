"""Blinks and gaze shifts have the stated statistics and keep to their controls."""

import math
import statistics
from itertools import pairwise

import pytest

from generator import Controls
from generator.motion_processes import Living, blink_closure, start_living, step_living
from generator.motion_random import normal, uniform


def live(seconds: float, controls: Controls, *, seed: int = 3) -> list[Living]:
    state, frames = start_living(controls, seed), []
    for _ in range(round(seconds * 25)):
        living, state = step_living(state, controls, seed)
        frames.append(living)
    return frames


def blink_count(frames: list[Living]) -> int:
    return sum(a.blink < 0.5 <= b.blink for a, b in pairwise(frames))


@pytest.mark.parametrize("rate", [8.0, 17.0, 30.0])
def test_blinks_come_at_the_asked_rate(rate: float) -> None:
    minutes = 5
    counted = statistics.mean(
        blink_count(live(60 * minutes, Controls(blink_rate_per_min=rate), seed=s)) for s in (1, 2)
    )
    assert counted / minutes == pytest.approx(rate, rel=0.25)


def test_no_blinks_at_rate_0() -> None:
    assert max(f.blink for f in live(60, Controls(blink_rate_per_min=0))) == 0


def test_a_blink_closes_faster_than_it_opens_and_closes_fully() -> None:
    curve = [blink_closure(ms / 1000) for ms in range(0, 400)]
    top = [ms for ms, value in enumerate(curve) if value == 1.0]
    assert top, "the eye never closes"
    closing, opening = top[0], max(ms for ms, value in enumerate(curve) if value > 0) - top[-1]
    assert 60 <= closing <= 130
    assert 1.5 * closing <= opening <= 300


def test_blink_intervals_are_skewed_to_the_right() -> None:
    frames = live(60 * 6, Controls())
    starts = [i for i, (a, b) in enumerate(pairwise(frames)) if a.blink < 0.5 <= b.blink]
    gaps = [b - a for a, b in pairwise(starts)]
    assert statistics.mean(gaps) > 1.1 * statistics.median(gaps)
    assert min(gaps) >= 0.4 * 25


def test_gaze_shifts_are_small_and_fast_with_rests_between() -> None:
    frames = live(120, Controls())
    gaze = [(f.gaze_yaw_deg, f.gaze_pitch_deg) for f in frames]
    moves = [math.dist(a, b) for a, b in pairwise(gaze)]
    assert max(math.hypot(*g) for g in gaze) < 3.0
    assert 0.9 < sum(m == 0 for m in moves) / len(moves) < 0.99  # fixations of about a second
    assert statistics.mean(g[0] for g in gaze) == pytest.approx(0, abs=0.3)


def test_random_numbers_depend_on_seed_stream_and_counter_only() -> None:
    draws = {uniform(seed, stream, n) for seed in range(8) for stream in range(8) for n in range(8)}
    assert len(draws) == 512
    assert uniform(3, 4, 5) == uniform(3, 4, 5)
    values = [normal(1, 1, n) for n in range(4000)]
    assert statistics.mean(values) == pytest.approx(0, abs=0.06)
    assert statistics.pstdev(values) == pytest.approx(1, abs=0.05)
