"""Where and when the chips of the video mark lie.

Time is cut into segments of SEGMENT_S seconds. Each has its own keyed signs and its own keyed
share-out of the lattice among the 512 coded bits; after SEGMENTS segments the schedule starts
again. The pilot's sign flips from segment to segment: a wave of known frequency in time, that still
pictures don't contain and whose phase tells the segment borders.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from watermark import prf
from watermark.code import CODED_BITS
from watermark.key import MarkKey
from watermark.lattice import GRID
from watermark.pilot import Pilot

SEGMENT_S = Fraction(4, 25)
SEGMENTS = 32  # even, so that the pilot's sign repeats with the schedule
CELLS = GRID * GRID
PILOT_SHARE = 0.2  # of the mark's energy


@dataclass(frozen=True)
class VideoPattern:
    """The keyed patterns of S segments on G * G cells.

    `pilot` float32 [G, G]; `signs` int8 [S, G*G], `owner` int16 [S, G*G] (the coded bit of a cell), and the
    same sorted by bit: `bags` int32 [S * 512, 8] numbers of the cells of each bit, plus G*G where the sign is
    negative.
    """

    pilot: Tensor
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
        data = (self.signs[row] * coded[self.owner[row].long()]).reshape(GRID, GRID)
        pilot = self.pilot if row % 2 == 0 else -self.pilot
        return data * float((1 - PILOT_SHARE) ** 0.5) + pilot * float(PILOT_SHARE**0.5)


@lru_cache(maxsize=128)
def _pattern(key: MarkKey) -> VideoPattern:
    share = np.arange(CELLS, dtype=np.int16) % CODED_BITS
    owner = np.stack([share[prf.permutation(key, f"video/owner/{s}", CELLS)] for s in range(SEGMENTS)])
    signs = np.stack([prf.signs(key, f"video/chips/{s}", CELLS) for s in range(SEGMENTS)])
    by_bit = np.argsort(owner, axis=1, kind="stable")  # of 16-bit numbers: a radix sort
    bags = by_bit + CELLS * (np.take_along_axis(signs, by_bit, 1) < 0)
    return VideoPattern(
        pilot=Pilot.of(key).picture,
        signs=torch.from_numpy(signs),
        owner=torch.from_numpy(owner),
        bags=torch.from_numpy(bags.reshape(SEGMENTS * CODED_BITS, -1).astype(np.int32)),
    )
