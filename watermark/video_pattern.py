"""Where and when the chips of the video mark lie.

Time is cut into segments of SEGMENT_S seconds. Each has its own keyed signs and its own keyed
share-out of the lattice among the 512 coded bits; after SEGMENTS segments the schedule starts
again. The pilot is a sum of keyed plane waves whose sign flips from segment to segment: a wave of known
frequency in time, that still pictures don't contain and whose phase tells the segment borders. In space
it is a handful of points of the spectrum: wherever a picture was moved to, their strengths tell how it
was turned, scaled, stretched or mirrored, and their phases where it lies.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from watermark import prf
from watermark.code import CODED_BITS
from watermark.key import MarkKey
from watermark.lattice import GRID

SEGMENT_S = Fraction(4, 25)
SEGMENTS = 32  # even, so that the pilot's sign repeats with the schedule
CELLS = GRID * GRID
PILOT_SHARE = 0.2  # of the mark's energy
PILOT_WAVES = 16
LONGEST_WAVE, SHORTEST_WAVE = 8, 22  # waves across the torus


@dataclass(frozen=True)
class VideoPattern:
    """The keyed patterns of S segments on G * G cells.

    `pilot` float32 [G, G], the sum of cos(2 pi k x / G + phase) over `pilot_waves` k float32 [16, 2] (x, y;
    whole waves across the torus) and `pilot_phases` [16]; `signs` int8 [S, G*G], `owner` int64 [S, G*G] (the
    coded bit of a cell), and the same sorted by bit: `bags` int32 [S * 512, 8] numbers of the cells of each
    bit, plus G*G where the sign is negative.
    """

    pilot: Tensor
    pilot_waves: Tensor
    pilot_phases: Tensor
    signs: Tensor
    owner: Tensor
    bags: Tensor

    def correlate(self, segments: Tensor) -> Tensor:
        """Each bit's share of segments [T, G*G] under each segment pattern: [S, 512, T]."""
        cells = segments.T.contiguous()
        sums = F.embedding_bag(self.bags, torch.cat([cells, -cells]), mode="sum")
        return sums.reshape(SEGMENTS, CODED_BITS, len(segments))

    @classmethod
    def of(cls, key: MarkKey) -> VideoPattern:
        """The patterns of a key; the last few are kept."""
        return _pattern(key)

    def chips(self, segment: int, coded: Tensor) -> Tensor:
        """Chip values [G, G] of a segment (any integer) for coded bits float32 [512] in {-1, +1}."""
        row = segment % SEGMENTS
        data = (self.signs[row] * coded[self.owner[row]]).reshape(GRID, GRID)
        pilot = self.pilot if row % 2 == 0 else -self.pilot
        return data * float((1 - PILOT_SHARE) ** 0.5) + pilot * float(PILOT_SHARE**0.5)


@lru_cache(maxsize=16)
def _pattern(key: MarkKey) -> VideoPattern:
    share = np.arange(CELLS) % CODED_BITS
    owners = [share[prf.permutation(key, f"video/owner/{s}", CELLS)] for s in range(SEGMENTS)]
    chips = [prf.signs(key, f"video/chips/{s}", CELLS) for s in range(SEGMENTS)]
    k, phases = _plane_waves(key)
    y, x = np.mgrid[:GRID, :GRID]
    angles = 2 * np.pi / GRID * (k[:, :1, None] * x + k[:, 1:, None] * y) + phases[:, None, None]
    pilot = np.cos(angles).sum(0) * (2 / PILOT_WAVES) ** 0.5
    signs, owner = np.stack(chips), np.stack(owners)
    by_bit = np.argsort(owner, axis=1, kind="stable")
    bags = by_bit + CELLS * (np.take_along_axis(signs, by_bit, 1) < 0)
    return VideoPattern(
        pilot=torch.from_numpy(pilot.astype(np.float32)),
        pilot_waves=torch.from_numpy(k.astype(np.float32)),
        pilot_phases=torch.from_numpy(phases.astype(np.float32)),
        signs=torch.from_numpy(signs),
        owner=torch.from_numpy(owner),
        bags=torch.from_numpy(bags.reshape(SEGMENTS * CODED_BITS, -1).astype(np.int32)),
    )


def _plane_waves(key: MarkKey) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Wave numbers [16, 2], one in each sixteenth of the half circle, and phases [16]."""
    drawn = np.frombuffer(prf.stream(key, "video/pilot", 24 * PILOT_WAVES), "<u8").reshape(3, -1) / 2.0**64
    angle = (np.arange(PILOT_WAVES) + drawn[0]) * np.pi / PILOT_WAVES
    area = LONGEST_WAVE**2 + drawn[1] * (SHORTEST_WAVE**2 - LONGEST_WAVE**2)
    radius = area**0.5
    return np.round(np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)), 2 * np.pi * drawn[2]
