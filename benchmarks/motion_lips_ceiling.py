"""How well any lips could agree with GRID's filmed lips: known sounds instead of heard ones, and a second tracking.

opening_correlation_known_phones   as `opening_correlation`, for lips that are told the aligned phones: the studio's
                                   rules, and what the other talkers' films say about each sound beside its neighbours
lip_tracking_agreement             the tracks against the same tracker on mirrored frames of twice the size
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.head_tracking import face_marks
from generator.controls import FPS
from generator.motion_visemes import VISEMES
from generator.studio.performance import frame_targets, lip_gap_cm
from generator.studio.speech_synthesis import SpokenSound
from generator.training.motion_dataset import grid_talkers, read_phones, read_sound
from media import read_frames

Curve = npt.NDArray[np.float64]
RIDGE = 0.01
INNER_LIPS, FACE_HEIGHT = (13, 14), (10, 152)  # landmarks of the tracks' `lip_gap`


@dataclass(frozen=True)
class KnownClip:
    talker: str
    ruled_cm: Curve  # [T]
    sounds: Curve  # [T, 3 · 26] share of the frame before, of the frame and of the one after that each class fills


def known_clip(grid: Path, name: str, frames: int) -> KnownClip:
    sounds = read_phones(grid / f"{name}_phones.csv")
    mouth, _ = frame_targets(sounds, read_sound(grid / f"{name}.mpg"), frames)
    shares, at = _shares(sounds, frames), np.arange(frames)
    around = [shares[np.clip(at + offset, 0, frames - 1)] for offset in (-1, 0, 1)]
    return KnownClip(grid_talkers(grid)[name], lip_gap_cm(mouth), np.concatenate(around, 1))


def _shares(sounds: list[SpokenSound], frames: int) -> Curve:
    """[T, 26] of 40 ms around each frame's start."""
    starts = np.arange(frames)[:, None] / FPS - 0.5 / FPS
    begin, end = np.array([s.start_s for s in sounds]), np.array([s.end_s for s in sounds])
    within = np.clip(np.minimum(starts + 1 / FPS, end) - np.maximum(starts, begin), 0, None) * FPS  # [T, sounds]
    classes = np.eye(len(VISEMES))[[VISEMES.index(s.viseme) for s in sounds]]
    return np.asarray(within @ classes)


def known_opening(test: KnownClip, others: list[tuple[KnownClip, Curve, slice]]) -> Curve:
    """[T] opening of a clip by rules and by the films of others: (clip, its real lips, where it speaks)."""
    taught = [(clip, real, span) for clip, real, span in others if clip.talker != test.talker]
    rows = np.concatenate([clip.sounds[span] for clip, _, span in taught])
    missing = np.concatenate([_missing(clip.ruled_cm[span], real[span]) for clip, real, span in taught])
    penalty = RIDGE * len(rows) * np.eye(rows.shape[1])
    return np.asarray(test.ruled_cm + test.sounds @ np.linalg.solve(rows.T @ rows + penalty, rows.T @ missing))


def _missing(ruled: Curve, real: Curve) -> Curve:
    """What rules lack of real lips that are brought to their spread."""
    real = real * np.clip(ruled.std() / real.std(), 0.6, 1.6)
    return np.asarray(real - real.mean() - (ruled - ruled.mean()))


def tracked_again(clip: Path) -> Curve:
    """[T] lip gap over face height in mirrored frames of twice the size."""
    marks = face_marks(torch.cat([block.frames for block in read_frames(clip)]).flip(-1))
    gap, height = (np.linalg.norm(marks[:, a] - marks[:, b], axis=1) for a, b in (INNER_LIPS, FACE_HEIGHT))
    return np.asarray(gap / height)
