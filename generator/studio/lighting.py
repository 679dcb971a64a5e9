"""Light of a take, fixed in camera space while the head turns, and what it does to surfaces: shadow, occlusion,
light that spreads under the skin, tone curve. Light is linear RGB."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from generator.studio.rasteriser import rasterise, splat

_SHADOW_PX = 176
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
        taps = [
            (r * np.cos(a), r * np.sin(a))
            for a, r in zip(np.arange(8) * 2.4, (0.3, 0.7, 1.0, 1.3, 1.5, 1.7, 1.9, 2.1), strict=True)
        ]
        reach = self._softness * 0.75
        for dx, dy in taps:
            column = (at[:, 0] + reach * dx).floor().clamp(0, _SHADOW_PX - 1)
            row = (at[:, 1] + reach * dy).floor().clamp(0, _SHADOW_PX - 1)
            behind = at[:, 2] - self._depth[(row * _SHADOW_PX + column).long()]
            total += ((_SHADOW_BIAS_CM * (1 + 0.5 * self._softness * abs(dx + dy)) - behind) / 0.12 + 0.5).clamp(0, 1)
        return total / len(taps)


def blur(picture: Tensor, sigma_px: float) -> Tensor:
    """Gaussian blur of [C, H, W], borders repeated; at a lower resolution when it is wide."""
    if sigma_px < 0.3:
        return picture
    factor = max(1, int(sigma_px / 0.8))
    height, width = picture.shape[1:]
    small = F.avg_pool2d(picture[None], factor, ceil_mode=True, count_include_pad=False)[0] if factor > 1 else picture
    sigma = float(np.exp(np.round(np.log(sigma_px / factor) * 12) / 12))  # few widths, so that matrices are kept
    down, along = (_blur_matrix(small.shape[k], sigma, picture.device) for k in (1, 2))
    out = down @ (small @ along.T)
    if factor > 1:
        wide = (out.shape[1] * factor, out.shape[2] * factor)
        out = F.interpolate(out[None], size=wide, mode="bilinear", align_corners=False)[0]
    return out[:, :height, :width]


@functools.lru_cache(maxsize=256)
def _blur_matrix(size: int, sigma: float, device: torch.device) -> Tensor:
    """[size, size] whose rows are Gaussian weights: two products with it are faster than a depthwise convolution."""
    at = torch.arange(-size, 2 * size, dtype=torch.float32)
    weight = torch.exp(-0.5 * ((at[None] - at[size : 2 * size, None]) / sigma) ** 2)
    out = weight[:, size : 2 * size].clone()
    out[:, 0] += weight[:, :size].sum(1)
    out[:, -1] += weight[:, 2 * size :].sum(1)
    return (out / out.sum(1, keepdim=True)).to(device)


def shrink(picture: Tensor, size_px: int) -> Tensor:
    """[C, H, H] to [C, size, size], the mean over each target pixel's area."""
    at, weight = _area_taps(picture.shape[1], size_px, picture.device)
    rows = sum(picture[:, at[k]] * weight[k][None, :, None] for k in range(len(at)))
    assert isinstance(rows, Tensor)
    out = sum(rows[:, :, at[k]] * weight[k] for k in range(len(at)))
    assert isinstance(out, Tensor)
    return out


@functools.lru_cache(maxsize=16)
def _area_taps(source_px: int, target_px: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Source pixels [K, target] under each target pixel and their shares [K, target]."""
    ratio = source_px / target_px
    low = torch.arange(target_px, dtype=torch.float64) * ratio
    at = low.floor()[None] + torch.arange(int(np.ceil(ratio)) + 1, dtype=torch.float64)[:, None]
    cover = (torch.minimum(low + ratio, at + 1) - torch.maximum(low, at)).clamp(min=0) / ratio
    return at.clamp(max=source_px - 1).long().to(device), cover.float().to(device)


def ambient_occlusion(depth: Tensor, px_per_cm: float) -> Tensor:
    """Open sky per pixel [H, W] 0..1 from depth [H, W] (inf = nothing): how far it lies behind its surroundings."""
    covered = torch.isfinite(depth)
    far = depth[covered].max() + 4 if bool(covered.any()) else depth.new_tensor(1.0)
    near = torch.where(covered, depth, far)[None]
    half = F.avg_pool2d(near, 2, ceil_mode=True, count_include_pad=False)
    hidden = 0.75 * ((near - blur(near, 0.3 * px_per_cm)) / 0.3).clamp(0, 1)[0]
    coarse = torch.zeros_like(half)
    for radius_cm, strength in ((0.7, 0.5), (1.6, 0.33), (3.2, 0.16)):
        coarse += strength * ((half - blur(half, 0.5 * radius_cm * px_per_cm)) / radius_cm).clamp(0, 1)
    coarse = F.interpolate(coarse[None], scale_factor=2, mode="bilinear", align_corners=False)[0, 0]
    return (1 - hidden - coarse[: depth.shape[0], : depth.shape[1]]).clamp(0.12, 1)


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


def strand_light(
    light: Light, tangent: Tensor, out: Tensor, lit: Tensor, own: Tensor, shade: Tensor, openness: Tensor
) -> Tensor:
    """Linear colour [n, 3] of hair after Kajiya and Kay 1989.

    tangent: [n, 3] along the strand; out: [n, 3] away from the head; lit: [n] share of the key light; own: [n, 3] or
    [1, 3] the hair's colour; shade: [n] of the strand, around 1; openness: [n] 1 = on the outside of the hair.
    """

    def sine(d: Tensor) -> Tensor:
        return (1 - (tangent @ d).clamp(-1, 1) ** 2).clamp(min=0).sqrt()

    view = torch.tensor([0.0, 0.0, 1.0], device=tangent.device)
    half = F.normalize(light.key + view, dim=0)
    depth = (1 - 0.75 * (1 - openness) ** 1.3) * shade
    facing = (0.45 + 0.55 * (out @ light.key)).clamp(0.12, 1)
    key = (sine(light.key) * facing * (0.3 + 0.7 * lit))[:, None] * light.key_colour
    fill = (sine(light.fill) * (0.4 + 0.4 * (out @ light.fill)).clamp(min=0.05))[:, None] * light.fill_colour
    rim = (sine(light.rim) * (0.2 + 0.8 * (out @ light.rim)).clamp(min=0))[:, None] * light.rim_colour
    sky = (0.35 + 0.4 * out[:, 1:2]).clamp(min=0.1) * light.sky_colour + 0.15 * light.ground_colour
    along = sine(half)
    shine = (along**48 * 0.055 * facing * lit * openness)[:, None] * light.key_colour
    glow = (along**12 * 0.5 * facing * lit)[:, None] * light.key_colour * own
    return own * 1.5 * (0.75 * key + 0.6 * fill + 0.8 * rim + 0.8 * sky) * depth[:, None] + shine + glow
