"""Soft bits of the picture's mark: what a place and a time phase say about each of the 512 coded bits.

All that costs much is the same for every key that shares the place: only the last sum, over the cells of each bit,
knows the key.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from watermark.code import CODED_BITS
from watermark.frame_window import SLOTS_PER_SEGMENT
from watermark.pose import Pose, fold, on_lattice
from watermark.video_pattern import SEGMENTS, VideoPattern
from watermark.visibility import blur, received_mask

CANDIDATES = 4  # time phases decoded per pose
WORTH_DECODING = 4.5  # energy of the soft bits over chance, in standard deviations; a readable word has 7
CARRIED_ON = 0.6  # weight of the segment before, against 0.4 of the one after: the best at CRF 38


@dataclass(frozen=True)
class Folded:
    """Chip values of a window at one place and time phase: `torus` float32 [S, G*G], by segment modulo S.

    `variance` is a soft bit's by chance: with secret random signs the sum of its cells' squares, whatever the
    picture shows.
    """

    torus: Tensor
    variance: float


def folded(slots: Tensor, pictures: Tensor, pose: Pose, phases: Sequence[float]) -> Iterator[Folded]:
    """Lumas `pictures` [K, h, w] at slot numbers `slots`, for each border between segments that `phases` leave open.

    A pilot's phase leaves the borders in doubt by a fraction of a slot: the two nearest are tried.
    """
    for border in _borders(phases, pose.speed):
        segments, means = segment_means(slots * pose.speed, pictures, border)
        top, left, cells, seen = on_lattice(means, pose)
        total = torch.zeros(SEGMENTS, *cells.shape[1:])
        total.index_add_(0, segments % SEGMENTS, chip_values(cells) * seen)
        torus = fold(total, top, left).flatten(1)
        yield Folded(torus, float(torus.square().sum()) / CODED_BITS)


def soft_words(every: Sequence[Folded], pattern: VideoPattern) -> list[NDArray[np.float64]]:
    """Soft code words [512] of the likeliest borders and first segments, best first.

    Nothing but the energy of the soft bits says which of the 32 segments comes first.
    """
    number = torch.arange(SEGMENTS)
    ranked: list[tuple[float, Tensor]] = []
    for one in every:
        shares = pattern.correlate(one.torus)
        words = torch.stack([shares[(number + start) % SEGMENTS, :, number].sum(0) for start in range(SEGMENTS)])
        excess = (words.square().sum(1) / max(one.variance, 1e-12) - CODED_BITS) / (2 * CODED_BITS) ** 0.5
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
