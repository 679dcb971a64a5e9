"""Texture space of the head: where each texel lies on the neutral head, and the maps that make up a skin.

The atlas is `TILE_PX` high and twice as wide: left the face tile of the rig, right the back of the head.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from generator.studio.head_model import StudioRig
from generator.studio.procedural_skin import Noise3D
from generator.studio.rasteriser import rasterise
from generator.studio.rig_mesh import Material

TILE_PX = 512
Array = NDArray[np.float32]


class LatticeNoise(Noise3D):
    """As `Noise3D`, read linearly: fast enough for every texel of an atlas."""

    def __call__(self, at: Array, per_cm: float) -> Array:
        side = self.lattice.shape[0]
        where = np.mod(np.ascontiguousarray(at, np.float32) * per_cm, side - 1)
        grid = torch.from_numpy(where * (2 / (side - 1)) - 1).flip(-1).view(1, 1, 1, -1, 3)
        field = torch.from_numpy(self.lattice)[None, None]
        values = F.grid_sample(field, grid.float(), mode="bilinear", align_corners=True)
        return np.asarray(values.view(-1).numpy() / 0.56, np.float32)


@dataclass(frozen=True)
class Atlas:
    """rest: [TILE, 2 TILE, 3] cm on the neutral head, holes filled with the nearest texel; nearest: flat index of the
    drawn texel next to each; lip: [TILE, 2 TILE] 0..1; landmark_px: [68, 2] texels; openness: [TILE, 2 TILE] 0..1,
    share of the sky that a place of the neutral head sees."""

    rest: Array
    nearest: NDArray[np.int64]
    lip: Array
    landmark_px: Array
    openness: Array
    corner: NDArray[np.int64]  # [TILE * 2 TILE, 3] rig vertices around each texel
    weight: Array  # [TILE * 2 TILE, 3]

    def paint_vertices(self, values: Array) -> Array:
        """Values per rig vertex [V, C] spread over the texels, [TILE, 2 TILE, C]."""
        out = (values[self.corner] * self.weight[..., None]).sum(1)
        return np.asarray(out.reshape(*self.rest.shape[:2], -1), np.float32)


def build_atlas(rig: StudioRig) -> Atlas:
    mesh = rig.mesh
    shape = (TILE_PX, 2 * TILE_PX)
    drawn = np.zeros(shape, bool)
    corner, weight = np.zeros((*shape, 3), np.int64), np.zeros((*shape, 3), np.float32)
    for tile, material in enumerate((Material.SKIN, Material.BACK_HEAD)):
        faces = torch.from_numpy(mesh.render_faces[mesh.material == material].astype(np.int64))
        uv = mesh.uv[mesh.render_uv].astype(np.float32)
        points = np.stack([(uv[:, 0] - tile) * TILE_PX, (1 - uv[:, 1]) * TILE_PX, np.ones(len(uv))], 1)
        both = torch.zeros(len(faces), dtype=torch.bool)
        surface = rasterise(torch.from_numpy(points.astype(np.float32)), faces, TILE_PX, cull=both)
        part = slice(tile * TILE_PX, (tile + 1) * TILE_PX)
        corner[:, part] = surface.image(torch.from_numpy(mesh.render_vertex.astype(np.int64))[faces[surface.triangle]])
        weight[:, part] = surface.image(surface.weights)
        drawn[:, part] = np.isfinite(surface.z_buffer.numpy())
    rows, columns = distance_transform_edt(~drawn, return_distances=False, return_indices=True)
    nearest = (rows.astype(np.int64) * shape[1] + columns).ravel()
    corner, weight = corner.reshape(-1, 3)[nearest], weight.reshape(-1, 3)[nearest]
    rest = (mesh.neutral[corner] * weight[..., None]).sum(1).reshape(*shape, 3).astype(np.float32)
    landmark_px = _landmark_texels(rig)
    sky = (openness(rig)[corner] * weight).sum(1).reshape(shape).astype(np.float32)
    return Atlas(rest, nearest, _lips(landmark_px), landmark_px, sky, corner, weight)


def openness(rig: StudioRig, *, directions: int = 48, map_px: int = 256) -> Array:
    """[V] share of the sky that each vertex of the neutral head sees, cosine-weighted, from depth maps."""
    v = rig.neutral.cpu()
    normals = torch.from_numpy(rig.mesh.normals(rig.mesh.neutral))
    faces = rig.rig_faces.cpu()
    k = torch.arange(directions) + 0.5
    height, angle = 1 - 2 * k / directions, k * 2.399963
    ring = (1 - height**2).sqrt()
    total, seen = torch.zeros(len(v)), torch.full((len(v),), 1e-6)
    for towards in torch.stack([ring * angle.cos(), height, ring * angle.sin()], 1):
        side = F.normalize(torch.linalg.cross(torch.tensor([0.31, 0.9, 0.2]), towards), dim=0)
        axes = torch.stack([side, -torch.linalg.cross(towards, side), -towards], 1)
        at = v @ axes
        at = torch.cat([at[:, :2] * (map_px / 42) + map_px / 2, at[:, 2:] + 100], 1)
        depth = rasterise(at, faces, map_px).z_buffer.view(-1)
        cell = at[:, 1].long().clamp(0, map_px - 1) * map_px + at[:, 0].long().clamp(0, map_px - 1)
        cosine = (normals @ towards).clamp(min=0)
        total += cosine * (at[:, 2] < depth[cell] + 0.30)
        seen += cosine
    return np.asarray((total / seen).numpy(), np.float32)


def _landmark_texels(rig: StudioRig) -> Array:
    mesh = rig.mesh
    uv_of_vertex = np.zeros(len(mesh.neutral), np.int64)
    on_face = mesh.render_material == Material.SKIN
    uv_of_vertex[mesh.render_vertex[on_face]] = mesh.render_uv[on_face]
    uv = mesh.uv[uv_of_vertex[mesh.landmarks68]]
    return np.asarray(uv * [1, -1] * TILE_PX + [0, TILE_PX], np.float32)


def _lips(landmark_px: Array) -> Array:
    mask = np.zeros((TILE_PX, 2 * TILE_PX), np.float32)
    outline = closed_curve(landmark_px[48:60])
    cv2.fillPoly(mask, [np.round(outline * 16).astype(np.int32)], 1.0, cv2.LINE_AA, 4)
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), TILE_PX * 0.0028), np.float32)


def closed_curve(points: Array, per_side: int = 8) -> Array:
    """Catmull-Rom through closed `points` [N, 2]."""
    a, b, c, d = (np.roll(points, k, 0)[:, None] for k in (1, 0, -1, -2))
    t = (np.arange(per_side) / per_side)[None, :, None]
    curve = b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
    return np.asarray(curve.reshape(-1, 2), np.float32)


def wrinkle_heights(rest: Array, noise: Noise3D) -> Array:
    """Heights in cm [N, 5] at neutral-head positions [N, 3]: brows raised, brows drawn together, smile folds,
    crow's feet, chin: each at full weight of its expression."""
    x, y, z = rest.T
    wobble = 0.16 * noise(rest + 51, 0.8)
    front = np.clip((z - 7.5) / 2, 0, 1)
    brow = np.exp(-(((y - 8.0) / 1.5) ** 2) - (x / 4.2) ** 4) * front
    lines = sum(_ridge((y - level - 0.06 * x * x * 0.25 - wobble) / 0.20) for level in (6.9, 7.8, 8.7, 9.5))
    glabella = _ridge((np.abs(x) - 0.62 - wobble) / 0.2) * np.exp(-(((y - 5.4) / 0.9) ** 2)) * front
    bridge = _ridge((y - 4.3) / 0.25) * np.exp(-((x / 0.9) ** 2)) * front * 0.6
    fold_x = 1.95 + (0.2 - y) * 0.40 - 0.05 * np.clip(-2.5 - y, 0, 9) ** 2
    fold = _ridge((np.abs(x) - fold_x - 0.5 * wobble) / 0.34) * np.exp(-(((y + 1.9) / 1.9) ** 4)) * front
    dx, dy = np.abs(x) - 4.75, y - 3.45
    angle, r = np.arctan2(dy, dx), np.hypot(dx, dy)
    feet = np.cos(angle * 9.0 + 2 * wobble) * np.exp(-(((r - 0.95) / 0.6) ** 2)) * (np.abs(angle) < 0.9) * (z > 3)
    chin = noise(rest + 61, 1.6) * np.exp(-((x / 1.8) ** 2) - ((y + 7.2) / 1.1) ** 2) * front
    parts = [
        -0.075 * lines * brow,
        -0.07 * (glabella + bridge),
        -0.12 * fold,
        -0.045 * np.clip(feet, 0, 1),
        0.05 * chin,
    ]
    return np.stack(parts, 1).astype(np.float32)


def _ridge(t: Array) -> Array:
    return np.asarray(np.exp(-(t**2)), np.float32)


def paint_brows(atlas: Atlas, rng: np.random.Generator, *, strokes: int, thickness: float, lift: float) -> Array:
    """Cover of brow hairs [TILE, 2 TILE] 0..1. `thickness` 0..1, `lift` shifts them up, in texels."""
    scale = 2
    cover = np.zeros((TILE_PX * scale, TILE_PX * scale), np.float32)
    n = TILE_PX * scale
    spread = (0.006 + 0.010 * thickness) * n
    for line, left in ((atlas.landmark_px[17:22] * scale, True), (atlas.landmark_px[22:27] * scale, False)):
        for _ in range(strokes):
            t = rng.uniform(0, 4)
            i = min(int(t), 3)
            along = t / 4 if left else 1 - t / 4  # 0 = temple, 1 = nose
            wide = spread * (0.30 + 0.70 * along)
            start = line[i] + (line[i + 1] - line[i]) * (t - i) + [rng.normal(0, 2), rng.normal(-lift, wide * 0.55)]
            outer = rng.normal(12, 14) if along < 0.72 else rng.normal(62, 18)
            angle = np.radians(-outer if not left else 180 + outer)
            end = start + np.array([np.cos(angle), np.sin(angle)]) * rng.uniform(9, 19) * n / 1024
            a, b = (tuple(np.round(q * 16).astype(int).tolist()) for q in (start, end))
            cv2.line(cover, a, b, 1.0, 1, cv2.LINE_AA, 4)
    small = cv2.resize(cover, (TILE_PX, TILE_PX), interpolation=cv2.INTER_AREA)
    out = np.zeros((TILE_PX, 2 * TILE_PX), np.float32)
    out[:, :TILE_PX] = np.clip(small * 1.9, 0, 1)
    return out


def sample_atlas(maps: Tensor, uv: Tensor) -> Tensor:
    """maps [C, TILE, 2 TILE] at texture coordinates uv [P, 2] (u over both tiles 0..1, v up): [P, C]."""
    grid = torch.stack([uv[:, 0] * 2 - 1, 1 - uv[:, 1] * 2], 1).view(1, 1, -1, 2)
    out = F.grid_sample(maps[None], grid, mode="bilinear", padding_mode="border", align_corners=False)
    return out.view(maps.shape[0], -1).T
