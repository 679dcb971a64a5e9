"""Inverse of a smooth map of the picture, and sampling through it."""

from __future__ import annotations

import functools
from dataclasses import dataclass

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
    """Source pixel of every target pixel: [N, 2, h, w].

    placed: [N, 2, H, W], where the 2 px cells of the source go; the first cell's corner is at `origin`. On a coarse
    grid steps are divided by the largest stretch nearby, which can't overshoot; on finer grids by the stretch
    itself (Newton without the mixed derivatives).
    """
    rough, exact = _Descent.pair(placed, origin)
    offset = torch.zeros(len(placed), 2, 1, 1, device=placed.device)
    for step, rounds, descent in ((16, 6, rough), (8, 4, rough), (4, 3, exact), (2, 1, exact)):
        aim = pixel_centres(target, placed.device, step)
        if offset.shape[2] > 1:
            offset = F.interpolate(offset, size=aim.shape[1:], mode="bilinear", align_corners=False)
        offset = descent.run(aim, offset, rounds)
    fine = pixel_centres(target, placed.device)
    return fine + F.interpolate(offset, size=fine.shape[1:], mode="bilinear", align_corners=False)


def invert_nearby(placed: Tensor, *, origin: tuple[int, int], aim: Tensor, start: Tensor) -> Tensor:
    """As `invert_map`, for any target pixels `aim` [N, 2, h, w], from source pixels `start` that are not far off. Each
    is found on its own, whichever others are asked for."""
    rough, exact = _Descent.pair(placed, origin)
    return aim + exact.run(aim, rough.run(aim, start - aim, 8), 4)


@dataclass(frozen=True)
class _Descent:
    """Steps towards the source. field: [N, 4, H, W] = flow and stretch in cells; scale, shift: pixels to -1..1."""

    field: Tensor
    least: float
    scale: Tensor
    shift: Tensor

    @classmethod
    def pair(cls, placed: Tensor, origin: tuple[int, int]) -> tuple[_Descent, _Descent]:
        """A careful one and an exact one."""
        height, width = placed.shape[2:]
        left, top = origin
        corner = (left, top, left + width * CELL_PX, top + height * CELL_PX)
        flow = placed - pixel_centres(corner, placed.device, CELL_PX)
        stretch = _stretch(flow)
        scale = torch.tensor([2 / (width * CELL_PX), 2 / (height * CELL_PX)], device=placed.device)[:, None, None]
        shift = torch.tensor([left, top], device=placed.device, dtype=torch.float32)[:, None, None] * scale + 1
        rough = cls(torch.cat([flow, _largest_nearby(stretch)], 1), 0.7, scale, shift)
        return rough, cls(torch.cat([flow, stretch], 1), 0.5, scale, shift)

    def run(self, aim: Tensor, offset: Tensor, rounds: int) -> Tensor:
        """offset [N, 2, h, w] of the source from `aim`, after `rounds` steps."""
        for _ in range(rounds):
            where = ((aim + offset) * self.scale - self.shift).permute(0, 2, 3, 1)
            local = F.grid_sample(self.field, where, mode="bilinear", padding_mode="border", align_corners=False)
            offset = offset - (offset + local[:, :2]) / local[:, 2:].clamp(self.least, 8.0)
        return offset


def _largest_nearby(field: Tensor) -> Tensor:
    """Maximum over 12 to 20 cells around each; computed on blocks of four cells."""
    blocks = F.max_pool2d(field, 4, ceil_mode=True)
    near = F.max_pool2d(blocks, 5, stride=1, padding=2)
    wide = F.interpolate(near, scale_factor=4.0, mode="nearest")
    return wide[:, :, : field.shape[2], : field.shape[3]]


def _stretch(flow: Tensor) -> Tensor:
    """[N, 2, H, W]: d target x / d source x, and the same for y."""
    stretch = torch.ones_like(flow)
    stretch[:, 0, :, 1:-1] += (flow[:, 0, :, 2:] - flow[:, 0, :, :-2]) / (2 * CELL_PX)
    stretch[:, 1, 1:-1] += (flow[:, 1, 2:] - flow[:, 1, :-2]) / (2 * CELL_PX)
    return stretch


def blend(under: Tensor, over: Tensor, share: Tensor) -> Tensor:
    """`under` where `share` is 0, `over` where it is 1. Not `torch.lerp`: its vector code rounds otherwise than its
    scalar code, and how many threads there are decides which numbers get which."""
    out = over - under
    out *= share
    out += under
    return out


def sample_pixels(texture: Tensor, source: Tensor, size: tuple[int, int] = (SIZE_PX, SIZE_PX)) -> Tensor:
    """Texture [1, C, H, W] that covers `size` (width, height) pixels, at pixels [N, 2, h, w] -> [N, C, h, w]."""
    scale = torch.tensor([2 / size[0], 2 / size[1]], device=source.device)[:, None, None]
    where = (source * scale - 1).permute(0, 2, 3, 1).contiguous()
    count, height, width = where.shape[:3]
    strips = STRIPS if count == 1 and height % STRIPS == 0 else 1  # CPU threads share the work by batch entry
    taken = F.grid_sample(
        texture.expand(count * strips, -1, -1, -1),
        where.view(count * strips, height // strips, width, 2),
        mode="bilinear",
        padding_mode="border",
        align_corners=False,
    )
    if strips == 1:
        return taken
    return taken.transpose(0, 1).flatten(1, 2)[None]
