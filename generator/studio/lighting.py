"""Light of a take, fixed in camera space while the head turns, and what it does to surfaces: shadow, occlusion,
light that spreads under the skin, tone curve. Light is linear RGB."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from generator.studio.rasteriser import rasterise, splat

_SHADOW_PX = 224
_SHADOW_SPAN_CM = 44.0
_SHADOW_BIAS_CM = 0.38


@dataclass(frozen=True)
class Light:
    """Directions [3] point to the light, unit length; colours [3] linear RGB; exposure is a factor."""

    key: Tensor
    key_colour: Tensor
    fill: Tensor
    fill_colour: Tensor
    rim: Tensor
    rim_colour: Tensor
    sky_colour: Tensor
    ground_colour: Tensor
    softness: float  # radius of the shadow's filter in texels
    exposure: float

    def parameters(self) -> Tensor:
        """float32 [26], in the order of the fields."""
        parts = [self.key, self.key_colour, self.fill, self.fill_colour, self.rim, self.rim_colour]
        tail = torch.tensor([self.softness, self.exposure], device=self.key.device)
        return torch.cat([*parts, self.sky_colour, self.ground_colour, tail]).float().cpu()


def draw_light(rng: np.random.Generator, device: torch.device) -> Light:
    """A key from the front half, a weaker fill from the other side, a rim from behind, sky and ground."""

    def unit(*xyz: float) -> Tensor:
        v = np.array(xyz, np.float32)
        return torch.tensor(v / np.linalg.norm(v), dtype=torch.float32, device=device)

    def tint(level: float, warmth: float) -> Tensor:
        rgb = level * np.array([1 + 0.12 * warmth, 1.0, 1 - 0.16 * warmth])
        return torch.tensor(rgb, dtype=torch.float32, device=device)

    side = rng.choice([-1.0, 1.0])
    flat = rng.random() < 0.3
    key_level = rng.uniform(0.55, 0.85) if flat else rng.uniform(0.8, 1.35)
    key = unit(side * rng.uniform(0.05, 1.1), rng.uniform(0.05, 0.95), 1.0)
    fill = unit(-side * rng.uniform(0.4, 1.2), rng.uniform(-0.2, 0.4), rng.uniform(0.5, 1.0))
    rim = unit(rng.choice([-1.0, 1.0]), rng.uniform(0.1, 0.8), rng.uniform(-0.8, -0.3))
    warmth, sky_level = rng.uniform(-0.7, 1.0), rng.uniform(0.45, 0.75) if flat else rng.uniform(0.18, 0.45)
    return Light(
        key, tint(key_level, warmth), fill, tint(rng.uniform(0.10, 0.45), rng.uniform(-0.8, 0.6)),
        rim, tint(rng.choice([0.0, rng.uniform(0.1, 0.5)]), rng.uniform(-0.5, 0.5)),
        tint(sky_level, rng.uniform(-0.8, 0.3)), tint(rng.uniform(0.05, 0.20), rng.uniform(0.0, 1.0)),
        float(rng.uniform(1.0, 3.2)), float(rng.uniform(0.85, 1.2)),
    )  # fmt: skip


class ShadowMap:
    """Depth seen from the key light, around `centre` [3] in camera space."""

    def __init__(self, light: Light, centre: Tensor, points: Tensor, faces: Tensor, hair: Tensor | None) -> None:
        forward = light.key
        up = torch.tensor([0.0, 1.0, 0.0], device=forward.device)
        right = F.normalize(torch.linalg.cross(up, forward), dim=0)
        self._axes = torch.stack([right, -torch.linalg.cross(forward, right), -forward], 1)
        self._centre, self._softness = centre, light.softness
        depth = rasterise(self._to_map(points), faces, _SHADOW_PX).z_buffer
        if hair is not None:
            at = self._to_map(hair)
            pixel, which = splat(at, torch.full_like(depth, torch.inf))
            flat = depth.view(-1)
            flat[pixel] = torch.minimum(flat[pixel], at[which, 2] + 0.3)
        self._depth = depth.clamp(max=1e4).view(-1)

    def _to_map(self, x: Tensor) -> Tensor:
        local = (x - self._centre) @ self._axes
        scale = _SHADOW_PX / _SHADOW_SPAN_CM
        return torch.cat([local[:, :2] * scale + _SHADOW_PX / 2, local[:, 2:] + 100.0], 1)

    def lit(self, position: Tensor) -> Tensor:
        """[P] share of the key light that reaches camera-space points [P, 3]."""
        at = self._to_map(position)
        total = torch.zeros_like(at[:, 0])
        taps = [(0.0, 0.0)] + [(np.cos(a), np.sin(a)) for a in np.arange(6) * np.pi / 3]
        taps += [(2 * np.cos(a), 2 * np.sin(a)) for a in np.arange(6) * np.pi / 3 + 0.5]
        reach = self._softness * 0.75
        for dx, dy in taps:
            column = (at[:, 0] + reach * dx).floor().clamp(0, _SHADOW_PX - 1)
            row = (at[:, 1] + reach * dy).floor().clamp(0, _SHADOW_PX - 1)
            behind = at[:, 2] - self._depth[(row * _SHADOW_PX + column).long()]
            total += ((_SHADOW_BIAS_CM * (1 + 0.5 * self._softness * abs(dx + dy)) - behind) / 0.12 + 0.5).clamp(0, 1)
        return total / len(taps)


def blur(picture: Tensor, sigma_px: float) -> Tensor:
    """Gaussian blur of [C, H, W], at a lower resolution when it is wide."""
    if sigma_px < 0.3:
        return picture
    factor = max(1, int(sigma_px / 1.6))
    small = (
        F.avg_pool2d(picture[None], factor, ceil_mode=True, count_include_pad=False) if factor > 1 else picture[None]
    )
    sigma = sigma_px / factor
    reach = max(1, int(np.ceil(2.5 * sigma)))
    offset = torch.arange(-reach, reach + 1, device=picture.device, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (offset / sigma) ** 2)
    kernel = kernel / kernel.sum()
    padded = F.pad(small, (reach, reach, reach, reach), mode="replicate")
    channels = padded.shape[1]
    along = F.conv2d(padded, kernel.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)
    out = F.conv2d(along, kernel.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)
    if factor > 1:
        out = F.interpolate(out, size=(out.shape[2] * factor, out.shape[3] * factor), mode="bilinear")
    return out[0, :, : picture.shape[1], : picture.shape[2]]


def ambient_occlusion(depth: Tensor, px_per_cm: float) -> Tensor:
    """Open sky per pixel [H, W] 0..1 from depth [H, W] (inf = nothing): how far it lies behind its surroundings."""
    covered = torch.isfinite(depth)
    far = depth[covered].max() + 4 if bool(covered.any()) else depth.new_tensor(1.0)
    near = torch.where(covered, depth, far)
    hidden = torch.zeros_like(near)
    for radius_cm, strength in ((0.3, 0.75), (0.7, 0.5), (1.6, 0.33), (3.2, 0.16)):
        around = blur(near[None], radius_cm * px_per_cm)[0]
        hidden += strength * ((near - around) / radius_cm).clamp(0, 1)
    return (1 - hidden).clamp(0.12, 1)


def scatter(light: Tensor, mask: Tensor, px_per_cm: float) -> Tensor:
    """Light [3, H, W] spread under the skin where mask [H, W] is 1, red furthest."""
    share = torch.tensor([0.55, 0.30, 0.15], device=light.device)[:, None, None]
    spread = blur(torch.cat([light * mask, mask[None]]), 0.26 * px_per_cm)
    spread = spread[:3] / (spread[3:] + 1e-3)
    return light + share * mask * (spread - light)


def tone(linear: Tensor) -> Tensor:
    """Linear light to display values 0..1: soft shoulder, then sRGB's curve."""
    x = linear.clamp(min=0)
    x = (x * (1 + x / 2.4) / (1 + x * 0.85)).clamp(0, 1)
    return torch.where(x < 0.0031308, 12.92 * x, 1.055 * x.clamp(min=1e-6) ** (1 / 2.4) - 0.055)


def wrapped(normal: Tensor, light: Tensor, wrap: float) -> Tensor:
    """[P] light that falls on normals [P, 3], a little around the edge."""
    return ((normal @ light + wrap) / (1 + wrap)).clamp(min=0)


def lobe(normal: Tensor, light: Tensor, view: Tensor, gloss: float) -> Tensor:
    """[P] highlight of normals [P, 3] seen from `view` [P, 3]."""
    half = F.normalize(light + view, dim=1)
    return (normal * half).sum(1).clamp(0, 1) ** gloss


def linear_of(srgb: NDArray[Any]) -> NDArray[np.float32]:
    """sRGB 0..1 to linear."""
    s = np.asarray(srgb, np.float64)
    return np.where(s <= 0.04045, s / 12.92, ((s + 0.055) / 1.055) ** 2.4).astype(np.float32)
