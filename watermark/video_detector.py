"""Reads the mark out of a video without the original, its start time or its crop."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from watermark.code import CODED_BITS
from watermark.detection import Detection, TagCheck
from watermark.errors import TooShortError, WatermarkError
from watermark.frame_window import SLOTS_PER_SEGMENT, FrameWindow
from watermark.key import MarkKey
from watermark.payload import Payload
from watermark.pose_search import (
    Pose,
    fold,
    identity_pose,
    on_lattice,
    pilot_wave,
    search_pose,
)
from watermark.video_pattern import SEGMENTS, VideoPattern
from watermark.visibility import blur, visibility_mask

SHORTEST_S = 1.0
QUICK_LOOKS_S = (3.0, 6.0)  # uncropped pose only
FULL_LOOKS_S = (10.0, 20.0)  # with the pose search; the last one ends the window
WORTH_A_POSE = 4.5  # pilot z below which a searched pose is chance
WORTH_DECODING = 4.5  # energy of the soft bits over chance, in standard deviations; a readable word has 7
CANDIDATES = 4  # time phases decoded per pose


class FrameBlockLike(Protocol):
    """Frames uint8 [N, 3, H, W] with their presentation times in seconds."""

    @property
    def frames(self) -> Tensor: ...
    @property
    def times(self) -> Sequence[Fraction]: ...


def detect_video(blocks: Iterable[FrameBlockLike], keys: Sequence[MarkKey]) -> Detection:
    """Look for a mark of any of `keys`; stop at the first genuine one.

    Reads at most 20 s into memory (reduced, see `frame_window`), looks, and goes on with the next
    20 s. Raises `WatermarkError` for fewer than 1 s of video, frames below 64 px, or no key.
    """
    if not keys:
        raise WatermarkError("no key to look with: give at least one MarkKey")
    search, window = _Search(keys), FrameWindow()
    looks = _looks()
    start_s = 0.0
    for block in blocks:
        for frame, time in zip(block.frames, block.times, strict=True):
            window.push(frame[None], [time])
            due = next((look for look in looks if window.seconds >= look), None)
            if due is None:
                continue
            looks.remove(due)
            search.look(window, full=due in FULL_LOOKS_S)
            if search.payload is not None:
                return search.detection(start_s + window.seconds)
            if not looks:
                start_s += window.seconds
                window.clear()
                looks = _looks()
    if start_s + window.seconds < SHORTEST_S:
        raise TooShortError(f"only {window.seconds:.2f} s of video: a mark needs {SHORTEST_S:g} s at least")
    if window.seconds >= SHORTEST_S:
        search.look(window, full=True)
    return search.detection(start_s + window.seconds)


def _looks() -> list[float]:
    return sorted((*QUICK_LOOKS_S, *FULL_LOOKS_S))


class _Search:
    """The state of one search: attempts counted, best pilot, and the payload once read."""

    def __init__(self, keys: Sequence[MarkKey]) -> None:
        self._keys = keys
        self._check = TagCheck()
        self._best_z = 0.0
        self._key_id: int | None = None
        self.payload: Payload | None = None

    def look(self, window: FrameWindow, *, full: bool) -> None:
        slots, pictures = window.pictures()
        wave = pilot_wave(slots, pictures)
        for key in self._keys:
            if self._read(slots, pictures, identity_pose(wave, key), key):
                return
        for key in self._keys if full else ():
            for pose in search_pose(wave, key):
                if pose.z >= WORTH_A_POSE and self._read(slots, pictures, pose, key):
                    return

    def _read(self, slots: Tensor, pictures: Tensor, pose: Pose, key: MarkKey) -> bool:
        self._best_z = max(self._best_z, pose.z)
        top, left, cells = on_lattice(pictures, pose)
        for word in soft_words(slots, cells, top, left, pose.phase_slots, key):
            self.payload = self._check.read(word, key)
            if self.payload is not None:
                self._key_id, self._best_z = key.key_id, pose.z
                return True
        return False

    def detection(self, seconds: float) -> Detection:
        return Detection(
            medium="video",
            payload=self.payload,
            key_id=self._key_id,
            log10_false_positive=self._check.log10_false_positive,
            pilot_z=self._best_z,
            seconds_used=seconds,
        )


def soft_words(
    slots: Tensor, cells: Tensor, top: int, left: int, phase_slots: float, key: MarkKey
) -> list[NDArray[np.float64]]:
    """Soft code words [512] of the likeliest time phases, best first.

    `cells` [K, h, w] are cell lumas at slot numbers `slots`. The pilot's phase leaves the segment
    borders in doubt by a fraction of a slot (the two nearest are tried) and says nothing about
    which of the 32 segments comes first: the energy of the soft bits does.
    """
    pattern = VideoPattern.of(key)
    ranked: list[tuple[float, NDArray[np.float64]]] = []
    below = int(phase_slots)
    for border in {below % SLOTS_PER_SEGMENT, (below + 1) % SLOTS_PER_SEGMENT}:
        segments, values = demodulate(slots, cells, border)
        folded = torch.zeros(SEGMENTS, *values.shape[1:])
        folded.index_add_(0, segments % SEGMENTS, values)
        torus = fold(folded, top, left).flatten(1)
        variance = float(torus.square().sum()) / CODED_BITS
        shares = pattern.correlate(torus)
        every = torch.arange(SEGMENTS)
        for start in range(SEGMENTS):
            word = shares[(every + start) % SEGMENTS, :, every].sum(0).double().numpy()
            energy = float(word @ word) / max(variance, 1e-12)
            ranked.append(((energy - CODED_BITS) / (2 * CODED_BITS) ** 0.5, word))
    ranked.sort(key=lambda entry: -entry[0])
    return [word for excess, word in ranked[:CANDIDATES] if excess >= WORTH_DECODING]


def demodulate(slots: Tensor, cells: Tensor, border: int) -> tuple[Tensor, Tensor]:
    """Segment numbers [T] and weighted chip values [T, h, w], segments beginning at slots = border mod 4.

    A segment's mean picture, less the mean of the segments before and after it (still content and
    what skipped blocks carried over cancel), high-passed, divided by its local deviation, and
    weighted by how much mark that place can hide.
    """
    index = torch.div(slots - border, SLOTS_PER_SEGMENT, rounding_mode="floor")
    numbers, inverse, counts = torch.unique(index, return_inverse=True, return_counts=True)
    means = torch.zeros(len(numbers), *cells.shape[1:]).index_add_(0, inverse, cells)
    means /= counts[:, None, None]
    before = torch.cat([means[1:2], means[:-1]])
    after = torch.cat([means[1:], means[-2:-1]])
    change = means - 0.5 * (before + after)
    change = change - 0.8 * blur(change, 3)
    deviation = blur(change.square(), 3).clamp(min=0).sqrt().clamp(min=0.5)
    weight = (visibility_mask(means + 128) / deviation).sqrt()
    return numbers, (change / deviation).clamp(-2.5, 2.5) * weight
