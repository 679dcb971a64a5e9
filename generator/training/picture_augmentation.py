"""Other cameras, lights and framings for pictures of faces, with the labels moved along."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Framing:
    """Per picture: turn of the picture counter-clockwise (radians), size, shift (half pictures; right, down), [B]."""

    turn: Tensor
    size: Tensor
    right: Tensor
    down: Tensor

    @staticmethod
    def random(count: int, rng: torch.Generator, strength: float = 1.0) -> Framing:
        def spread(width: float) -> Tensor:
            return (torch.rand(count, generator=rng) * 2 - 1) * width * strength

        return Framing(spread(0.2), spread(0.16).exp(), spread(0.12), spread(0.12))

    def pictures(self, pictures: Tensor, side_px: int) -> Tensor:
        """[B, 3, h, h] -> [B, 3, side, side]"""
        cos, sin = self.turn.cos() / self.size, self.turn.sin() / self.size
        back = torch.stack([torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)], 1)  # of points with y down
        offset = -(back @ torch.stack([self.right, self.down], 1)[..., None])
        grid = F.affine_grid(torch.cat([back, offset], 2), [len(pictures), 3, side_px, side_px], align_corners=False)
        return F.grid_sample(pictures, grid.to(pictures.dtype), padding_mode="reflection", align_corners=False)

    def points(self, points: Tensor) -> Tensor:
        """[B, P, 2] in -1..1, y down -> where they go."""
        cos, sin = (self.turn.cos() * self.size)[:, None], (self.turn.sin() * self.size)[:, None]
        x, y = points.unbind(2)
        return torch.stack([cos * x + sin * y + self.right[:, None], -sin * x + cos * y + self.down[:, None]], 2)

    def gaze(self, gaze: Tensor) -> Tensor:
        """[B, 2] yaw, pitch (positive down)."""
        yaw, pitch = gaze.unbind(1)
        cos, sin = self.turn.cos(), self.turn.sin()
        return torch.stack([yaw * cos + pitch * sin, pitch * cos - yaw * sin], 1)


def vary_colours(pictures: Tensor, rng: torch.Generator) -> Tensor:
    """[B, 3, h, w] in 0..1: exposure, white balance, contrast, grey, blur, noise, a patch that hides something."""
    count, _, height, width = pictures.shape

    def draw(*shape: int, low: float, high: float) -> Tensor:
        return torch.rand(*shape, 1, 1, generator=rng) * (high - low) + low

    x = pictures.clamp(1e-3, 1) ** draw(count, 1, low=-0.4, high=0.4).exp()
    x = x * draw(count, 3, low=0.85, high=1.15) * draw(count, 1, low=0.75, high=1.2)
    mean = x.mean((2, 3), keepdim=True)
    x = mean + (x - mean) * draw(count, 1, low=0.7, high=1.3)
    grey = (draw(count, 1, low=0, high=1) < 0.1).to(x.dtype)
    x = x + grey * (x.mean(1, keepdim=True) - x)
    soft = F.interpolate(F.avg_pool2d(x, 2), size=(height, width), mode="bilinear", align_corners=False)
    x = x + (draw(count, 1, low=-0.6, high=1.0).clamp(min=0)) * (soft - x)
    x = x + torch.randn(x.shape, generator=rng) * draw(count, 1, low=-0.02, high=0.04).clamp(min=0)
    for index in torch.nonzero(torch.rand(count, generator=rng) < 0.15).flatten().tolist():
        top, left, size = (int(v) for v in (torch.rand(3, generator=rng) * torch.tensor([height, width, height / 3])))
        x[index, :, top : top + size, left : left + size] = torch.rand(3, 1, 1, generator=rng)
    return x.clamp(0, 1)
