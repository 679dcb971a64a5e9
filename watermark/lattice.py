"""Geometry of the video mark: a square lattice of cells laid over the frame.

The frame's short side holds GRID cells; along the long side the pattern repeats (the lattice is a
torus of GRID x GRID cells). Cells are square, so a crop changes nothing but scale and shift.
Every separable resize is two matrix products: rows @ picture @ columns.T.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

GRID = 64
SMALLEST_SIDE_PX = 128
LONGEST_ASPECT = 4.0


def overlap_matrix(edges: Tensor, pixels: int) -> Tensor:
    """[cells, pixels] weights: each cell is the mean of the pixels between edges[i] and edges[i + 1].

    `edges` [cells + 1] are in pixels, ascending. Parts beyond the picture count nothing; a cell
    wholly outside is a row of zeros.
    """
    low, high = edges[:-1, None], edges[1:, None]
    pixel = torch.arange(pixels, dtype=torch.float64)[None]
    overlap = (torch.minimum(high, pixel + 1) - torch.maximum(low, pixel)).clamp(min=0)
    return (overlap / (high - low)).float()


def cells_along(side_px: int, short_px: int) -> int:
    """Cells that touch a side, when `short_px` pixels hold GRID cells."""
    return -(-side_px * GRID // short_px)


@lru_cache(maxsize=32)
def shrink_matrix(side_px: int, short_px: int) -> Tensor:
    """[cells, side_px]: mean of each cell; the last cell may be cut by the frame's edge."""
    edges = torch.arange(cells_along(side_px, short_px) + 1, dtype=torch.float64) * short_px / GRID
    return overlap_matrix(edges.clamp(max=side_px), side_px)


@lru_cache(maxsize=32)
def spread_matrix(side_px: int, short_px: int) -> Tensor:
    """[side_px, cells] Catmull-Rom weights that spread cell values over pixels, clamped at the border."""
    cells = cells_along(side_px, short_px)
    centre = (torch.arange(side_px, dtype=torch.float64) + 0.5) * GRID / short_px - 0.5
    weights = torch.zeros(side_px, cells, dtype=torch.float64)
    for tap in range(-1, 3):
        at = centre.floor() + tap
        d = (centre - at).abs()
        near, far = 1.5 * d**3 - 2.5 * d**2 + 1, -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2
        value = torch.where(d < 1, near, far)
        weights.scatter_add_(1, at.long().clamp(0, cells - 1)[:, None], value[:, None])
    return weights.float()
