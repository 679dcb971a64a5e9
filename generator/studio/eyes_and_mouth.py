"""Colours of what lies behind lids and lips, and how little light gets there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from generator.rig_fit import FOCAL
from generator.studio import lighting
from generator.studio.head_model import Posed
from generator.studio.rasteriser import Surface
from generator.studio.rig_mesh import Region
from generator.studio.scene import EYE_MAP_CM

_MOUTH_COLOURS = (
    (Region.MOUTH_SOCKET, (0.26, 0.05, 0.045)),
    (Region.GUMS, (0.42, 0.115, 0.105)),
    (Region.TEETH, (0.74, 0.67, 0.53)),
)  # linear RGB


def unproject(surface: Surface) -> Tensor:
    """[P, 3] cm in camera space of the covered pixels."""
    size = surface.size_px
    k = surface.depth * (2 / (FOCAL * size))
    x = ((surface.pixel % size) + 0.5 - size / 2) * k
    y = (size / 2 - (surface.pixel // size) - 0.5) * k
    return torch.stack([x, y, -surface.depth], 1)


def mouth_interior(surface: Surface, kind: Tensor, rest: Tensor, px_per_cm: float) -> tuple[Tensor, Tensor]:
    """Colour [P, 3] of the mouth's inside and the light [P] that reaches it: little behind the lips, least under the
    upper one; 1 elsewhere. kind: [P] region; rest: [P, 3] on the neutral head, relative to HEAD_CENTRE."""
    colour, factor = torch.zeros_like(rest), torch.ones_like(rest[:, 0])
    inside = (kind == Region.MOUTH_SOCKET) | (kind == Region.GUMS) | (kind == Region.TEETH)
    if not bool(inside.any()):
        return colour, factor
    depth = ((rest[:, 2] - 2.5) / 6.0).clamp(0, 1)
    opening = surface.image(inside.float())[None]
    wide = lighting.blur(opening, 0.55 * px_per_cm)[0]
    near = lighting.blur(opening, 0.22 * px_per_cm)[0]
    shift = max(1, round(0.22 * px_per_cm))
    under_lip = F.pad(near[None], (0, 0, shift, 0))[0, : near.shape[0]]
    reach = (0.06 + 1.05 * wide**0.65 * (0.3 + 0.7 * under_lip)).clamp(0, 1).view(-1)[surface.pixel]
    for region, own in _MOUTH_COLOURS:
        colour[kind == region] = torch.tensor(own, device=rest.device)
    fade = torch.where(kind == Region.TEETH, 0.12 + 0.88 * depth**1.6, 0.06 + 0.80 * depth**2)
    return colour, torch.where(inside, reach * fade, factor)


@dataclass(frozen=True)
class EyePixels:
    """rows: [n] of the surface's pixels; colour: [n, 3] linear, shaded by the lids; normal: [n, 3] of the ball; wet:
    [n, 3] normal of the tear film, with the cornea's bulge; shade: [n] 0..1 of the lids."""

    rows: Tensor
    colour: Tensor
    normal: Tensor
    wet: Tensor
    shade: Tensor


def eyeballs(
    surface: Surface, kind: Tensor, position: Tensor, posed: Posed, eye_map: Tensor, px_per_cm: float
) -> Iterator[EyePixels]:
    """Both eyes, as far as they show. position: [P, 3] camera space; eye_map: [3, E, E], see `scene.Person`."""
    ball = surface.image(((kind == Region.EYEBALL_L) | (kind == Region.EYEBALL_R)).float())[None]
    lids = _lid_shade(ball, px_per_cm)
    for side, region in ((0, Region.EYEBALL_L), (1, Region.EYEBALL_R)):
        rows = torch.nonzero(kind == region)[:, 0]
        if len(rows) == 0:
            continue
        centre, turn = posed.eyes[side]
        offset = (position[rows] - centre) @ turn
        grid = torch.stack([offset[:, 0], -offset[:, 1]], 1)[None, None] / EYE_MAP_CM
        colour = F.grid_sample(eye_map[None], grid, align_corners=False, padding_mode="border")[0, :, 0].T
        normal = F.normalize(position[rows] - centre, dim=1)
        bulge = turn @ torch.tensor([0.0, 0.0, 0.5], device=turn.device)
        cornea = F.normalize(position[rows] - centre - bulge, dim=1)
        wet = torch.where((offset[:, :2].norm(dim=1) < 0.75)[:, None], cornea, normal)
        shade = lids[surface.pixel[rows]]
        yield EyePixels(rows, 0.7 * colour * shade[:, None], normal, wet, shade)


def _lid_shade(ball: Tensor, px_per_cm: float) -> Tensor:
    """[R * R] 0..1: a soft shadow of the lids, strongest under the upper one. ball: [1, R, R] 1 on eyeballs."""
    near = lighting.blur(ball, 0.16 * px_per_cm)[0]
    shift = max(1, round(0.15 * px_per_cm))
    below = F.pad(near[None], (0, 0, shift, 0))[0, : near.shape[0]]
    return (0.10 + 0.55 * near + 0.45 * below).clamp(0, 1).view(-1)
