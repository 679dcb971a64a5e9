"""Hair, brows and lashes as strands: roots on the mesh, combed over it, lit along their direction."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from generator.studio.still_renderer import Camera

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Strands:
    """Polylines [S, K, 3] in cm, a shade per strand [S] around 1 and how deep it lies in the hair [S], 0 = outside."""

    points: Array
    shade: Array
    inside: Array


def scalp_weight(neutral: Array, skin: NDArray[np.bool_]) -> Array:
    """Where hair grows, 0..1 per vertex of the neutral head."""
    x, y, z = neutral.T
    top = np.clip((y - 9.6 + 0.55 * np.clip(6.5 - z, 0, 99)) / 0.8, 0, 1)
    side = np.clip((4.6 - z) / 1.2, 0, 1) * np.clip((y + 1.5 - 0.45 * (z + 6)) / 1.2, 0, 1)
    weight = np.maximum(top, side) * skin
    around_ear = (np.abs(x) > 6.9) & (z > -2.4) & (z < 5.2) & (y < 6.4)
    weight[around_ear] = 0
    return np.asarray(weight, np.float32)


def comb(at: Array, part_x: float) -> Array:
    """Direction of growth [N, 3] at positions [N, 3]: away from the parting, down at the sides, back overall."""
    x, z = at[:, 0], at[:, 2]
    away = np.tanh((x - part_x) / 0.8)
    at_side = np.clip((np.abs(x) - 4.6) / 2.6, 0, 1)
    front = np.clip((z - 2.0) / 5.0, 0, 1)
    return np.stack(
        [
            away * (1 - 0.75 * at_side),
            -1.1 * at_side + 0.15 * front * (1 - at_side),
            -0.55 - 0.45 * front + 0.1 * at_side,
        ],
        1,
    ).astype(np.float32)


def grow_hair(
    v: Array, normals: Array, weight: Array, count: int, rng: np.random.Generator, *, part_x: float
) -> Strands:
    """Short combed hair on vertices with `weight`: each strand slides over the scalp at its own height."""
    grow = np.flatnonzero(weight > 0.02)
    scalp, outward = v[grow], normals[grow]
    tree = cKDTree(scalp)
    root = rng.choice(len(grow), count, p=weight[grow] / weight[grow].sum())
    at = scalp[root] + rng.normal(0, 0.22, (count, 3)).astype(np.float32)
    clump = np.sin(scalp[root] @ rng.normal(0, 1.3, (3, 6))).mean(1)
    layer = rng.uniform(0, 1, count) ** 0.7
    top = np.clip((scalp[root, 1] - 5) / 5, 0, 1)
    height = (0.25 + 1.25 * top) * (0.25 + 0.75 * layer) * (1 + 0.3 * clump)
    length = (1.6 + 3.2 * top) * rng.uniform(0.7, 1.15, count)
    steps = 12
    jitter = rng.normal(0, 0.16, (count, 3)) + 0.22 * np.stack([clump, -clump, clump * 0.5], 1)
    points = []
    for k in range(steps):
        _, nearest = tree.query(at)
        n = outward[nearest]
        rise = np.sqrt(np.clip(k / (steps - 1) * 1.6, 0, 1)) * height
        over = at - ((at - scalp[nearest]) * n).sum(1, keepdims=True) * n
        points.append(over + n * rise[:, None])
        d = comb(at, part_x) + jitter
        d -= (d * n).sum(1, keepdims=True) * n
        d /= np.linalg.norm(d, axis=1, keepdims=True) + 1e-6
        at = over + d * (length / steps)[:, None]
    shade = (1 + 0.22 * rng.standard_normal(count) + 0.18 * clump).clip(0.45, 1.8)
    return Strands(np.stack(points, 1).astype(np.float32), shade.astype(np.float32), (1 - layer).astype(np.float32))


def grow_brow(line: Array, normal: Array, count: int, rng: np.random.Generator, *, outwards: float) -> Strands:
    """A brow along `line` [5, 3] from the nose to the temple; `outwards` is the sign of x at the temple."""
    along = rng.beta(1.15, 1.25, count) * 0.999
    at = along * 4
    i = at.astype(int)
    t = (at - i)[:, None]
    base = line[i] * (1 - t) + line[i + 1] * t
    n = normal[i] * (1 - t) + normal[i + 1] * t
    width = 0.30 * (1 - 0.65 * along)
    across = rng.uniform(-1, 1, count) * width
    base = base + np.stack([0 * across, across - 0.12, 0 * across], 1) + n * 0.03
    angle = np.radians(78 - 92 * np.clip(along * 1.5, 0, 1) + 12 * rng.standard_normal(count) - 24 * across / 0.3)
    length = rng.uniform(0.45, 0.85, count) * (1 - 0.35 * along)
    direction = np.stack([outwards * np.cos(angle), np.sin(angle), 0 * angle], 1)
    k = np.linspace(0, 1, 6)[None, :, None]
    bend = np.array([outwards * 0.25, -0.18, 0])[None, None] * k**2
    points = base[:, None] + (direction[:, None] * k + bend) * length[:, None, None] + n[:, None] * (0.06 * k)
    shade = (1 + 0.2 * rng.standard_normal(count)).clip(0.5, 1.6)
    return Strands(points.astype(np.float32), shade.astype(np.float32), rng.uniform(0, 0.6, count).astype(np.float32))


def grow_lashes(lid: Array, count: int, rng: np.random.Generator, *, outwards: float, upper: bool) -> Strands:
    """Lashes along a lid edge `lid` [4, 3] from the inner to the outer corner."""
    at = rng.uniform(0.25 if upper else 0.8, 3, count)
    i = np.minimum(at.astype(int), 2)
    t = (at - i)[:, None]
    base = lid[i] * (1 - t) + lid[i + 1] * t
    fan = (at / 3 - 0.45) * 1.1
    length = (rng.uniform(0.22, 0.46, count) if upper else rng.uniform(0.1, 0.2, count)) * (0.6 + 0.4 * at / 3)
    sign = 1.0 if upper else -1.0
    k = np.linspace(0, 1, 6)[None, :, None]
    forward = np.stack([outwards * fan * 0.9, sign * 0.15 + 0 * fan, 0.9 + 0 * fan], 1)
    lift = np.stack([outwards * fan * 0.3, sign * 0.75 + 0 * fan, 0 * fan], 1)
    points = base[:, None] + length[:, None, None] * (forward[:, None] * k * 0.6 + lift[:, None] * k**1.6)
    return Strands(points.astype(np.float32), np.full(count, 0.5, np.float32), np.zeros(count, np.float32))


def draw(
    picture: NDArray[np.uint8],
    cover: NDArray[np.uint8],
    strands: Strands,
    camera: Camera,
    depth: Array,
    *,
    colour: Array,
    light: Array,
    hide_cm: float = 0.5,
) -> None:
    """Paint strands on `picture` [H, W, 3] and `cover` [H, W], far ones first; what the head hides is left out."""
    count, steps, _ = strands.points.shape
    px = camera.project(strands.points.reshape(-1, 3)).reshape(count, steps, 3)
    tangent = np.gradient(strands.points, axis=1)
    tangent /= np.linalg.norm(tangent, axis=2, keepdims=True) + 1e-6
    view = np.array([0, 0, 1], np.float32)
    half = (light / np.linalg.norm(light) + view) / np.linalg.norm(light / np.linalg.norm(light) + view)
    diffuse = np.sqrt(1 - np.clip(tangent @ (light / np.linalg.norm(light)), -1, 1) ** 2)
    shine = np.sqrt(1 - np.clip(tangent @ half, -1, 1) ** 2) ** 60
    depth_in_hair = 1 - 0.72 * strands.inside[:, None] ** 1.3
    tip = np.linspace(0.75, 1.1, steps)[None]
    level = strands.shade[:, None] * depth_in_hair * tip * (0.35 + 0.75 * diffuse)
    size = camera.size_px
    for s in np.argsort(-px[..., 2].mean(1) + 1.5 * strands.inside):
        column, row = px[s, :, 0], px[s, :, 1]
        c, r = column.astype(int).clip(0, size - 1), row.astype(int).clip(0, size - 1)
        shown = px[s, :, 2] < depth[r, c] + hide_cm
        for k in range(steps - 1):
            if shown[k] and shown[k + 1]:
                linear = colour * level[s, k] + 0.05 * shine[s, k] * depth_in_hair[s]
                value = 255 * np.sqrt(linear.clip(0, 1))
                a = (round(column[k] * 16), round(row[k] * 16))
                b = (round(column[k + 1] * 16), round(row[k + 1] * 16))
                cv2.line(picture, a, b, tuple(map(float, value)), 1, cv2.LINE_AA, 4)
                cv2.line(cover, a, b, 255, 1, cv2.LINE_AA, 4)
