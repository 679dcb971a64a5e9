"""Speech sounds become lips: hand-set mouth shapes, blended by dominance, closed where lips must meet.

The shapes' lip gaps follow what was measured on the GRID talkers that may be trained on (lips 0.00 to 0.02 cm apart
in p, b, m; 0.1 in f, v, w; 0.3 to 0.5 in t, d, n; 0.5 to 0.8 in open vowels, then a little wider, since those talkers
mumble). Blending after Cohen and Massaro, "Modeling coarticulation in synthetic visual speech", 1993: each sound
pulls with a dominance that fades with the distance from its middle; lip rounding starts early and passes through
consonants that don't use the lips. Closures are laid over the blend, so that no neighbour opens them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import scipy.ndimage

from generator.controls import FPS
from generator.motion_mouth import LIP_GAP_CM, MOUTH_AXES, REST_GAP_CM
from generator.motion_visemes import SILENCE, VISEMES
from generator.studio.speech_synthesis import RATE, Samples, SpokenSound

Curve = npt.NDArray[np.float32]

RATE_HZ = 100  # internal time step
FRAME_OFFSET_S = 0.01  # a frame shows the face this long after its start
SHORTEST_PAUSE_S = 0.14

# Lip gap in cm and the shape without the jaw, which then fills the gap.
SHAPES: Final[dict[str, tuple[float, dict[str, float]]]] = {
    "PP": (-0.05, {"mouthClose": 0.035, "mouthPress": 0.38, "mouthRollLower": 0.12, "mouthRollUpper": 0.1}),
    "MM": (-0.03, {"mouthClose": 0.035, "mouthPress": 0.3, "mouthRollLower": 0.08, "mouthRollUpper": 0.06}),
    "FF": (0.07, {"mouthRollLower": 0.42, "mouthUpperUp": 0.16, "mouthShrugLower": 0.12, "cheekSquint": 0.06}),
    "TH": (0.36, {"mouthLowerDown": 0.15, "mouthUpperUp": 0.08}),
    "DD": (0.36, {"mouthLowerDown": 0.14, "mouthUpperUp": 0.08, "mouthStretch": 0.05}),
    "NN": (0.38, {"mouthLowerDown": 0.12, "mouthUpperUp": 0.06, "mouthStretch": 0.04}),
    "LL": (0.5, {"mouthLowerDown": 0.14, "mouthUpperUp": 0.06}),
    "SS": (0.36, {"mouthLowerDown": 0.22, "mouthUpperUp": 0.12, "mouthStretch": 0.18, "mouthSmile": 0.05}),
    "CH": (0.46, {"mouthFunnel": 0.24, "mouthPucker": 0.16, "jawForward": 0.1}),
    "KK": (0.52, {"mouthLowerDown": 0.08, "mouthUpperUp": 0.04}),
    "HH": (0.5, {"mouthLowerDown": 0.08}),
    "RR": (0.34, {"mouthFunnel": 0.12, "mouthPucker": 0.18, "mouthShrugLower": 0.03}),
    "WW": (0.14, {"mouthPucker": 0.62, "mouthFunnel": 0.1, "mouthShrugLower": 0.12}),
    "JJ": (0.4, {"mouthStretch": 0.14, "mouthSmile": 0.1, "mouthLowerDown": 0.12}),
    "AA": (1.05, {"mouthLowerDown": 0.12, "mouthUpperUp": 0.06}),
    "AE": (0.92, {"mouthLowerDown": 0.16, "mouthUpperUp": 0.1, "mouthStretch": 0.15, "mouthSmile": 0.1}),
    "AH": (0.58, {"mouthLowerDown": 0.08, "mouthUpperUp": 0.04}),
    "EH": (0.74, {"mouthLowerDown": 0.16, "mouthUpperUp": 0.07, "mouthStretch": 0.14, "mouthSmile": 0.1}),
    "IH": (0.52, {"mouthLowerDown": 0.13, "mouthUpperUp": 0.06, "mouthStretch": 0.12, "mouthSmile": 0.1}),
    "IY": (0.55, {"mouthLowerDown": 0.2, "mouthUpperUp": 0.1, "mouthStretch": 0.22, "mouthSmile": 0.2}),
    "ER": (0.44, {"mouthFunnel": 0.12, "mouthPucker": 0.1}),
    "AO": (0.78, {"mouthFunnel": 0.22, "mouthPucker": 0.1}),
    "OW": (0.48, {"mouthFunnel": 0.16, "mouthPucker": 0.38}),
    "UU": (0.28, {"mouthFunnel": 0.1, "mouthPucker": 0.55, "mouthShrugLower": 0.04}),
    "YY": (0.34, {"mouthFunnel": 0.15, "mouthPucker": 0.48}),
    "sil": (REST_GAP_CM, {}),
}  # fmt: skip
ROUND_AXES: Final = ("mouthPucker", "mouthFunnel")
OPENING_DOMINANCE: Final[dict[str, float]] = {
    "PP": 2.0, "MM": 2.0, "FF": 2.0, "WW": 1.7, "SS": 1.4, "CH": 1.4, "UU": 1.2, "YY": 1.2, "OW": 1.1, "HH": 0.35,
    "KK": 0.6, "NN": 0.8, "DD": 0.9, "LL": 0.8, "RR": 0.9, "AH": 0.8, "TH": 1.1, "sil": 1.5,
}  # fmt: skip
ROUND_DOMINANCE: Final[dict[str, float]] = {
    "PP": 0.3, "MM": 0.3, "FF": 0.5, "DD": 0.25, "NN": 0.25, "LL": 0.3, "KK": 0.2, "HH": 0.1, "TH": 0.4, "SS": 0.5,
    "WW": 2.0, "UU": 1.5, "OW": 1.4, "YY": 1.5, "CH": 1.4, "sil": 1.5,
}  # fmt: skip


def shape_matrix() -> Curve:
    """[26, 17] weights of each class; the jaw gives what the lips lack of the wished gap."""
    table = np.zeros((len(VISEMES), len(MOUTH_AXES)), np.float32)
    for row, name in enumerate(VISEMES):
        gap_cm, weights = SHAPES[name]
        without_jaw = REST_GAP_CM + sum(LIP_GAP_CM[axis] * w for axis, w in weights.items())
        table[row, 0] = max(0.0, (gap_cm - without_jaw) / LIP_GAP_CM["jawOpen"])
        for axis, w in weights.items():
            table[row, MOUTH_AXES.index(axis)] = w
    return table


def lip_gap_cm(mouth: Curve) -> npt.NDArray[np.float64]:
    """[T, 17] mouth weights -> [T] inner lip distance in cm."""
    return np.asarray(mouth @ np.array([LIP_GAP_CM[a] for a in MOUTH_AXES]) + REST_GAP_CM)


def merge_short_pauses(sounds: Sequence[SpokenSound]) -> list[SpokenSound]:
    """Gaps too short for a rest belong to the sound before them."""
    merged: list[SpokenSound] = []
    for sound in sounds:
        is_pause = sound.viseme == "sil"
        if is_pause and merged and merged[-1].viseme == "sil":
            merged[-1] = SpokenSound(merged[-1].start_s, sound.end_s, "sil")
        elif is_pause and merged and sound.end_s - sound.start_s < SHORTEST_PAUSE_S:
            merged[-1] = SpokenSound(merged[-1].start_s, sound.end_s, merged[-1].viseme)
        else:
            merged.append(sound)
    return merged


def loudness(samples: Samples, steps: int) -> Curve:
    """[steps] 0.75 (soft) to 1.2 (loud), relative to the recording's loud parts, 100 values a second."""
    hop = RATE // RATE_HZ
    padded = np.pad(samples.astype(np.float64), (0, max(0, steps * hop - len(samples))))[: steps * hop]
    energy = scipy.ndimage.gaussian_filter1d((padded.reshape(steps, hop) ** 2).mean(1), 6.0)
    level_db = 10 * np.log10(energy + 1e-9)
    top = np.percentile(level_db, 92)
    return np.asarray(np.clip(1.08 + (level_db - top) / 40, 0.75, 1.2), np.float32)


def mouth_curve(sounds: Sequence[SpokenSound], samples: Samples, duration_s: float) -> Curve:
    """[T, 17] mouth weights at 100 Hz, T = ceil(duration · 100)."""
    steps = int(np.ceil(duration_s * RATE_HZ))
    t = np.arange(steps) / RATE_HZ
    table, sounds = shape_matrix(), merge_short_pauses(sounds)
    is_round = np.array([axis in ROUND_AXES for axis in MOUTH_AXES])
    total, weight = np.zeros((steps, len(MOUTH_AXES))), np.full((steps, len(MOUTH_AXES)), 1e-4)
    for s in sounds:
        for columns, dominance, lead in ((~is_round, OPENING_DOMINANCE, 1.0), (is_round, ROUND_DOMINANCE, 1.5)):
            pull = dominance.get(s.viseme, 1.0) * _pull(t, s, lead)[:, None]
            total[:, columns] += pull * table[VISEMES.index(s.viseme), columns]
            weight[:, columns] += pull
    curve = total / weight
    scale = loudness(samples, steps)[:, None]
    curve[:, 0:1] *= scale
    curve = scipy.ndimage.gaussian_filter1d(curve, 1.8, axis=0, mode="nearest")
    return _lay_closures_over(curve, t, sounds, table).clip(0, 1).astype(np.float32)


def _pull(t: npt.NDArray[np.float64], s: SpokenSound, lead: float) -> npt.NDArray[np.float64]:
    """Dominance over time, 1 within the middle of the sound; `lead` stretches the side before it."""
    middle, length = (s.start_s + s.end_s) / 2, s.end_s - s.start_s
    if s.viseme == "sil":  # a rest is flat, and its edges are short
        outside = np.maximum(0, np.maximum(s.start_s + 0.05 - t, t - (s.end_s - 0.07)))
        return np.asarray(np.exp(-((outside / 0.05) ** 1.5)))
    reach = np.where(t < middle, lead, 1.0) * max(0.55 * length, 0.035)
    return np.asarray(np.exp(-((np.abs(t - middle) / reach) ** 1.5)))


def _lay_closures_over(
    curve: npt.NDArray[np.float64], t: npt.NDArray[np.float64], sounds: Sequence[SpokenSound], table: Curve
) -> npt.NDArray[np.float64]:
    """Lips together (p, b, m) for the middle of the closure, lower lip at the teeth (f, v), rest in silence."""
    rounded = [MOUTH_AXES.index(axis) for axis in ROUND_AXES]
    for s in sounds:
        if s.viseme not in ("PP", "MM", "FF", "sil"):
            continue
        middle, length = (s.start_s + s.end_s) / 2, s.end_s - s.start_s
        half = max(0.3 * length, 0.024) if s.viseme != "sil" else length / 2 - 0.1
        beyond = np.maximum(0, np.abs(t - middle) - max(half, 0.0))
        ramp = 0.06 if s.viseme != "sil" else 0.12
        cover = (0.5 + 0.5 * np.cos(np.pi * np.minimum(beyond / ramp, 1)))[:, None]
        cover = cover * (0.9 if s.viseme == "FF" else 1.0)
        target = np.repeat(table[VISEMES.index(s.viseme)][None].astype(float), len(t), 0)
        if s.viseme in ("PP", "MM"):
            target[:, rounded] = curve[:, rounded] * 0.6
            target[:, 2] += target[:, rounded[1]] * LIP_GAP_CM["mouthFunnel"] / -LIP_GAP_CM["mouthClose"]
        curve = (1 - cover) * curve + cover * target
    return curve


def frame_targets(sounds: Sequence[SpokenSound], samples: Samples, frames: int) -> tuple[Curve, npt.NDArray[np.int64]]:
    """Mouth weights [frames, 17] and class [frames] at 25 frames a second."""
    duration_s = frames / FPS + 0.1
    curve = mouth_curve(sounds, samples, duration_s)
    times = np.arange(frames) / FPS + FRAME_OFFSET_S
    at = np.minimum((times * RATE_HZ).round().astype(int), len(curve) - 1)
    starts = np.array([s.start_s for s in sounds] or [0.0])
    labels = np.array([VISEMES.index(s.viseme) for s in sounds] or [SILENCE])
    where = np.searchsorted(starts, times, side="right") - 1
    classes = np.where(where >= 0, labels[np.maximum(where, 0)], SILENCE)
    return curve[at], classes
