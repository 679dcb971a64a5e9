"""What may be asked of a clip: gaze, distance, emotion, head motion, blinks, strength; constants or curves in time."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from generator.errors import GeneratorError

FPS: Final = 25
EMOTIONS: tuple[str, ...] = ("neutral", "happy", "sad", "angry", "surprised", "afraid", "disgusted")
MAX_KEYS: Final = 4096  # of one curve

# Control -> smallest and largest value that renderer and motion model are made for.
LIMITS: dict[str, tuple[float, float]] = {
    "gaze_yaw_deg": (-30.0, 30.0),
    "gaze_pitch_deg": (-20.0, 20.0),
    "distance": (0.8, 1.25),
    "emotion_strength": (0.0, 1.0),
    "head_motion": (0.0, 2.0),
    "blink_rate_per_min": (0.0, 60.0),
    "expression_strength": (0.0, 1.5),
}


@dataclass(frozen=True)
class Curve:
    """A number over time: `keys` are (seconds, value), times from 0 on and rising.

    Between two keys the value changes evenly; before the first and after the last key it stays. Raises
    `GeneratorError` without a key, with more than `MAX_KEYS`, or with times that don't rise.
    """

    keys: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        _require_rising([key[0] for key in self.keys])

    def at(self, time_s: float) -> float:
        """The value at a time."""
        before, after, part = _between(self.keys, time_s)
        return self.keys[before][1] + part * (self.keys[after][1] - self.keys[before][1])


@dataclass(frozen=True)
class EmotionCurve:
    """An emotion over time: `keys` are (seconds, emotion, strength 0..1), times as in `Curve`.

    Between two keys of one emotion, or of one and neutral, the strength changes evenly. From one emotion to another
    the first fades out until half-way, then the second fades in: a face never jumps. Raises `GeneratorError` like
    `Curve`, and on a name or a strength that isn't known.
    """

    keys: tuple[tuple[float, str, float], ...]

    def __post_init__(self) -> None:
        _require_rising([key[0] for key in self.keys])
        for _, emotion, strength in self.keys:
            _require_emotion(emotion)
            _require_within("emotion_strength", strength)

    def at(self, time_s: float) -> tuple[str, float]:
        """Emotion and strength at a time."""
        before, after, part = _between(self.keys, time_s)
        (_, first, from_strength), (_, second, to_strength) = self.keys[before], self.keys[after]
        if first == second:
            return first, from_strength + part * (to_strength - from_strength)
        if second == "neutral":
            return first, from_strength * (1 - part)
        if first == "neutral":
            return second, to_strength * part
        return (first, from_strength * (1 - 2 * part)) if part < 0.5 else (second, to_strength * (2 * part - 1))


@dataclass(frozen=True)
class ControlValues:
    """Controls at one frame; members as in `Controls`."""

    gaze_yaw_deg: float
    gaze_pitch_deg: float
    distance: float
    emotion: str
    emotion_strength: float
    head_motion: float
    blink_rate_per_min: float
    expression_strength: float


@dataclass(frozen=True)
class Controls:
    """Controls of one clip. Raises `GeneratorError` on a value outside `LIMITS` or an unknown emotion.

    Gaze: positive yaw looks to the right of the picture, positive pitch looks down, (0, 0) into the camera.
    `distance`: of the head from the camera, 1 = as in the portrait. `head_motion` 0 holds the head still.
    `emotion_strength` scales the strengths of an emotion that is a curve.
    """

    gaze_yaw_deg: float | Curve = 0.0
    gaze_pitch_deg: float | Curve = 0.0
    distance: float | Curve = 1.0
    emotion: str | EmotionCurve = "neutral"
    emotion_strength: float | Curve = 1.0
    head_motion: float | Curve = 1.0
    blink_rate_per_min: float | Curve = 17.0
    expression_strength: float | Curve = 1.0

    def __post_init__(self) -> None:
        if not isinstance(self.emotion, EmotionCurve):
            _require_emotion(self.emotion)
        for name in LIMITS:
            wanted: float | Curve = getattr(self, name)
            for value in (value for _, value in wanted.keys) if isinstance(wanted, Curve) else (wanted,):
                _require_within(name, value)

    def at(self, frame: int) -> ControlValues:
        """The values at frame `frame`, `FPS` a second, counted from 0."""
        time_s = frame / FPS
        emotion, strength = self.emotion.at(time_s) if isinstance(self.emotion, EmotionCurve) else (self.emotion, 1.0)
        return ControlValues(
            gaze_yaw_deg=_value(self.gaze_yaw_deg, time_s),
            gaze_pitch_deg=_value(self.gaze_pitch_deg, time_s),
            distance=_value(self.distance, time_s),
            emotion=emotion,
            emotion_strength=strength * _value(self.emotion_strength, time_s),
            head_motion=_value(self.head_motion, time_s),
            blink_rate_per_min=_value(self.blink_rate_per_min, time_s),
            expression_strength=_value(self.expression_strength, time_s),
        )


def _value(wanted: float | Curve, time_s: float) -> float:
    return wanted.at(time_s) if isinstance(wanted, Curve) else wanted


def _between(keys: Sequence[tuple[float, *tuple[object, ...]]], time_s: float) -> tuple[int, int, float]:
    """The keys around a time, and how far it is from the first to the second, 0..1."""
    after = bisect_right(keys, time_s, key=lambda key: key[0])
    if after == 0:
        return 0, 0, 0.0
    if after == len(keys):
        return after - 1, after - 1, 0.0
    start, end = keys[after - 1][0], keys[after][0]
    return after - 1, after, (time_s - start) / (end - start)


def _require_rising(times_s: Sequence[float]) -> None:
    if not 1 <= len(times_s) <= MAX_KEYS:
        raise GeneratorError(f"a curve has {len(times_s)} keys; it must have 1 to {MAX_KEYS}")
    if not (times_s[0] >= 0 and math.isfinite(times_s[-1]) and all(a < b for a, b in pairwise(times_s))):
        raise GeneratorError("the times of a curve must be finite, not negative, and rise from key to key")


def _require_emotion(emotion: str) -> None:
    if emotion not in EMOTIONS:
        raise GeneratorError(f"emotion {emotion!r} is not known; choose one of {', '.join(EMOTIONS)}")


def _require_within(name: str, value: float) -> None:
    low, high = LIMITS[name]
    if not low <= value <= high:  # also catches NaN
        raise GeneratorError(f"{name} is {value!r}; it must lie between {low:g} and {high:g}")
