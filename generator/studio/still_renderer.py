"""A still of the rig in software: z-buffer, shadow map, ambient occlusion, light that scatters under the skin.

Slow and exact where a real-time renderer cuts corners: some seconds per picture, numpy and OpenCV only, no display.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Camera:
    """Pinhole on the z axis that looks at `target`, cm."""

    size_px: int
    target: tuple[float, float, float]
    distance_cm: float
    fov_deg: float

    def project(self, v: Array) -> Array:
        """[N, 3] cm to [N, 3]: pixel column, pixel row, distance from the camera."""
        local = v - np.array(self.target, np.float32)
        depth = self.distance_cm - local[:, 2]
        k = 0.5 * self.size_px / np.tan(np.radians(self.fov_deg) / 2) / depth
        half = self.size_px / 2
        return np.stack([half + k * local[:, 0], half - k * local[:, 1], depth], 1).astype(np.float32)


@dataclass(frozen=True)
class Surface:
    """What each pixel shows: triangle (-1: nothing), barycentric weights [H, W, 3], depth [H, W]."""

    triangle: NDArray[np.int32]
    weights: Array
    depth: Array

    @property
    def covered(self) -> NDArray[np.bool_]:
        return self.triangle >= 0

    def interpolate(self, faces: NDArray[np.int32], values: Array) -> Array:
        """Per-vertex values [N, C] at every covered pixel: [H, W, C], zero elsewhere."""
        out = np.zeros((*self.triangle.shape, values.shape[1]), np.float32)
        seen = self.covered
        corner = values[faces[self.triangle[seen]]]  # [P, 3, C]
        out[seen] = np.einsum("pk,pkc->pc", self.weights[seen], corner)
        return out


def rasterise(points: Array, faces: NDArray[np.int32], size_px: int) -> Surface:
    """Nearest triangle per pixel. `points` [N, 3]: column, row, depth (smaller is nearer)."""
    triangle = np.full((size_px, size_px), -1, np.int32)
    weights = np.zeros((size_px, size_px, 3), np.float32)
    depth = np.full((size_px, size_px), np.inf, np.float32)
    p = points[faces]  # [F, 3, 3]
    area = _cross(p[:, 1, :2] - p[:, 0, :2], p[:, 2, :2] - p[:, 0, :2])
    low = np.floor(p[..., :2].min(1)).astype(int).clip(0, size_px - 1)
    high = np.ceil(p[..., :2].max(1)).astype(int).clip(0, size_px - 1)
    for f in np.flatnonzero(area < -1e-6):  # counter-clockwise seen from outside; rows run down
        (x0, y0), (x1, y1), q = low[f], high[f], p[f]
        x, y = np.meshgrid(np.arange(x0, x1 + 1), np.arange(y0, y1 + 1))
        a = ((q[1, 0] - x) * (q[2, 1] - y) - (q[2, 0] - x) * (q[1, 1] - y)) / area[f]
        b = ((q[2, 0] - x) * (q[0, 1] - y) - (q[0, 0] - x) * (q[2, 1] - y)) / area[f]
        c = 1 - a - b
        z = a * q[0, 2] + b * q[1, 2] + c * q[2, 2]
        window = (slice(y0, y1 + 1), slice(x0, x1 + 1))
        nearer = (a >= -1e-4) & (b >= -1e-4) & (c >= -1e-4) & (z < depth[window])
        depth[window][nearer] = z[nearer]
        triangle[window][nearer] = f
        weights[window][nearer] = np.stack([a, b, c], -1)[nearer]
    return Surface(triangle, weights, depth)


def _cross(a: Array, b: Array) -> Array:
    return np.asarray(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0], np.float32)


def soft_shadow(v: Array, faces: NDArray[np.int32], position: Array, light: Array, *, map_px: int = 700) -> Array:
    """Share of the light that reaches each pixel's position [H, W, 3]: shadow map with a wide filter, [H, W]."""
    forward = light / np.linalg.norm(light)
    right = np.cross([0, 1, 0], forward)
    right = right / np.linalg.norm(right)
    up = np.cross(forward, right)
    axes = np.stack([right, -up, -forward], 1).astype(np.float32)
    seen = v @ axes
    low, high = seen[:, :2].min(0), seen[:, :2].max(0)
    scale = (map_px - 1) / (high - low).max()

    def to_map(x: Array) -> Array:
        local = x @ axes
        return np.concatenate([(local[..., :2] - low) * scale, local[..., 2:]], -1).astype(np.float32)

    nearest = rasterise(to_map(v), faces, map_px).depth
    nearest = np.where(np.isfinite(nearest), nearest, 1e3).astype(np.float32)
    at = to_map(position)
    lit = np.zeros(position.shape[:2], np.float32)
    taps = [(dx, dy) for dx in range(-4, 5) for dy in range(-4, 5) if dx * dx + dy * dy <= 17]
    for dx, dy in taps:
        found = cv2.remap(nearest, at[..., 0] + 2.2 * dx, at[..., 1] + 2.2 * dy, cv2.INTER_LINEAR, borderValue=1e3)
        lit += (at[..., 2] < found + 0.45).astype(np.float32)
    return lit / len(taps)


def ambient_occlusion(depth: Array, covered: NDArray[np.bool_], px_per_cm: float) -> Array:
    """Open sky per pixel, 0..1: how far the depth lies behind its blurred surroundings at four sizes."""
    near = np.where(covered, depth, depth[covered].max() + 4).astype(np.float32)
    hidden = np.zeros_like(near)
    for radius_cm, strength in ((0.25, 0.9), (0.6, 0.6), (1.4, 0.35), (3.0, 0.16)):
        around = cv2.GaussianBlur(near, (0, 0), radius_cm * px_per_cm)
        hidden += strength * np.clip((near - around) / radius_cm, 0, 1)
    return np.clip(1 - hidden, 0.12, 1).astype(np.float32)


def scatter(light: Array, mask: Array, px_per_cm: float) -> Array:
    """Light [H, W, 3] spread under the skin, red furthest (widths after Jensen et al. 2001, simplified)."""
    out = light.copy()
    for channel, widths in enumerate(
        (((0.05, 0.45), (0.28, 0.55)), ((0.03, 0.7), (0.12, 0.3)), ((0.02, 0.9), (0.06, 0.1)))
    ):
        total = np.zeros_like(mask)
        for width_cm, share in widths:
            sigma = width_cm * px_per_cm
            spread = cv2.GaussianBlur(light[..., channel] * mask, (0, 0), sigma)
            total += share * spread / (cv2.GaussianBlur(mask, (0, 0), sigma) + 1e-4)
        out[..., channel] = light[..., channel] * (1 - mask) + total * mask
    return out
