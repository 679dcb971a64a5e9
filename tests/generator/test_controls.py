"""Controls over time: what a curve says between its keys, what is refused, and that the motion follows."""

import math
from itertools import pairwise

import pytest

from generator import FPS, Controls, Curve, EmotionCurve, GeneratorError
from generator.controls import MAX_KEYS
from generator.motion_processes import Living, start_living, step_living

RAMP = Curve(((1.0, 0.0), (3.0, 20.0)))


@pytest.mark.parametrize(("time_s", "value"), [(0, 0), (1, 0), (1.52, 5.2), (2, 10), (3, 20), (1000, 20)])
def test_a_curve_is_even_between_keys_and_constant_beyond_them(time_s: float, value: float) -> None:
    assert RAMP.at(time_s) == pytest.approx(value)
    assert Controls(gaze_yaw_deg=RAMP).at(round(time_s * FPS)).gaze_yaw_deg == pytest.approx(value)


def test_constants_are_the_same_at_every_frame() -> None:
    controls = Controls(gaze_yaw_deg=3.0, emotion="sad", emotion_strength=0.4)
    assert controls.at(0) == controls.at(90_000)
    assert (controls.at(7).emotion, controls.at(7).emotion_strength) == ("sad", 0.4)


@pytest.mark.parametrize(
    ("time_s", "felt"),
    [(0, ("happy", 1.0)), (0.5, ("happy", 0.5)), (1, ("sad", 0.0)), (1.5, ("sad", 0.4)), (2, ("sad", 0.8)),
     (2.5, ("sad", 0.5)), (3.5, ("sad", 0.1)), (4.5, ("angry", 0.5)), (9, ("angry", 1.0))],
)  # fmt: skip
def test_one_emotion_fades_out_before_the_next_fades_in(time_s: float, felt: tuple[str, float]) -> None:
    curve = EmotionCurve(
        ((0.0, "happy", 1.0), (2.0, "sad", 0.8), (3.0, "sad", 0.2), (4.0, "neutral", 1.0), (5.0, "angry", 1.0))
    )
    assert curve.at(time_s) == (felt[0], pytest.approx(felt[1]))
    halved = Controls(emotion=curve, emotion_strength=0.5).at(round(time_s * FPS))
    assert halved.emotion_strength == pytest.approx(felt[1] / 2, abs=0.02)


@pytest.mark.parametrize(
    "keys",
    [(), ((1.0, 0.0), (1.0, 1.0)), ((2.0, 0.0), (1.0, 1.0)), ((-1.0, 0.0),), ((math.nan, 0.0),), ((math.inf, 0.0),),
     ((0.0, 0.0), (math.nan, 0.0), (1.0, 0.0)), tuple((float(n), 0.0) for n in range(MAX_KEYS + 1))],
)  # fmt: skip
def test_a_curve_without_rising_times_is_refused(keys: tuple[tuple[float, float], ...]) -> None:
    with pytest.raises(GeneratorError):
        Curve(keys)
    with pytest.raises(GeneratorError):
        EmotionCurve(tuple((time_s, "happy", 1.0) for time_s, _ in keys))


@pytest.mark.parametrize("value", [30.1, -31.0, math.nan])
def test_every_key_of_a_curve_keeps_to_the_limits(value: float) -> None:
    with pytest.raises(GeneratorError, match="gaze_yaw_deg"):
        Controls(gaze_yaw_deg=Curve(((0.0, 0.0), (1.0, value))))


@pytest.mark.parametrize(("name", "strength"), [("bored", 1.0), ("happy", 1.1), ("happy", math.nan)])
def test_every_key_of_an_emotion_is_known(name: str, strength: float) -> None:
    with pytest.raises(GeneratorError, match="emotion"):
        EmotionCurve(((0.0, name, strength),))


def live(controls: Controls, seconds: int) -> list[Living]:
    state, frames = start_living(controls, 3), []
    for _ in range(seconds * FPS):
        living, state = step_living(state, controls, 3)
        frames.append(living)
    return frames


def test_blinks_follow_a_rate_that_changes_to_zero_and_back() -> None:
    rate = Curve(((0.0, 40.0), (120.0, 40.0), (120.1, 0.0), (240.0, 0.0), (240.1, 20.0)))
    frames = live(Controls(blink_rate_per_min=rate), 480)
    starts = [n / FPS for n, (a, b) in enumerate(pairwise(frames)) if a.blink < 0.5 <= b.blink]
    assert 55 <= sum(s < 120 for s in starts) <= 100
    assert not [s for s in starts if 120.5 < s < 240]
    assert 55 <= sum(s > 240 for s in starts) <= 100


def test_a_rate_as_a_curve_that_stays_blinks_like_the_constant() -> None:
    assert live(Controls(blink_rate_per_min=Curve(((0.0, 17.0),))), 60) == live(Controls(), 60)
