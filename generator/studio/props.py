"""What a person wears: shoulders in a garment, and glasses. Meshes in cm, relative to HEAD_CENTRE."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from generator.rig_fit import HEAD_CENTRE

Array = NDArray[np.float32]
Faces = NDArray[np.int64]

# Rings of the bust from the neck down, rig cm: half width, half depth, centre z, height, lower in front by.
_RINGS = (
    (6.4, 4.6, -2.4, -11.2, 1.6),
    (9.6, 6.6, -2.4, -12.5, 1.8),
    (13.5, 7.8, -2.6, -14.2, 1.9),
    (17.5, 8.8, -2.6, -16.2, 1.4),
    (20.0, 9.6, -2.4, -18.6, 0.8),
    (21.3, 10.2, -2.0, -22.0, 0.2),
    (21.8, 10.8, -1.8, -28.0, 0.0),
    (21.5, 11.0, -1.8, -44.0, 0.0),
)


@dataclass(frozen=True)
class Mesh:
    v: Array  # [V, 3]
    faces: Faces  # [F, 3] counter-clockwise from outside

    def normals(self) -> Array:
        p = self.v[self.faces]
        n = np.cross(p[:, 1] - p[:, 0], p[:, 2] - p[:, 0])
        total = np.zeros_like(self.v)
        np.add.at(total, self.faces, n[:, None])
        return np.asarray(total / (np.linalg.norm(total, axis=1, keepdims=True) + 1e-9), np.float32)


@dataclass(frozen=True)
class Neckline:
    """Where a garment begins, rig cm: y = height - rise * z, lower in front by a V `deep` and `half_width` wide."""

    height: float
    rise: float
    deep: float
    half_width: float

    @property
    def hem(self) -> Neckline:
        """Where the loose garment begins: a high collar lies on the neck's own surface."""
        return Neckline(min(self.height, -12.4), 0.36, self.deep, self.half_width)

    def at(self, x: Array, z: Array) -> Array:
        v = self.deep * np.clip(1 - np.abs(x) / self.half_width, 0, 1) * (z > -1)
        return np.asarray(self.height - self.rise * z - v, np.float32)


def build_bust(rng: np.random.Generator, neckline: Neckline, *, around: int = 72, per_ring: int = 4) -> Mesh:
    """Shoulders and chest with broad folds. The upper edge lies under the skin at the neckline; `dive` takes the rig's
    own chest under the garment, so that both meet in a smooth line."""
    rings = np.array(_RINGS)
    rings[2:, 0] *= rng.uniform(0.86, 1.12)
    rings[1:, 3] -= np.linspace(0, 1, len(rings) - 1).clip(0, 0.6) * rng.uniform(-1.0, 2.5)
    at = np.linspace(0, len(rings) - 1, (len(rings) - 1) * per_ring + 1)
    smooth = np.stack([np.interp(at, np.arange(len(rings)), rings[:, c]) for c in range(5)], 1)
    angle = np.linspace(0, 2 * np.pi, around, endpoint=False)
    a, b, zc, y0, drop = (smooth[:, c : c + 1] for c in range(5))
    s, c = np.sin(angle), np.cos(angle)
    x = a * np.sign(s) * np.abs(s) ** 0.85 + 0 * c
    z = zc + b * np.sign(c) * np.abs(c) ** 0.85
    edge = neckline.at(x[0], z[0]) + 0.25
    y = np.minimum(y0 - drop * c, edge - 0.35 * at[:, None])
    y[0] = edge
    fold = np.clip((at[:, None] - 2) / 6, 0, 1)
    wave = sum(
        rng.normal(0, 0.22) * np.sin(rng.integers(2, 7) * angle + rng.uniform(0, 6) + at[:, None] * rng.normal(0, 0.8))
        for _ in range(7)
    )
    v = np.stack([x * (1 + 0.02 * wave * fold), y, z + wave * fold], 2).reshape(-1, 3) - HEAD_CENTRE
    return Mesh(v.astype(np.float32), _grid_faces(len(at), around, closed=True))


def dive(rest: Array, hem: Neckline) -> Array:
    """How deep vertices [V, 3] of the neutral head (rig cm) sink into the body below the hem, [V] cm."""
    t = np.clip((hem.at(rest[:, 0], rest[:, 2]) - rest[:, 1] - 0.6) / 3.2, 0, 1)
    return np.asarray(2.6 * t * t * (3 - 2 * t), np.float32)


def _grid_faces(rows: int, columns: int, *, closed: bool) -> Faces:
    r, c = np.mgrid[0 : rows - 1, 0 : columns if closed else columns - 1]
    right = (c + 1) % columns
    i, j = r * columns + c, r * columns + right
    below, below_right = i + columns, j + columns
    first = np.stack([i, below, j], -1).reshape(-1, 3)
    second = np.stack([j, below, below_right], -1).reshape(-1, 3)
    return np.concatenate([first, second]).astype(np.int64)


@dataclass(frozen=True)
class Glasses:
    frame: Mesh
    lens: Mesh
    colour: tuple[float, float, float]  # linear, of the frame
    tint: tuple[float, float, float]  # what the lens lets through
    gloss: float


def build_glasses(base: Array, eye_centre: tuple[Array, Array], rng: np.random.Generator) -> Glasses:
    """Glasses that sit on the nose of head `base` [V, 3] (relative to HEAD_CENTRE; skin vertices)."""
    rim = rng.uniform(0.055, 0.19)
    round_lens = rng.random() < 0.35
    half_w, half_h = rng.uniform(2.25, 2.75), rng.uniform(1.55, 2.15)
    power = 2.0 if round_lens else rng.uniform(2.6, 4.0)
    if round_lens:
        half_w = half_h = rng.uniform(1.95, 2.3)
    y0 = float((eye_centre[0][1] + eye_centre[1][1]) / 2) - rng.uniform(0.15, 0.5)
    apart = max(float(eye_centre[0][0] - eye_centre[1][0]) / 2 + rng.uniform(-0.1, 0.3), half_w + 0.55)
    near = (np.abs(base[:, 1] - y0) < half_h) & (np.abs(base[:, 0]) < apart + half_w)
    near &= np.abs(base[:, 0]) > 1.1
    z_front = float(np.quantile(base[near & (base[:, 2] > 5), 2], 0.985)) + 0.45
    temple = (np.abs(base[:, 1] - y0) < 1.5) & (base[:, 2] > 0.5) & (base[:, 2] < 4.0)  # before the ears
    width = float(np.quantile(np.abs(base[temple, 0]), 0.95)) + 0.12
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    c, s = np.cos(angle), np.sin(angle)
    tubes: list[Mesh] = []
    lens_v: list[NDArray[np.float64]] = []
    lens_f: list[Faces] = []
    for side in (-1.0, 1.0):
        x = side * apart + half_w * np.sign(c) * np.abs(c) ** (2 / power)
        y = y0 + half_h * np.sign(s) * np.abs(s) ** (2 / power) * np.where(s < 0, 1.0, 0.92)
        curve = np.stack([x, y, z_front - 0.018 * x * x], 1)
        tubes.append(_tube(curve, rim, closed=True))
        hinge = np.array([side * (apart + half_w), y0 + 0.45 * half_h, z_front - 0.018 * (apart + half_w) ** 2])
        out = max(width, apart + half_w + 0.15)
        corner = np.array([side * out, y0 + 0.45 * half_h, hinge[2] - 0.6])
        middle = np.array([side * (out + width) / 2, y0 + 0.4 * half_h, 4.0])
        ear = np.array([side * width, y0 + 0.3 * half_h, -1.5])
        tubes.append(_tube(np.stack([hinge, corner, middle, ear]), rim * 0.8, closed=False))
        centre = curve.mean(0) + np.array([0, 0, 0.35])
        start = sum(map(len, lens_v))
        lens_v.append(np.concatenate([centre[None], curve]))
        k = np.arange(40)
        lens_f.append(np.stack([np.full(40, start), start + 1 + k, start + 1 + (k + 1) % 40], 1))
    inner = apart - half_w
    t = np.linspace(-1, 1, 7)
    bridge = np.stack([t * (inner + 0.05), y0 + 0.35 + 0.25 * (1 - t**2), z_front + 0.25 * (1 - t**2)], 1)
    tubes.append(_tube(bridge, rim * 0.9, closed=False))
    dark = rng.random() < 0.65
    colour = rng.uniform(0.004, 0.04, 3) if dark else np.array([0.45, 0.38, 0.28]) * rng.uniform(0.3, 1.2)
    tint = 1 - rng.uniform(0, 0.10, 3) * (rng.random() < 0.5)
    lens = Mesh(np.concatenate(lens_v).astype(np.float32), np.concatenate(lens_f).astype(np.int64))
    return Glasses(
        _join(tubes),
        lens,
        tuple(colour.tolist()),
        tuple(np.broadcast_to(tint, 3).tolist()),
        float(rng.uniform(0.05, 0.5)),
    )


def _tube(curve: Array, radius: float, *, closed: bool, around: int = 6) -> Mesh:
    ahead = np.roll(curve, -1, 0) - np.roll(curve, 1, 0) if closed else np.gradient(curve, axis=0)
    ahead = ahead / np.linalg.norm(ahead, axis=1, keepdims=True)
    up = np.array([0.0, 0.31, 0.95])
    right = np.cross(ahead, up)
    right /= np.linalg.norm(right, axis=1, keepdims=True) + 1e-9
    over = np.cross(right, ahead)
    angle = np.linspace(0, 2 * np.pi, around, endpoint=False)
    ring = np.cos(angle)[None, :, None] * right[:, None] + np.sin(angle)[None, :, None] * over[:, None]
    v = (curve[:, None] + radius * ring).reshape(-1, 3)
    rows = len(curve)
    faces = _grid_faces(rows + int(closed), around, closed=True) % (rows * around)
    mesh = Mesh(v.astype(np.float32), faces)
    outside = (mesh.normals() * ring.reshape(-1, 3)).sum() > 0
    return mesh if outside else Mesh(mesh.v, np.ascontiguousarray(faces[:, ::-1]))


def _join(meshes: list[Mesh]) -> Mesh:
    start = np.cumsum([0, *(len(m.v) for m in meshes[:-1])])
    faces = np.concatenate([m.faces + s for m, s in zip(meshes, start, strict=True)])
    return Mesh(np.concatenate([m.v for m in meshes]), faces)
