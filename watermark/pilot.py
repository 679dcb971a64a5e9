"""The pilot: the part of the picture's mark by which its place is found.

A sum of keyed plane waves. In space it is a handful of points of the spectrum: wherever a picture was moved to,
their strengths tell how it was turned, scaled, stretched or mirrored, and their phases where it lies. Keys of one
site share a pilot, so that the place is looked for once however many keys there are; it proves nothing about which
of them made the mark.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from watermark import prf
from watermark.key import MarkKey
from watermark.lattice import GRID

PILOT_WAVES = 16
LONGEST_WAVE, SHORTEST_WAVE = 8, 22  # waves across the torus


@dataclass(frozen=True, eq=False)
class Pilot:
    """The sum of cos(2 pi k x / G + phase) over k in `waves` float32 [16, 2] (x, y; whole waves across the torus).

    `phases` float32 [16]; `picture` float32 [G, G] is the sum on the lattice, with mean power 1.
    """

    waves: Tensor
    phases: Tensor
    picture: Tensor

    @classmethod
    def of(cls, key: MarkKey) -> Pilot:
        """The pilot of a key; the last few are kept, and keys of one site get the same."""
        return _pilot(key.pilot)


@lru_cache(maxsize=64)
def _pilot(key: MarkKey) -> Pilot:
    """One wave number in each sixteenth of the half circle, any phase."""
    drawn = np.frombuffer(prf.stream(key, "video/pilot", 24 * PILOT_WAVES), "<u8").reshape(3, -1) / 2.0**64
    angle = (np.arange(PILOT_WAVES) + drawn[0]) * np.pi / PILOT_WAVES
    area = LONGEST_WAVE**2 + drawn[1] * (SHORTEST_WAVE**2 - LONGEST_WAVE**2)
    radius = area**0.5
    k, phases = np.round(np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)), 2 * np.pi * drawn[2]
    y, x = np.mgrid[:GRID, :GRID]
    angles = 2 * np.pi / GRID * (k[:, :1, None] * x + k[:, 1:, None] * y) + phases[:, None, None]
    picture = np.cos(angles).sum(0) * (2 / PILOT_WAVES) ** 0.5
    return Pilot(*(torch.from_numpy(part.astype(np.float32)) for part in (k, phases, picture)))
