"""What living eyes do: blinks at the asked rate and small gaze shifts about the asked direction.

Every process is a pure step from one frame to the next (25 a second) with an explicit state and counter-based
randomness, so equal seeds give equal motion whatever the chunking of the sound.

Statistics and their sources:
- Blinks: intervals are right-skewed, modelled log-normal; 17 a minute at rest, 26 in conversation (Bentivoglio et
  al., "Analysis of blink rate patterns in normal subjects", Movement Disorders 12, 1997; normal range in
  conversation 10.5 to 32.5: Doughty, Optometry and Vision Science 78, 2001). The lid closes in about 0.1 s and opens
  more slowly (Stern, Walrath and Goldstein, "The endogenous eyeblink", Psychophysiology 21, 1984).
- Gaze shifts: a saccade of a few degrees lasts 25 ms plus 2.4 ms a degree, about one frame; small ones are the most
  frequent (exponential amplitude), and fixations last longer towards a partner than elsewhere (Lee, Badler and
  Badler, "Eyes alive", SIGGRAPH 2002). Amplitudes here are kept small, so that the asked gaze holds on average.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from generator.controls import FPS, Controls
from generator.motion_random import normal, uniform

_BLINK, _BLINK_LENGTH, _FIXATION, _SACCADE = range(1, 5)

CLOSING_S, CLOSED_S, OPENING_S = 0.09, 0.03, 0.19
SHORTEST_BLINK_INTERVAL_S, BLINK_SPREAD = 0.6, 0.75
FIXATION_S, FIXATION_SPREAD, SHORTEST_FIXATION_S = 1.1, 0.6, 0.25
SACCADE_DEG, LARGEST_SACCADE_DEG = 0.9, 2.8


@dataclass(frozen=True)
class LivingState:
    """State of all processes after `frame` frames; counters name the next random draw of each stream."""

    frame: int = 0
    blink_start: float = -100.0  # frame, fractional
    next_blink: float = 0.0
    blink_speed: float = 1.0
    blink_interval: float = math.inf  # frames, of the interval that ends with the next blink
    blink_rate_per_min: float = 0.0  # for which the next blink was planned
    blinks: int = 0
    gaze: tuple[float, float] = (0.0, 0.0)  # offset of the present fixation, degrees
    gaze_before: tuple[float, float] = (0.0, 0.0)
    shift_frame: int = -10
    next_shift: float = 0.0
    shifts: int = 0


@dataclass(frozen=True)
class Living:
    """One frame of the eyes: offsets of the gaze from the asked direction in degrees, and how far the lids are shut."""

    gaze_yaw_deg: float
    gaze_pitch_deg: float
    blink: float


def start_living(controls: Controls, seed: int) -> LivingState:
    """First blink and gaze shift fall at a random point of their first interval."""
    rate = controls.at(0).blink_rate_per_min
    interval = _blink_interval_s(rate, seed, 0) * FPS
    return LivingState(
        next_blink=uniform(seed, _BLINK, 0) * interval,
        blink_interval=interval,
        blink_rate_per_min=rate,
        next_shift=uniform(seed, _FIXATION, 1) * FIXATION_S * FPS,
    )


def step_living(state: LivingState, controls: Controls, seed: int) -> tuple[Living, LivingState]:
    """One frame on."""
    state, blink = _blink(state, controls.at(state.frame).blink_rate_per_min, seed)
    state, gaze = _gaze(state, seed)
    return Living(*gaze, blink), replace(state, frame=state.frame + 1)


def _blink_interval_s(rate_per_min: float, seed: int, n: int) -> float:
    """Log-normal with the asked mean, never shorter than `SHORTEST_BLINK_INTERVAL_S`; infinite at rate 0."""
    if rate_per_min <= 0:
        return math.inf
    shortest = min(SHORTEST_BLINK_INTERVAL_S, 30 / rate_per_min)
    mean = 60 / rate_per_min - shortest
    return shortest + mean * math.exp(BLINK_SPREAD * normal(seed, _BLINK, n + 1) - BLINK_SPREAD**2 / 2)


def _blink(state: LivingState, rate_per_min: float, seed: int) -> tuple[LivingState, float]:
    if rate_per_min != state.blink_rate_per_min:
        state = _replanned(state, rate_per_min, seed)
    if state.frame >= state.next_blink:
        n = state.blinks + 1
        interval = _blink_interval_s(rate_per_min, seed, n) * FPS
        state = replace(
            state,
            blink_start=state.next_blink,
            next_blink=state.next_blink + interval,
            blink_interval=interval,
            blink_speed=0.85 + 0.3 * uniform(seed, _BLINK_LENGTH, n),
            blinks=n,
        )
    return state, blink_closure((state.frame - state.blink_start) / FPS * state.blink_speed)


def _replanned(state: LivingState, rate_per_min: float, seed: int) -> LivingState:
    """At another rate, what is left of the present interval keeps its share; after rate 0 a fresh one has begun."""
    interval = _blink_interval_s(rate_per_min, seed, state.blinks) * FPS
    if math.isfinite(state.blink_interval) and math.isfinite(interval):
        left = (state.next_blink - state.frame) / state.blink_interval
    else:
        left = uniform(seed, _BLINK, 0)
    return replace(
        state, next_blink=state.frame + left * interval, blink_interval=interval, blink_rate_per_min=rate_per_min
    )


def blink_closure(since_s: float) -> float:
    """0 open to 1 closed, `since_s` seconds after the lid began to fall; it opens half as fast as it closed."""
    if since_s < 0 or since_s > CLOSING_S + CLOSED_S + OPENING_S:
        return 0.0
    if since_s < CLOSING_S:
        return 0.5 - 0.5 * math.cos(math.pi * since_s / CLOSING_S)
    if since_s < CLOSING_S + CLOSED_S:
        return 1.0
    return 0.5 + 0.5 * math.cos(math.pi * (since_s - CLOSING_S - CLOSED_S) / OPENING_S)


def _gaze(state: LivingState, seed: int) -> tuple[LivingState, tuple[float, float]]:
    if state.frame >= state.next_shift:
        n = state.shifts + 1
        size = min(-SACCADE_DEG * math.log(uniform(seed, _SACCADE, 2 * n)), LARGEST_SACCADE_DEG)
        angle = 2 * math.pi * uniform(seed, _SACCADE, 2 * n + 1)
        fixation = FIXATION_S * math.exp(FIXATION_SPREAD * normal(seed, _FIXATION, n + 1) - FIXATION_SPREAD**2 / 2)
        state = replace(
            state,
            gaze_before=state.gaze,
            gaze=(size * math.cos(angle), 0.6 * size * math.sin(angle)),
            shift_frame=state.frame,
            next_shift=state.frame + max(fixation, SHORTEST_FIXATION_S) * FPS,
            shifts=n,
        )
    size = math.dist(state.gaze, state.gaze_before)
    lasting = (0.025 + 0.0024 * size) * FPS  # frames
    part = min(1.0, (state.frame - state.shift_frame + 0.5) / max(lasting, 0.5))
    mixed = tuple(a + part * (b - a) for a, b in zip(state.gaze_before, state.gaze, strict=True))
    return state, (mixed[0], mixed[1])
