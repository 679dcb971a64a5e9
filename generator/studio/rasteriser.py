"""Z-buffer rasteriser without a display: triangles in buckets of equal size, all pixels of a bucket at once.

Depth is resolved by one integer minimum per pixel over packed (depth, triangle) keys, so the result doesn't depend
on the order of triangles or threads: the same input gives the same picture on every run of a device.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_EMPTY = torch.iinfo(torch.int64).max
_DEPTH_STEPS_PER_CM = 4096.0
_BUCKETS_PX = (2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128)  # side of the square of pixels tested per triangle
_MAX_TESTS = 1 << 22  # pixels tested at once, bounds memory


@dataclass(frozen=True)
class Surface:
    """What the covered pixels show. P pixels in row order.

    pixel: [P] row * size + column; triangle: [P] row of `faces`; weights: [P, 3] barycentric; depth: [P] cm;
    z_buffer: [size, size] cm, inf where nothing is.
    """

    size_px: int
    pixel: Tensor
    triangle: Tensor
    weights: Tensor
    depth: Tensor
    z_buffer: Tensor

    def interpolate(self, faces: Tensor, values: Tensor) -> Tensor:
        """Per-vertex values [N, C] at the covered pixels, [P, C]."""
        corner = faces[self.triangle]
        a, b, c = (values[corner[:, k]] * self.weights[:, k : k + 1] for k in range(3))
        return a + b + c

    def image(self, values: Tensor, empty: float = 0.0) -> Tensor:
        """Values [P, C] or [P] of the covered pixels as a picture [size, size, C] or [size, size]."""
        shape = (self.size_px * self.size_px, *values.shape[1:])
        out = values.new_full(shape, empty)
        out[self.pixel] = values
        return out.view(self.size_px, self.size_px, *values.shape[1:])


def rasterise(points: Tensor, faces: Tensor, size_px: int, *, cull: Tensor | None = None) -> Surface:
    """Nearest triangle of each pixel centre.

    points: float32 [N, 3] pixel column, pixel row, depth in cm (smaller is nearer, above 0); faces: int64 [F, 3],
    counter-clockwise from outside, back faces are dropped; cull: bool [F], False keeps the back faces of a triangle.
    """
    p = points[faces]
    x, y = p[..., 0], p[..., 1]
    area = (x[:, 1] - x[:, 0]) * (y[:, 2] - y[:, 0]) - (y[:, 1] - y[:, 0]) * (x[:, 2] - x[:, 0])
    low = torch.stack([x.amin(1), y.amin(1)], 1).sub(0.5).ceil().clamp(min=0)
    high = torch.stack([x.amax(1), y.amax(1)], 1).sub(0.5).floor().clamp(max=size_px - 1)
    span = (high - low + 1).amax(1)
    front = area < -1e-9 if cull is None else (area < -1e-9) | (~cull & (area.abs() > 1e-9))
    drawn = front & (high[:, 0] >= low[:, 0]) & (high[:, 1] >= low[:, 1]) & (p[..., 2].amin(1) > 0)
    best = torch.full((size_px * size_px,), _EMPTY, dtype=torch.int64, device=points.device)
    smallest = 0
    for side in (*_BUCKETS_PX, size_px):
        chosen = torch.nonzero(drawn & (span > smallest) & (span <= side))[:, 0]
        smallest = side
        for part in torch.split(chosen, max(1, _MAX_TESTS // (side * side))):  # type: ignore[no-untyped-call]
            _test_bucket(best, p[part], area[part], low[part], high[part], part, side, size_px)
    return _resolve(best, p, area, size_px)


def _test_bucket(
    best: Tensor, p: Tensor, area: Tensor, low: Tensor, high: Tensor, face: Tensor, side: int, size_px: int
) -> None:
    """Enter the pixels of triangles [T] whose boxes are at most `side` wide; changes `best`."""
    step = torch.arange(side, device=p.device, dtype=torch.float32)
    column = low[:, 0, None, None] + step[None, None, :]  # [T, 1, side]
    row = low[:, 1, None, None] + step[None, :, None]  # [T, side, 1]
    x, y = column + 0.5, row + 0.5
    inverse = (1 / area)[:, None, None]
    x0, y0, x1, y1, x2, y2 = (p[:, k, axis, None, None] for k in range(3) for axis in range(2))
    a = ((y1 - y2) * inverse) * x + (((x2 - x1) * inverse) * y + (x1 * y2 - x2 * y1) * inverse)
    b = ((y2 - y0) * inverse) * x + (((x0 - x2) * inverse) * y + (x2 * y0 - x0 * y2) * inverse)
    edge = -1e-4
    inside = (a >= edge) & (b >= edge) & (a + b <= 1 - edge)
    inside &= (column <= high[:, 0, None, None]) & (row <= high[:, 1, None, None])
    at = torch.nonzero(inside.reshape(-1))[:, 0]
    t = torch.div(at, side * side, rounding_mode="floor")
    within = at - t * (side * side)
    r = torch.div(within, side, rounding_mode="floor")
    c = within - r * side
    a, b = a.reshape(-1)[at], b.reshape(-1)[at]
    q = p[t, :, 2]
    depth = a * q[:, 0] + b * q[:, 1] + (1 - a - b) * q[:, 2]
    key = ((depth * _DEPTH_STEPS_PER_CM).to(torch.int64) << 32) | face[t]
    pixel = (low[t, 1].to(torch.int64) + r) * size_px + low[t, 0].to(torch.int64) + c
    best.scatter_reduce_(0, pixel, key, "amin")


def _resolve(best: Tensor, p: Tensor, area: Tensor, size_px: int) -> Surface:
    pixel = torch.nonzero(best != _EMPTY)[:, 0]
    triangle = best[pixel] & 0xFFFFFFFF
    q = p[triangle]
    x, y = (pixel % size_px).float() + 0.5, (pixel // size_px).float() + 0.5
    inverse = 1 / area[triangle]
    a = ((q[:, 1, 0] - x) * (q[:, 2, 1] - y) - (q[:, 2, 0] - x) * (q[:, 1, 1] - y)) * inverse
    b = ((q[:, 2, 0] - x) * (q[:, 0, 1] - y) - (q[:, 0, 0] - x) * (q[:, 2, 1] - y)) * inverse
    weights = torch.stack([a, b, 1 - a - b], 1)
    depth = (weights * q[..., 2]).sum(1)
    z_buffer = torch.full((size_px * size_px,), torch.inf, device=p.device)
    z_buffer[pixel] = depth
    return Surface(size_px, pixel, triangle, weights, depth, z_buffer.view(size_px, size_px))


def splat(points: Tensor, z_buffer: Tensor) -> tuple[Tensor, Tensor]:
    """Nearest point of each pixel that lies before `z_buffer` [size, size]: (pixel [P], row of `points` [P]).

    points: float32 [N, 3] pixel column, pixel row, depth in cm.
    """
    size_px = z_buffer.shape[0]
    column, row = points[:, 0].floor().to(torch.int64), points[:, 1].floor().to(torch.int64)
    inside = (column >= 0) & (column < size_px) & (row >= 0) & (row < size_px)
    pixel = (row * size_px + column).clamp(0, size_px * size_px - 1)
    chosen = torch.nonzero(inside & (points[:, 2] < z_buffer.reshape(-1)[pixel]))[:, 0]
    key = ((points[chosen, 2] * _DEPTH_STEPS_PER_CM).to(torch.int64) << 32) | chosen
    best = torch.full((size_px * size_px,), _EMPTY, dtype=torch.int64, device=points.device)
    best.scatter_reduce_(0, pixel[chosen], key, "amin")
    seen = torch.nonzero(best != _EMPTY)[:, 0]
    return seen, best[seen] & 0xFFFFFFFF
