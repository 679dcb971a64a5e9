"""The performance model beside the lips: head, brows and mood of somebody who says given sounds.

Stochastic: every seed is another good performance. Sources of what is written here:
- Head: nods and overshoots fall on stressed syllables, posture shifts between phrases (Graf, Cosatto, Strom and Huang,
  "Visual prosody: facial movements accompanying speech", 2002; Hadar, Steiner, Grant and Rose, "Kinematics of head
  movements accompanying speech", 1983); anger and joy move the head more than sadness (Busso, Deng, Grimm, Neumann and
  Narayanan, "Rigid head motion in expressive speech animation", 2007). Amounts are calibrated to GRID's talkers: over
  3 s their deviations are 0.9, 0.6 and 0.3 degrees (pitch, yaw, roll).
- While somebody speaks the head also beats with the rhythm of syllables, 1 to 4 times a second (the rapid movements of
  Hadar et al.): below 3 Hz GRID's talkers, as tracked, turn 4 to 6 degrees a second (`benchmarks.motion_naturalness`).
- A listener or thinker is nearly still, with a quarter of the sway.
- Brows rise on pitch accents, starting about 60 ms early (Flecha-Garcia, "Eyebrow raises in dialogue and their relation
  to discourse structure, utterance function and pitch accents in English", 2010).
- The head turns a tenth of the way to where the eyes look.
- Mood: shapes of `generator.motion_emotion`, which swell a little with stress; here only the deviation from them.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import scipy.ndimage
import scipy.signal

from generator.controls import EMOTIONS, FPS, LIMITS, ControlValues
from generator.motion_emotion import OFFSETS
from generator.motion_latent import MOOD, MOOD_AXES, MOUTH, POSE, SIZE
from generator.motion_visemes import SILENCE, VISEMES

Rng = np.random.Generator
Track = npt.NDArray[np.float64]
Whole = npt.NDArray[np.integer[Any]]
Real = npt.NDArray[np.floating[Any]]

VOWELS: Final = np.array([VISEMES.index(v) for v in ("AA", "AE", "AH", "EH", "IH", "IY", "ER", "AO", "OW", "UU", "YY")])
STRESSED_SHARE: Final = 0.4  # of the vowels of a phrase
PHRASE_GAP_S: Final = 0.24
SWAY_DEG: Final = (1.4, 1.2, 0.7)  # yaw, pitch, roll: deviation while speaking, before nods
SWAY_MEMORY_S: Final = 0.45
LISTENING_SWAY: Final = 0.25  # of the speaking sway
NOD_S, NOD_DEG = (0.32, 0.56), 2.0  # shortest and longest
BEAT_HZ, BEAT_DEG = (1.2, 3.6), (0.20, 0.30, 0.12)  # band; yaw, pitch, roll: deviation while speaking
BROW_S, BROW_CHANCE, BROW_WEIGHT = 0.6, 0.4, 0.3
POSTURE_DEG: Final = (1.1, 0.8, 0.5)  # yaw, pitch, roll: deviation of the posture from phrase to phrase
POSTURE_S: Final = 0.8
FINAL_FALL_DEG: Final = 0.8  # the chin sinks at the end of a phrase
HEAD_FOLLOWS_GAZE: Final = 0.1
LIVELINESS: Final = {"happy": 1.3, "sad": 0.7, "angry": 1.35, "surprised": 1.15, "afraid": 1.05, "disgusted": 0.9}
OPENNESS: Final = {"happy": 1.05, "sad": 0.88, "angry": 1.12, "surprised": 1.08, "afraid": 0.97, "disgusted": 0.95}


@dataclass(frozen=True)
class Script:
    """When who speaks how, per frame: `speaking` 0 or 1, phrases as (first, end), `stress` strength at its frame."""

    speaking: Track
    phrases: tuple[tuple[int, int], ...]
    stresses: tuple[tuple[int, float], ...]


def read_script(classes: Whole, level_db: Real) -> Script:
    """Phrases are runs of speech without a gap of `PHRASE_GAP_S`; stressed vowels are the loud and long ones."""
    speaking = (classes != SILENCE).astype(np.float64)
    closed = scipy.ndimage.binary_closing(speaking > 0, np.ones(round(PHRASE_GAP_S * FPS)))
    phrases, stresses = [], []
    for first, end in _runs(closed | (speaking > 0)):
        phrases.append((first, end))
        vowels = [(a + first, b + first) for a, b in _runs(np.isin(classes[first:end], VOWELS))]
        weights = [level_db[a:b].max() + 3 * min(b - a, 6) for a, b in vowels]
        count = max(1, round(STRESSED_SHARE * len(vowels)))
        for index in np.argsort(weights)[::-1][:count]:
            a, b = vowels[index]
            above = weights[index] - float(np.mean(weights))
            stresses.append(((a + b) // 2, float(np.clip(0.7 + above / 14, 0.4, 1.5))))
    return Script(speaking, tuple(phrases), tuple(sorted(stresses)))


def draw_controls(rng: Rng) -> ControlValues:
    """Controls of one example, constant over it."""
    emotion = "neutral" if rng.random() < 0.35 else str(rng.choice(EMOTIONS[1:]))
    looks = rng.random() < 0.5
    return ControlValues(
        gaze_yaw_deg=float(rng.uniform(*LIMITS["gaze_yaw_deg"])) if looks else 0.0,
        gaze_pitch_deg=float(rng.uniform(*LIMITS["gaze_pitch_deg"])) if looks else 0.0,
        distance=float(rng.uniform(*LIMITS["distance"])) if rng.random() < 0.5 else 1.0,
        emotion=emotion,
        emotion_strength=0.0 if emotion == "neutral" else float(rng.uniform(0, 1)),
        head_motion=float(rng.uniform(*LIMITS["head_motion"])) if rng.random() < 0.6 else 1.0,
        blink_rate_per_min=17.0,
        expression_strength=1.0,
    )


def act(
    classes: Whole, level_db: Real, mouth: Real,
    wanted: ControlValues, rng: Rng,
) -> npt.NDArray[np.float32]:  # fmt: skip
    """classes, level_db [T], mouth [T, 17] of the lips -> latent motion [T, 36] for a head-motion amount of 1."""
    script = read_script(classes, level_db)
    frames, strength = len(classes), wanted.emotion_strength
    out = np.zeros((frames, SIZE))
    out[:, MOUTH] = mouth * (1 + (OPENNESS.get(wanted.emotion, 1.0) - 1) * strength)
    out[:, MOOD] = _mood(script, wanted, frames, rng)
    lively = 1 + (LIVELINESS.get(wanted.emotion, 1.0) - 1) * strength
    out[:, POSE] = _head(script, wanted, lively, frames, rng)
    return out.astype(np.float32)


def _mood(script: Script, wanted: ControlValues, frames: int, rng: Rng) -> Track:
    out = np.zeros((frames, len(MOOD_AXES)))
    stress = _bumps([(at - 2, BROW_S, height) for at, height in script.stresses], frames)
    swell = wanted.emotion_strength * (0.05 * _wander(frames, 1, rng)[:, 0] + 0.12 * np.minimum(stress, 1) - 0.04)
    for axis, weight in OFFSETS[wanted.emotion].items():
        out[:, MOOD_AXES.index(axis)] += weight * swell
    raised = [
        (at - 2, BROW_S, BROW_WEIGHT * height * rng.uniform(0.5, 1.5))
        for at, height in script.stresses
        if rng.random() < BROW_CHANCE
    ]
    brows = _bumps(raised, frames)
    out[:, MOOD_AXES.index("browInnerUp")] += brows
    out[:, MOOD_AXES.index("browOuterUp")] += 0.7 * brows
    return out


def _head(script: Script, wanted: ControlValues, lively: float, frames: int, rng: Rng) -> Track:
    slow = scipy.signal.lfilter([0.08], [1, -0.92], script.speaking)
    sway = _wander(frames, 5, rng) * (LISTENING_SWAY + (1 - LISTENING_SWAY) * slow)[:, None] * lively
    yaw, pitch, roll = (SWAY_DEG[i] * sway[:, i] for i in range(3))
    for axis, track in enumerate((yaw, pitch, roll)):
        track += _postures(script, POSTURE_DEG[axis] * lively, frames, rng)
    beats = _beats(script, frames, rng) * lively
    yaw, pitch, roll = yaw + beats[:, 0], pitch + beats[:, 1], roll + beats[:, 2]
    chance = min(1.0, 0.35 + 0.3 * wanted.head_motion)
    nods = [
        (at - 1, rng.uniform(*NOD_S), NOD_DEG * height * lively * rng.uniform(0.6, 1.4))
        for at, height in script.stresses
        if rng.random() < chance
    ]
    pitch += _bumps(nods, frames)
    pitch += _bumps([(end - 8, 1.2, FINAL_FALL_DEG * rng.uniform(0.3, 1.5)) for _, end in script.phrases], frames)
    yaw += HEAD_FOLLOWS_GAZE * wanted.gaze_yaw_deg
    pitch += HEAD_FOLLOWS_GAZE * wanted.gaze_pitch_deg
    breath = np.sin(2 * np.pi * (np.arange(frames) / FPS / rng.uniform(3.4, 4.4) + rng.uniform()))
    tx = (0.004 * sway[:, 3] + 0.002 * yaw) / wanted.distance  # a near head moves farther in the picture
    ty = (0.0015 * breath + 0.002 * pitch) / wanted.distance
    return np.stack([yaw, pitch, roll + 0.15 * yaw, tx, ty, 0.004 * sway[:, 4]], 1)


def _beats(script: Script, frames: int, rng: Rng) -> Track:
    """[T, 3] degrees: noise in the band of syllables, only while somebody speaks."""
    band = scipy.signal.butter(2, BEAT_HZ, btype="bandpass", fs=FPS, output="sos")
    noise = scipy.signal.sosfilt(band, rng.normal(size=(frames + 50, 3)), axis=0)[50:]
    share = 2 * (BEAT_HZ[1] - BEAT_HZ[0]) / FPS  # of white noise's power that passes
    speaking = scipy.signal.lfilter([0.3], [1, -0.7], script.speaking)
    return np.asarray(noise / math.sqrt(share) * np.array(BEAT_DEG) * speaking[:, None])


def _postures(script: Script, spread: float, frames: int, rng: Rng) -> Track:
    """A new place at the start of each phrase, reached in `POSTURE_S`; half-way back in long rests."""
    out, place = np.zeros(frames), 0.0
    for first, _ in script.phrases:
        step = rng.normal(0, spread) - place
        ramp = np.clip((np.arange(frames) - first + 4) / (POSTURE_S * FPS), 0, 1)
        out += step * ramp * ramp * (3 - 2 * ramp)
        place += step
    return out


def _wander(frames: int, channels: int, rng: Rng) -> Track:
    """[T, channels] smooth noise of deviation 1: white noise through three equal one-pole filters."""
    keep = np.exp(-1 / (SWAY_MEMORY_S * FPS))
    noise = rng.normal(size=(frames + 100, channels)) * _sway_gain()
    for _ in range(3):
        noise = scipy.signal.lfilter([1 - keep], [1, -keep], noise, axis=0)
    return np.asarray(noise[100:])


def _bumps(gestures: list[tuple[int, float, float]], frames: int) -> Track:
    """Sum of gestures (start frame, seconds, height) that rise and fall once."""
    t, out = np.arange(frames), np.zeros(frames)
    for start, seconds, height in gestures:
        phase = np.clip((t - start) / (seconds * FPS), 0, 1)
        out += height * np.sin(np.pi * phase) ** 2
    return out


def _runs(flags: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First and end of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


@functools.cache
def _sway_gain() -> float:
    """Makes the filtered noise's stationary deviation 1: one over the norm of the impulse response."""
    keep = math.exp(-1 / (SWAY_MEMORY_S * FPS))
    energy = sum((math.comb(n + 2, 2) * keep**n * (1 - keep) ** 3) ** 2 for n in range(2000))
    return 1 / math.sqrt(energy)
