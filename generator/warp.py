"""Inverse of a smooth map of the picture, and sampling through it."""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import Tensor

from generator.working_picture import CELL_PX, SIZE_PX

STRIPS = 4


def pixel_centres(window: tuple[int, int, int, int], device: torch.device, step: int = 1) -> Tensor:
    """[2, h, w] = x, y of every `step`-pixel square's centre in a window left, top, right, bottom."""
    left, top, right, bottom = window
    grid = _grid(right - left, bottom - top, step, device)
    if (left, top) == (0, 0):
        return grid
    return grid + torch.tensor([[[float(left)]], [[float(top)]]], device=device)


@functools.lru_cache(maxsize=64)
def _grid(width: int, height: int, step: int, device: torch.device) -> Tensor:
    """Shared by all frames; never written to."""
    x = torch.arange(0, width, step, device=device, dtype=torch.float32) + step / 2
    y = torch.arange(0, height, step, device=device, dtype=torch.float32) + step / 2
    return torch.stack([x[None].expand(len(y), -1), y[:, None].expand(-1, len(x))])


def invert_map(placed: Tensor, *, origin: tuple[int, int], target: tuple[int, int, int, int]) -> Tensor:
    """Source pixel of every target pixel: [2, h, w].

    placed: [2, H, W], where the 2 px cells of the source go; the first cell's corner is at `origin`. On a coarse
    grid steps are divided by the largest stretch nearby, which can't overshoot; on finer grids by the stretch
    itself (Newton without the mixed derivatives).
    """
    height, width = placed.shape[1:]
    left, top = origin
    corner = (left, top, left + width * CELL_PX, top + height * CELL_PX)
    flow = placed - pixel_centres(corner, placed.device, CELL_PX)
    stretch = _stretch(flow)
    careful = 1 / _largest_nearby(stretch).clamp(0.7, 8.0)
    scale = torch.tensor([2 / (width * CELL_PX), 2 / (height * CELL_PX)], device=placed.device)[:, None, None]
    shift = torch.tensor([left, top], device=placed.device, dtype=torch.float32)[:, None, None] * scale + 1
    offset = torch.zeros(2, 1, 1, device=placed.device)
    for step, rounds, gain in (
        (16, 6, careful),
        (8, 4, careful),
        (4, 3, 1 / stretch.clamp(0.5, 8.0)),
        (2, 1, 1 / stretch.clamp(0.4, 8.0)),
    ):
        field = torch.cat([flow, gain])[None]  # [1, 4, H, W]
        aim = pixel_centres(target, placed.device, step)
        if offset.shape[1] > 1:
            offset = F.interpolate(offset[None], size=aim.shape[1:], mode="bilinear", align_corners=False)[0]
        for _ in range(rounds):
            where = ((aim + offset) * scale - shift).permute(1, 2, 0)[None]
            local = F.grid_sample(field, where, mode="bilinear", padding_mode="border", align_corners=False)[0]
            offset = offset - local[2:] * (offset + local[:2])
    fine = pixel_centres(target, placed.device)
    return fine + F.interpolate(offset[None], size=fine.shape[1:], mode="bilinear", align_corners=False)[0]


def _largest_nearby(field: Tensor) -> Tensor:
    """Maximum over 12 to 20 cells around each; computed on blocks of four cells."""
    blocks = F.max_pool2d(field[None], 4, ceil_mode=True)
    near = F.max_pool2d(blocks, 5, stride=1, padding=2)
    wide = near[0].repeat_interleave(4, 1).repeat_interleave(4, 2)
    return wide[:, : field.shape[1], : field.shape[2]]


def _stretch(flow: Tensor) -> Tensor:
    """[2, H, W]: d target x / d source x, and the same for y."""
    stretch = torch.ones_like(flow)
    stretch[0, :, 1:-1] += (flow[0, :, 2:] - flow[0, :, :-2]) / (2 * CELL_PX)
    stretch[1, 1:-1] += (flow[1, 2:] - flow[1, :-2]) / (2 * CELL_PX)
    return stretch


def sample_pixels(texture: Tensor, source: Tensor, size: tuple[int, int] = (SIZE_PX, SIZE_PX)) -> Tensor:
    """Texture [1, C, H, W] that covers `size` (width, height) pixels, at pixels [2, h, w] -> [C, h, w]."""
    x = source[0] * (2 / size[0]) - 1
    y = source[1] * (2 / size[1]) - 1
    where = torch.stack([x, y], -1)
    strips = STRIPS if where.shape[0] % STRIPS == 0 else 1  # CPU threads share the work by batch entry
    where = where.view(strips, -1, *where.shape[1:])
    taken = F.grid_sample(
        texture.expand(strips, -1, -1, -1), where, mode="bilinear", padding_mode="border", align_corners=False
    )
    return taken.transpose(0, 1).flatten(1, 2)
