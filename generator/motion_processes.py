"""What a living face does beside speaking: blinks, small gaze shifts, head sway, nods and brows on stress.

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
- Head: smooth low-frequency sway; the GRID talkers' deviation while speaking is 0.9, 0.6 and 0.3 degrees (pitch, yaw,
  roll); these are a little livelier. Nods and brow raises start on stressed, louder syllables.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

from generator.controls import FPS, Controls
from generator.motion_random import normal, uniform

_BLINK, _BLINK_LENGTH, _FIXATION, _SACCADE, _NOD, _BROW, _SWAY = range(1, 8)

CLOSING_S, CLOSED_S, OPENING_S = 0.09, 0.03, 0.19
SHORTEST_BLINK_INTERVAL_S, BLINK_SPREAD = 0.6, 0.75
FIXATION_S, FIXATION_SPREAD, SHORTEST_FIXATION_S = 1.1, 0.6, 0.25
SACCADE_DEG, LARGEST_SACCADE_DEG = 0.9, 2.8
SWAY_DEG: Final = (1.4, 1.2, 0.7)  # yaw, pitch, roll: deviation while speaking, before nods
SWAY_MEMORY_S: Final = 0.45
LISTENING_SWAY: Final = 0.25  # of the speaking sway
NOD_S, NOD_DEG, NOD_CHANCE, SHORTEST_NOD_INTERVAL_S = 0.52, 2.0, 0.6, 0.55
BROW_S, BROW_CHANCE, BROW_WEIGHT = 0.6, 0.4, 0.3


@dataclass(frozen=True)
class Hump:
    """A gesture that rises and falls once, `start` and `length` in frames."""

    start: int
    length: float
    height: float

    def at(self, frame: int) -> float:
        phase = (frame - self.start) / self.length
        return self.height * math.sin(math.pi * phase) ** 2 if 0 <= phase <= 1 else 0.0


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
    sway: tuple[float, ...] = (0.0,) * 15  # three filter stages for yaw, pitch, roll, tx, scale
    speaking: float = 0.0  # slow gate
    loudness: float = 0.0  # slow mean, dB
    last_nod: int = -100
    stresses: int = 0
    nods: tuple[Hump, ...] = ()
    brows: tuple[Hump, ...] = ()


@dataclass(frozen=True)
class Living:
    """One frame: `pose` as in `MotionBlock` without the asked distance; `gaze` offsets; weights 0..1."""

    yaw_deg: float
    pitch_deg: float
    roll_deg: float
    tx: float
    ty: float
    scale: float
    gaze_yaw_deg: float
    gaze_pitch_deg: float
    blink: float
    brow: float
    speaking: float


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


def step_living(
    state: LivingState, controls: Controls, seed: int, *, loudness_db: float, active: float
) -> tuple[Living, LivingState]:
    """One frame on. `loudness_db` of the sound of this frame, `active` 0..1: somebody speaks."""
    state = replace(
        state, speaking=state.speaking + (0.12 if active > state.speaking else 0.04) * (active - state.speaking)
    )
    wanted = controls.at(state.frame)
    state, blink = _blink(state, wanted.blink_rate_per_min, seed)
    state, gaze = _gaze(state, seed)
    state = _stress(state, seed, loudness_db, active)
    state = _sway(state, seed)
    head = wanted.head_motion
    amount = head * (LISTENING_SWAY + (1 - LISTENING_SWAY) * state.speaking)
    yaw, pitch, roll, tx, size = (state.sway[3 * i + 2] for i in range(5))
    nod = sum(h.at(state.frame) for h in state.nods)
    breath = math.sin(2 * math.pi * (state.frame / FPS / 3.9 + uniform(seed, _SWAY, 0)))
    breath -= math.sin(2 * math.pi * uniform(seed, _SWAY, 0))  # starts at the portrait's place
    yaw_deg = SWAY_DEG[0] * yaw * amount
    pitch_deg = SWAY_DEG[1] * pitch * amount + nod * head
    living = Living(
        yaw_deg=yaw_deg,
        pitch_deg=pitch_deg,
        roll_deg=SWAY_DEG[2] * roll * amount + 0.15 * yaw_deg,
        tx=0.004 * tx * amount + 0.002 * yaw_deg,
        ty=0.0015 * breath * head + 0.002 * pitch_deg,
        scale=1 + 0.004 * size * amount,
        gaze_yaw_deg=gaze[0],
        gaze_pitch_deg=gaze[1],
        blink=blink,
        brow=sum(h.at(state.frame) for h in state.brows),
        speaking=state.speaking,
    )
    return living, replace(state, frame=state.frame + 1)


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


def _stress(state: LivingState, seed: int, loudness_db: float, active: float) -> LivingState:
    """A syllable much louder than the recent mean starts a nod or a brow raise, by chance."""
    rise = loudness_db - state.loudness
    slow = state.loudness + (0.2 if rise > 0 else 0.06) * rise
    state = replace(
        state,
        loudness=slow,
        nods=tuple(h for h in state.nods if state.frame <= h.start + h.length),
        brows=tuple(h for h in state.brows if state.frame <= h.start + h.length),
    )
    rested = state.frame - state.last_nod > SHORTEST_NOD_INTERVAL_S * FPS
    if not (rise > 5 and active > 0.5 and rested):
        return state
    n, strength = state.stresses + 1, min(1.5, rise / 9)
    state = replace(state, stresses=n, last_nod=state.frame)
    if uniform(seed, _NOD, 2 * n) < NOD_CHANCE:
        height = NOD_DEG * strength * (0.6 + 0.8 * uniform(seed, _NOD, 2 * n + 1))
        state = replace(state, nods=(*state.nods, Hump(state.frame - 1, NOD_S * FPS, height)))
    if uniform(seed, _BROW, 2 * n) < BROW_CHANCE:
        height = BROW_WEIGHT * strength * (0.5 + uniform(seed, _BROW, 2 * n + 1))
        state = replace(state, brows=(*state.brows, Hump(state.frame, BROW_S * FPS, height)))
    return state


def _sway(state: LivingState, seed: int) -> LivingState:
    """White noise through three equal one-pole filters: smooth in position, speed and acceleration."""
    keep = math.exp(-1 / (SWAY_MEMORY_S * FPS))
    out = []
    for channel in range(5):
        a, b, c = state.sway[3 * channel : 3 * channel + 3]
        a = keep * a + (1 - keep) * normal(seed, _SWAY + 1 + channel, state.frame + 1) * _SWAY_GAIN
        b = keep * b + (1 - keep) * a
        c = keep * c + (1 - keep) * b
        out += [a, b, c]
    return replace(state, sway=tuple(out))


def _sway_gain() -> float:
    """Makes the filtered noise's stationary deviation 1: one over the norm of the impulse response."""
    keep = math.exp(-1 / (SWAY_MEMORY_S * FPS))
    energy = sum((math.comb(n + 2, 2) * keep**n * (1 - keep) ** 3) ** 2 for n in range(2000))
    return 1 / math.sqrt(energy)


_SWAY_GAIN: Final = _sway_gain()
