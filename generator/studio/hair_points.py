"""Scalp hair, beard and lashes as dense points along strands: drawn by the z-test of `rasteriser.splat`.

Strands are grown once per person in head space. Scalp hair is rigid with the head; beard and lashes are tied to a
vertex each and go with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

from generator.rig_fit import HEAD_CENTRE
from generator.studio.strand_hair import comb, grow_lashes, scalp_weight

Array = NDArray[np.float32]
Floats = NDArray[Any]


@dataclass(frozen=True)
class HairStyle:
    """Lengths in cm. `back`, `side`, `fringe`, `fall` weigh the direction of growth; `curl` bends the strands."""

    length_top: float
    length_side: float
    lift: float
    part_x: float
    back: float = 0.6
    side: float = 0.8
    fringe: float = 0.0
    fall: float = 0.4
    curl: float = 0.1
    clump: float = 0.3
    recede: float = 0.0  # cm that the hairline lies further back
    count: int = 9000


@dataclass(frozen=True)
class HairPoints:
    """points: [N, 3] cm relative to HEAD_CENTRE, at rest; tangent: [N, 3] unit; shade: [N] around 1; open: [N] 0..1,
    1 = outside of the hair; anchor: [N] rig vertex that the point goes with, -1 = rigid with the head."""

    points: Tensor
    tangent: Tensor
    shade: Tensor
    open: Tensor
    anchor: Tensor

    def towards(self, view: Tensor) -> Tensor:
        """Rows that a viewer in direction `view` [3], in head space, may see: not those behind the skull."""
        ahead = self.points @ view
        return torch.nonzero((ahead > -3.0) | (self.points[:, 1] < 0.5))[:, 0]


def scalp_cover(neutral: Array, skin: NDArray[np.bool_], style: HairStyle) -> Array:
    """0..1 per vertex of the neutral head (rig coordinates)."""
    moved = neutral.copy()
    front = np.clip((neutral[:, 2] + 2) / 8, 0, 1)
    temples = 1 + 0.8 * np.exp(-(((np.abs(neutral[:, 0]) - 4.5) / 2.0) ** 2)) * (style.recede > 0)
    moved[:, 1] -= style.recede * front * temples * (neutral[:, 1] > 7)
    return scalp_weight(moved, skin)


def grow(
    base: Array, normals: Array, cover: Array, skin: NDArray[np.bool_], style: HairStyle, rng: np.random.Generator,
    *, step_cm: float = 0.085,
) -> HairPoints:  # fmt: skip
    """Hair on vertices `base` [V, 3] relative to HEAD_CENTRE where `cover` > 0, combed as `style` says."""
    grown = np.flatnonzero(cover > 0.05)
    body = np.flatnonzero(skin)
    tree = cKDTree(base[body])
    root = rng.choice(grown, style.count, p=cover[grown] / cover[grown].sum())
    jitter = rng.normal(0, 0.24, (style.count, 3)).astype(np.float32)
    jitter -= (jitter * normals[root]).sum(1, keepdims=True) * normals[root]
    at = base[root] + jitter
    frequency = rng.normal(0, 1.1, (3, 6))
    phase = np.sin(base[root] @ frequency)
    clump = phase.mean(1)
    layer = rng.uniform(0, 1, style.count) ** 0.6  # 1 = outermost
    top = np.clip((base[root, 1] - 3.5) / 4, 0, 1)
    length = (style.length_side + (style.length_top - style.length_side) * top) * rng.uniform(0.72, 1.1, style.count)
    height = style.lift * (0.25 + 0.75 * top) * (0.15 + 0.85 * layer) * (1 + 0.3 * style.clump * clump)
    steps = int(np.clip(max(style.length_top, style.length_side) / 0.5, 6, 40))
    wander = 0.35 * style.clump * phase[:, :3] + rng.normal(0, 0.10 + 0.35 * style.curl, (style.count, 3))
    turn = rng.uniform(0, 6.28, style.count) + 3 * clump
    control = np.zeros((steps, style.count, 3), np.float32)
    for k in range(steps):
        _, nearest = tree.query(at)
        n, on = normals[body[nearest]], base[body[nearest]]
        above = ((at - on) * n).sum(1)
        risen = np.sqrt(np.clip(k / (steps - 1) * 1.8, 0, 1)) * height + 0.03
        at = at + n * np.clip(risen - above, 0, 0.7)[:, None]
        control[k] = at
        d = style.side * comb(at + HEAD_CENTRE, style.part_x) + style.back * np.array([0, 0.1, -1.0])
        d = d + style.fall * np.array([0, -1.0, 0]) + style.fringe * np.array([0.15, -0.35, 1.0]) * top[:, None]
        a = turn + k * (0.9 + 0.5 * style.curl)
        d = d + wander + style.curl * 1.6 * np.stack([np.cos(a), np.sin(a), np.cos(a + 2)], 1)
        inward = np.minimum((d * n).sum(1, keepdims=True), 0) * (above < risen + 0.3)[:, None]
        d = d - inward * n
        d = d / (np.linalg.norm(d, axis=1, keepdims=True) + 1e-6)
        at = (at + d * (length / steps)[:, None]).astype(np.float32)
    shade = (1 + 0.20 * rng.standard_normal(style.count) + 0.22 * clump).clip(0.45, 1.7)
    return _dense(control.transpose(1, 0, 2), shade, layer, np.full(style.count, -1), step_cm)


def grow_beard(
    base: Array, normals: Array, cover: Array, length_cm: float, count: int, rng: np.random.Generator
) -> HairPoints:
    """Short strands on the vertices with `cover`, growing down and out; each goes with its vertex."""
    grown = np.flatnonzero(cover > 0.03)
    root = rng.choice(grown, count, p=cover[grown] / cover[grown].sum())
    jitter = rng.normal(0, 0.16, (count, 3)).astype(np.float32)
    jitter -= (jitter * normals[root]).sum(1, keepdims=True) * normals[root]
    at = base[root] + jitter
    d = normals[root] * 0.55 + np.array([0, -0.8, 0.05]) + rng.normal(0, 0.28, (count, 3))
    d[:, 0] += 0.25 * np.sign(base[root, 0]) * np.exp(-(((base[root, 1] + 4) / 1.0) ** 2))
    d /= np.linalg.norm(d, axis=1, keepdims=True)
    length = length_cm * rng.uniform(0.4, 1.1, count) * np.clip(cover[root] * 1.5, 0.3, 1)
    k = np.linspace(0, 1, 5)[None, :, None]
    points = at[:, None] + d[:, None] * k * length[:, None, None] - np.array([0, 0.15, 0]) * k**2
    shade = (1 + 0.25 * rng.standard_normal(count)).clip(0.45, 1.7)
    return _dense(points.astype(np.float32), shade, rng.uniform(0.3, 1, count), root, 0.085)


def grow_lash_points(
    base: Array, lid_vertices: list[list[int]], rng: np.random.Generator, strength: float
) -> HairPoints:
    """Lashes on four lid edges (right upper, right lower, left upper, left lower), vertices from the inner corner."""
    parts = []
    for edge, outwards, upper in zip(lid_vertices, (-1.0, -1.0, 1.0, 1.0), (True, False, True, False), strict=True):
        line = base[edge]
        k = np.linspace(0, len(edge) - 1, 4)
        i = np.minimum(k.astype(int), len(edge) - 2)
        t = (k - i)[:, None]
        lid = (line[i] * (1 - t) + line[i + 1] * t).astype(np.float32)
        strands = grow_lashes(lid, int((70 if upper else 24) * strength), rng, outwards=outwards, upper=upper)
        root = cKDTree(line).query(strands.points[:, 0])[1]
        count = len(strands.points)
        parts.append(_dense(strands.points, np.full(count, 0.5), np.ones(count), np.asarray(edge)[root], 0.06))
    return join_hair(parts)


def join_hair(parts: list[HairPoints]) -> HairPoints:
    return HairPoints(*(torch.cat([getattr(p, name) for p in parts]) for name in HairPoints.__dataclass_fields__))


def _dense(points: Array, shade: Floats, layer: Floats, anchor: NDArray[np.int64], step_cm: float) -> HairPoints:
    """Strands [S, K, 3] resampled at about `step_cm`."""
    segment = np.linalg.norm(np.diff(points, axis=1), axis=2)
    length = segment.sum(1)
    number = np.maximum(np.ceil(length / step_cm).astype(int), 2)
    strand = np.repeat(np.arange(len(points)), number)
    first = np.repeat(np.cumsum(number) - number, number)
    along = (np.arange(len(strand)) - first) / (number[strand] - 1) * (points.shape[1] - 1)
    i = np.minimum(along.astype(int), points.shape[1] - 2)
    t = (along - i)[:, None].astype(np.float32)
    at = points[strand, i] * (1 - t) + points[strand, i + 1] * t
    tangent = points[strand, i + 1] - points[strand, i]
    tangent = tangent / (np.linalg.norm(tangent, axis=1, keepdims=True) + 1e-6)
    tip = 0.8 + 0.3 * along / (points.shape[1] - 1)

    def tensor(a: Floats) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(a, np.float32))

    ties = torch.from_numpy(np.ascontiguousarray(anchor[strand], np.int64))
    return HairPoints(tensor(at), tensor(tangent), tensor(shade[strand] * tip), tensor(layer[strand]), ties)
