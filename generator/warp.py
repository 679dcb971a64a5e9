"""Inverse of a smooth map of the picture, and sampling through it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from generator.working_picture import SIZE_PX

CELL_PX = 2


def pixel_centres(window: tuple[int, int, int, int], device: torch.device, step: int = 1) -> Tensor:
    """[2, h, w] = x, y of every `step`-pixel square's centre in a window left, top, right, bottom."""
    left, top, right, bottom = window
    x = torch.arange(left, right, step, device=device, dtype=torch.float32) + step / 2
    y = torch.arange(top, bottom, step, device=device, dtype=torch.float32) + step / 2
    return torch.stack([x[None].expand(len(y), -1), y[:, None].expand(-1, len(x))])


def invert_map(placed: Tensor, *, origin: tuple[int, int], target: tuple[int, int, int, int]) -> Tensor:
    """Source pixel of every target pixel: [2, h, w].

    placed: [2, H, W], where the 2 px cells of the source go; the first cell's corner is at `origin`. Damped Newton
    with the map's own stretch along x and y, first on a coarse grid, then on finer ones.
    """
    height, width = placed.shape[1:]
    left, top = origin
    corner = (left, top, left + width * CELL_PX, top + height * CELL_PX)
    rest = pixel_centres(corner, placed.device, CELL_PX)
    flow = placed - rest
    field = torch.cat([flow, _inverse_stretch(flow)])[None]  # [1, 4, H, W]
    scale = torch.tensor([2 / (width * CELL_PX), 2 / (height * CELL_PX)], device=placed.device)
    shift = torch.tensor([left, top], device=placed.device, dtype=torch.float32)

    def improve(source: Tensor, aim: Tensor) -> Tensor:
        where = (source - shift[:, None, None]) * scale[:, None, None] - 1
        local = F.grid_sample(
            field, where.permute(1, 2, 0)[None], mode="bilinear", padding_mode="border", align_corners=False
        )[0]
        return source - local[2:] * (source + local[:2] - aim)

    offset = torch.zeros(2, 1, 1, device=placed.device)
    for step, rounds in ((4, 5), (2, 2)):
        aim = pixel_centres(target, placed.device, step)
        if offset.shape[1] > 1:
            offset = F.interpolate(offset[None], size=aim.shape[1:], mode="bilinear", align_corners=False)[0]
        source = aim + offset
        for _ in range(rounds):
            source = improve(source, aim)
        offset = source - aim
    fine = pixel_centres(target, placed.device)
    return fine + F.interpolate(offset[None], size=fine.shape[1:], mode="bilinear", align_corners=False)[0]


def _inverse_stretch(flow: Tensor) -> Tensor:
    """[2, H, W]: 1 / (d target x / d source x), the same for y, kept within what converges."""
    stretch = torch.ones_like(flow)
    stretch[0, :, 1:-1] += (flow[0, :, 2:] - flow[0, :, :-2]) / (2 * CELL_PX)
    stretch[1, 1:-1] += (flow[1, 2:] - flow[1, :-2]) / (2 * CELL_PX)
    return 1 / stretch.clamp(0.6, 8.0)


def sample_pixels(texture: Tensor, source: Tensor, size: tuple[int, int] = (SIZE_PX, SIZE_PX)) -> Tensor:
    """Texture [1, C, H, W] that covers `size` (width, height) pixels, at pixels [2, h, w] -> [C, h, w]."""
    x = source[0] * (2 / size[0]) - 1
    y = source[1] * (2 / size[1]) - 1
    where = torch.stack([x, y], -1)[None]
    return F.grid_sample(texture, where, mode="bilinear", padding_mode="border", align_corners=False)[0]
