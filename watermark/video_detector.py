"""Reads the mark out of a video without the original, its start time or its crop."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from math import ceil
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
from watermark.pilot_fit import fit, rendered, strength
from watermark.pilot_wave import levelled, phase_slots, waves, white
from watermark.pose import Pose, fold, identity_matrix, on_lattice
from watermark.pose_search import search_linear
from watermark.video_pattern import SEGMENTS, VideoPattern
from watermark.visibility import blur, received_mask

SHORTEST_S = 1.0
QUICK_LOOKS_S = (3.0, 6.0)  # uncropped pose only
FULL_LOOKS_S = (10.0, 20.0)  # with the pose search; the last one ends the window
WORTH_A_POSE = 6.0  # pilot z below which a searched pose is chance
WORTH_DECODING = 4.5  # energy of the soft bits over chance, in standard deviations; a readable word has 7
CANDIDATES = 4  # time phases decoded per pose
CARRIED_ON = 0.6  # weight of the segment before, against 0.4 of the one after: the best at CRF 38
SURE_OF_TIME = 6.0  # pilot z below which every time phase is tried at the plain pose
SURE_OF_POSE = 15.0  # pilot z beyond which no other pose is looked for
SPEEDS = tuple(round(1 + sign * step * 0.016, 3) for step in range(1, 8) for sign in (1, -1))


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
    start_s, searched_s = 0.0, 0.0
    for block in blocks:
        for frame, time in zip(block.frames, block.times, strict=True):
            window.push(frame[None], [time])
            due = next((look for look in looks if window.seconds >= look), None)
            if due is None:
                continue
            looks.remove(due)
            search.look(window, full=due in FULL_LOOKS_S)
            if search.ended:
                return search.detection(start_s + window.seconds)
            if due in FULL_LOOKS_S:
                searched_s = window.seconds
            if not looks:
                start_s += window.seconds
                window.clear()
                looks, searched_s = _looks(), 0.0
    if start_s + window.seconds < SHORTEST_S:
        raise TooShortError(f"only {window.seconds:.2f} s of video: a mark needs {SHORTEST_S:g} s at least")
    if window.seconds - searched_s >= SHORTEST_S:
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
        self._pose: Pose | None = None
        self.payload: Payload | None = None

    @property
    def ended(self) -> bool:
        """Whether a payload was read, or as many tags were compared as the bound allows."""
        return self.payload is not None or self._check.exhausted

    def look(self, window: FrameWindow, *, full: bool) -> None:
        slots, pictures = window.pictures()
        changes = levelled(pictures)
        plain = identity_matrix(*pictures.shape[1:])
        wave = white(waves(slots, changes, torch.ones(1)))[0]
        for key in self._keys:
            pose = strength(wave, plain, 1.0, key)
            if self._read(slots, pictures, pose, key, blind=pose.z < SURE_OF_TIME):
                return
        for key in self._keys if full else ():
            for pose in search_poses(slots, changes, key):
                if self._read(slots, pictures, pose, key):
                    return

    def _read(self, slots: Tensor, pictures: Tensor, pose: Pose, key: MarkKey, *, blind: bool = False) -> bool:
        """Whether the search is over."""
        self._best_z = max(self._best_z, pose.z)
        phases = [pose.phase_slots + s for s in range(SLOTS_PER_SEGMENT)] if blind else [pose.phase_slots]
        for word in soft_words(slots, pictures, pose, phases, key):
            self.payload = self._check.read(word, key)
            if self.payload is not None:
                self._key_id, self._best_z, self._pose = key.key_id, pose.z, pose
            if self.ended:
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
            pose=self._pose,
        )


def search_poses(slots: Tensor, changes: Tensor, key: MarkKey) -> Iterator[Pose]:
    """The likeliest poses of levelled pictures over all turns, scales, stretches, mirrors and tilts.

    Other speeds are searched only where the speed as made shows no pilot beyond doubt.
    """
    for speeds in ((1.0,), SPEEDS):
        every = white(waves(slots, changes, torch.tensor(speeds, dtype=torch.float64)))
        likely = search_linear(every, speeds, key)
        starts = [[hypothesis.matrix(sign) for sign in (1, -1)] for hypothesis in likely]
        shown = every[[speeds.index(hypothesis.speed) for hypothesis in likely]]
        for pose in fit(shown, starts, [hypothesis.speed for hypothesis in likely], key):
            if pose.z >= WORTH_A_POSE:
                yield _timed(slots, changes, pose, key)
            if pose.z >= SURE_OF_POSE:
                return


def _timed(slots: Tensor, changes: Tensor, pose: Pose, key: MarkKey) -> Pose:
    """The pose at the finest speed: a hundred near by are compared, and what is nearly 1 is 1."""
    pilot = rendered(pose, key, *changes.shape[1:])
    series = (changes * pilot).sum((1, 2))
    speeds = pose.speed + torch.linspace(-0.016, 0.016, 65)
    peaks = waves(slots, series[:, None, None], speeds).flatten()
    at = int(peaks.abs().argmax())
    speed = float(speeds[at])
    plain = waves(slots, series[:, None, None], torch.ones(1)).flatten()[0]
    if abs(speed - 1) < 0.01 and float(plain.abs()) > 0.95 * float(peaks.abs().max()):
        return replace(pose, speed=1.0, phase_slots=phase_slots(complex(plain.item())))
    return replace(pose, speed=speed, phase_slots=phase_slots(complex(peaks[at].item())))


def soft_words(
    slots: Tensor, pictures: Tensor, pose: Pose, phases: Sequence[float], key: MarkKey
) -> list[NDArray[np.float64]]:
    """Soft code words [512] of the likeliest time phases, best first.

    `pictures` [K, h, w] are lumas at slot numbers `slots`. A pilot's phase leaves the segment borders in doubt by a
    fraction of a slot (the two nearest are tried) and says nothing about which of the 32 segments comes first: the
    energy of the soft bits does.
    """
    pattern = VideoPattern.of(key)
    every = torch.arange(SEGMENTS)
    ranked: list[tuple[float, Tensor]] = []
    for border in _borders(phases, pose.speed):
        segments, means = segment_means(slots * pose.speed, pictures, border)
        top, left, cells, seen = on_lattice(means, pose)
        folded = torch.zeros(SEGMENTS, *cells.shape[1:])
        folded.index_add_(0, segments % SEGMENTS, chip_values(cells) * seen)
        torus = fold(folded, top, left).flatten(1)
        variance = float(torus.square().sum()) / CODED_BITS
        shares = pattern.correlate(torus)
        words = torch.stack([shares[(every + start) % SEGMENTS, :, every].sum(0) for start in range(SEGMENTS)])
        excess = (words.square().sum(1) / max(variance, 1e-12) - CODED_BITS) / (2 * CODED_BITS) ** 0.5
        ranked += zip(excess.tolist(), words, strict=True)
    ranked.sort(key=lambda entry: -entry[0])
    return [word.double().numpy() for excess, word in ranked[:CANDIDATES] if excess >= WORTH_DECODING]


def _borders(phases: Sequence[float], speed: float) -> list[float]:
    """Where segments may begin, modulo 4 slots. At the speed as made, slots are whole, and so are the borders."""
    near = [phase + beside for phase in phases for beside in (-0.35, 0.35)]
    if speed == 1.0:
        return sorted({float(ceil(border - 1e-6) % SLOTS_PER_SEGMENT) for border in near})
    return sorted({round(border % SLOTS_PER_SEGMENT, 2) for border in near})


def demodulate(slots: Tensor, cells: Tensor, border: float) -> tuple[Tensor, Tensor]:
    """Segment numbers [T] and weighted chip values [T, h, w], segments beginning at slots = border mod 4."""
    numbers, means = segment_means(slots, cells, border)
    return numbers, chip_values(means)


def segment_means(slots: Tensor, pictures: Tensor, border: float) -> tuple[Tensor, Tensor]:
    """Segment numbers [T] and mean pictures [T, h, w], segments beginning at slots = border mod 4."""
    index = torch.div(slots.double() - border + 1e-6, SLOTS_PER_SEGMENT, rounding_mode="floor").long()
    numbers, inverse, counts = torch.unique(index, return_inverse=True, return_counts=True)
    means = torch.zeros(len(numbers), *pictures.shape[1:]).index_add_(0, inverse, pictures)
    return numbers, means / counts[:, None, None]


def chip_values(means: Tensor) -> Tensor:
    """Weighted chip values [T, h, w] of successive segments' mean cells, likewise.

    A segment's mean picture, less a mean of the segments before and after it (still content cancels, and
    what skipped blocks carried over from before), high-passed, divided by its local deviation, and
    weighted by how much mark that place can hide.
    """
    before = torch.cat([means[1:2], means[:-1]])
    after = torch.cat([means[1:], means[-2:-1]])
    change = means - CARRIED_ON * before - (1 - CARRIED_ON) * after
    change = change - 0.7 * blur(change, 3)
    deviation = blur(change.square(), 3).clamp(min=0).sqrt().clamp(min=0.5)
    weight = (received_mask(means + 128) / deviation).sqrt()
    return (change / deviation).clamp(-2.5, 2.5) * weight
