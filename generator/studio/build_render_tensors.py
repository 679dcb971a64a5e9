"""Cut the face rig down to what the renderer needs and paint the mouth interior.

    python -m generator.studio.build_render_tensors --rig FOLDER --out FOLDER [--spacing-cm 0.45]

FOLDER of the rig holds `ict_face.npz` and `mp2ict.npz`. Writes `render.safetensors` and `render.json`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from generator.face_landmarks import LIPS_INNER_LOWER, LIPS_INNER_UPPER
from generator.rig import EXPRESSION_NAMES
from generator.rig_fit import HEAD_CENTRE
from generator.studio.rig_mesh import EYEBALL_FIRST_VERTEX, SCLERA_VERTICES, Region, RigMesh, rotation

IDENTITIES = 60
SPRITE_CM_PER_PX = 0.025
SPRITE_SIZE = (160, 288)  # rows, columns
CONFIG: dict[str, object] = {"kind": "rig_warp", "version": 1, "sprite_cm_per_px": SPRITE_CM_PER_PX}
Array = NDArray[np.float32]


def corrected_landmark_vertices(rig: RigMesh, folder: Path) -> tuple[NDArray[np.int64], Array]:
    """Rig vertex of each of 468 landmarks and its trust; the lower lip's inner row is put on the lower lip.

    The measured map puts landmarks of the lower inner lip on vertices that stay with the upper lip.
    """
    match = np.load(folder / "mp2ict.npz")
    vertex, spread = match["vid"][:468].copy(), match["spread"][:468]
    jaw = rig.expression_basis.reshape(57, -1, 3)[rig.index["jawOpen"], :, 1]
    lower = np.where((rig.region == Region.FACE) & (jaw < -1.9) & (rig.neutral[:, 1] > -4.2))[0]
    for below, above in zip(LIPS_INNER_LOWER[1:-1], LIPS_INNER_UPPER[1:-1], strict=True):
        target = rig.neutral[vertex[above]] + np.array([0, -0.10, -0.08], np.float32)
        vertex[below] = lower[np.argmin(np.linalg.norm(rig.neutral[lower] - target, axis=1))]
    return vertex, np.clip(0.35 / np.maximum(spread, 0.12), 0.15, 1.5).astype(np.float32)


def front_vertices(rig: RigMesh, keep: NDArray[np.int64], spacing_cm: float) -> NDArray[np.int64]:
    """Skin seen from the front or within 30 degrees of it, thinned to a spacing; `keep` always stays."""
    skin = np.where(rig.region <= Region.HEAD_NECK)[0]
    seen = np.zeros(len(rig.neutral), bool)
    for yaw_deg in (-30, 0, 30):
        seen |= _visible(rig, rotation(yaw_deg, 0, 0))
    skin = skin[seen[skin]]
    x, y, z = rig.neutral[skin].T
    near_eye = np.hypot(np.abs(x) - 3.1, (y - 3.6) * 1.2) < 2.6
    near_mouth = (np.abs(x) < 3.2) & (np.abs(y + 3.4) < 1.8) & (z > 8)
    spacing = np.where(near_eye | near_mouth, spacing_cm * 0.4, spacing_cm)
    cell = np.floor(rig.neutral[skin] / spacing[:, None]).astype(np.int64)
    key = np.c_[cell, (spacing < spacing_cm).astype(np.int64)]
    _, first = np.unique(key, axis=0, return_index=True)
    kept: NDArray[np.int64] = np.unique(np.concatenate([keep, skin[first]]))
    return kept


def _visible(rig: RigMesh, head: Array, px_per_cm: float = 20.0) -> NDArray[np.bool_]:
    """Per vertex, by an orthographic depth picture."""
    v = (rig.neutral - HEAD_CENTRE) @ head.T
    px = np.round((v[:, :2] + 20) * px_per_cm).astype(np.int32)
    size = int(40 * px_per_cm)
    depth = np.full((size, size), -99, np.float32)
    faces = rig.faces[(rig.region[rig.faces] <= Region.HEAD_NECK).all(1)]
    order = np.argsort(v[faces, 2].mean(1))
    for triangle in faces[order]:
        cv2.fillConvexPoly(depth, px[triangle], float(v[triangle, 2].mean()))
    inside = np.clip(px, 0, size - 1)
    facing = (rig.normals(rig.neutral) @ head.T)[:, 2] > 0.05
    seen: NDArray[np.bool_] = facing & (v[:, 2] > depth[inside[:, 1], inside[:, 0]] - 0.25)
    return seen


def mouth_sprite(rig: RigMesh, *, upper: bool) -> tuple[NDArray[np.uint8], Array]:
    """RGBA uint8 [4, h, w] of teeth and gums seen from the front, and its centre [3] in rig cm.

    Enamel is shaded by its normals and by depth; triangles are drawn back to front at four times the size.
    """
    n, jaw = rig.neutral, rig.expression_basis.reshape(57, -1, 3)[rig.index["jawOpen"], :, 1]
    side = (jaw > -0.3) if upper else (jaw < -0.6)
    part = np.isin(rig.region, (Region.GUMS, Region.TEETH)) & side & (n[:, 2] > 4.0)
    faces = rig.faces[part[rig.faces].all(1)]
    normals = rig.normals(n)
    teeth = part & (rig.region == Region.TEETH)
    centre = np.array([0, (n[teeth, 1].min() + n[teeth, 1].max()) / 2, n[teeth, 2].max() - 0.6], np.float32)
    scale, (rows, columns) = 4 / SPRITE_CM_PER_PX, SPRITE_SIZE
    px = np.stack([columns * 2 + n[:, 0] * scale, rows * 2 - (n[:, 1] - centre[1]) * scale], 1)
    rgba = np.zeros((rows * 4, columns * 4, 4), np.float32)
    if not upper:
        _paint_tongue(rgba, scale)
    for triangle in faces[np.argsort(n[faces, 2].mean(1))]:
        normal = normals[triangle].mean(0)
        if normal[2] < -0.1:
            continue
        depth = float(np.clip((n[triangle, 2].mean() - 6.3) / 4.2, 0, 1))
        if rig.region[triangle[0]] == Region.TEETH:
            light = 0.45 + 0.45 * max(float(normal[2]), 0.0) + 0.10 * float(normal[1])
            colour = np.array([0.93, 0.89, 0.82]) * light * (0.30 + 0.70 * depth)
        else:
            light = 0.55 + 0.35 * max(float(normal[2]), 0.0) + 0.15 * float(normal[1])
            colour = np.array([0.66, 0.33, 0.32]) * light * (0.22 + 0.68 * depth)
        cv2.fillConvexPoly(rgba, np.round(px[triangle] * 16).astype(np.int32), (*colour.tolist(), 1.0), cv2.LINE_8, 4)
    backed = cv2.morphologyEx(rgba, cv2.MORPH_CLOSE, np.ones((15, 15)))  # no black slits between the teeth
    backed[..., :3] *= 0.62
    rgba = np.where(rgba[..., 3:] > 0, rgba, backed)
    rgba = cv2.resize(cv2.GaussianBlur(rgba, (0, 0), 1.6), (columns, rows), interpolation=cv2.INTER_AREA)
    rgba[..., :3] /= np.maximum(rgba[..., 3:], 1e-3)
    return (rgba.clip(0, 1) * 255).round().astype(np.uint8).transpose(2, 0, 1).copy(), centre


def _paint_tongue(rgba: Array, scale: float) -> None:
    """A resting tongue behind the lower teeth: the rig's own is hidden by them from the front."""
    rows, columns = rgba.shape[:2]
    y, x = np.mgrid[0:rows, 0:columns].astype(np.float32)
    x_cm, y_cm = (x - columns / 2) / scale, (rows / 2 - y) / scale  # y_cm up, from the sprite's centre
    reach = np.hypot(x_cm / 2.0, (y_cm - 0.95) / 1.0)
    alpha = np.clip((1 - reach) / 0.08, 0, 1)
    light = 0.52 + 0.30 * np.clip(1 - reach, 0, 1) - 0.10 * np.exp(-((x_cm / 0.12) ** 2)) * np.clip(1 - reach, 0, 1)
    colour = np.array([0.70, 0.36, 0.35], np.float32) * light[..., None]
    rgba[...] = np.dstack([colour * alpha[..., None], alpha])


def build(folder: Path, *, spacing_cm: float = 0.45, identities: int = IDENTITIES) -> dict[str, torch.Tensor]:
    """All tensors of the renderer, prefix `render.`."""
    rig = RigMesh(folder)
    landmark_vertex, trust = corrected_landmark_vertices(rig, folder)
    used = front_vertices(rig, np.unique(landmark_vertex), spacing_cm)
    axes = [rig.index[name] for name in EXPRESSION_NAMES]
    identity = rig.identity_basis[:identities].reshape(identities, -1, 3)
    expression = rig.expression_basis.reshape(57, -1, 3)[axes]
    sclera = [slice(first, first + SCLERA_VERTICES) for first in EYEBALL_FIRST_VERTEX]
    sprites = {side: mouth_sprite(rig, upper=side == "upper") for side in ("upper", "lower")}
    teeth = np.where((rig.region == Region.TEETH) & (rig.neutral[:, 2] > 8.5))[0]
    is_upper = rig.expression_basis.reshape(57, -1, 3)[rig.index["jawOpen"], teeth, 1] > -0.3
    rows = {"upper": teeth[is_upper], "lower": teeth[~is_upper]}
    arrays = {
        "neutral": rig.neutral[used],
        "normal": rig.normals(rig.neutral)[used],
        "identity": identity[:, used],
        "expression": expression[:, used],
        "landmark_vertex": np.searchsorted(used, landmark_vertex).astype(np.int32),
        "landmark_trust": trust,
        "eye_centre": np.stack([rig.eye_centre(rig.neutral, side) for side in (0, 1)]),
        "eye_identity": np.stack([identity[:, part].mean(1) for part in sclera], 1),
    }
    for side, (sprite, centre) in sprites.items():
        arrays[f"{side}_teeth"] = sprite
        arrays[f"{side}_teeth_centre"] = centre
        arrays[f"{side}_teeth_identity"] = identity[:, rows[side]].mean(1)
        arrays[f"{side}_teeth_expression"] = expression[:, rows[side]].mean(1)
    tensors = {}
    for name, array in arrays.items():
        tensor = torch.from_numpy(np.ascontiguousarray(array))
        tensors[f"render.{name}"] = tensor.half() if tensor.is_floating_point() else tensor
    return tensors


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rig", type=Path, required=True, help="folder with ict_face.npz and mp2ict.npz")
    parser.add_argument("--out", type=Path, required=True, help="folder of render.safetensors and render.json")
    parser.add_argument("--spacing-cm", type=float, default=0.45, help="distance between kept vertices")
    parser.add_argument("--identities", type=int, default=IDENTITIES, help="identity shapes that are kept")
    args = parser.parse_args()
    tensors = build(args.rig, spacing_cm=args.spacing_cm, identities=args.identities)
    args.out.mkdir(parents=True, exist_ok=True)
    save_file(tensors, args.out / "render.safetensors")
    (args.out / "render.json").write_text(json.dumps(CONFIG, indent=1) + "\n", encoding="utf-8")
    size = sum(t.numel() * t.element_size() for t in tensors.values())
    print(f"{args.out}: {len(tensors['render.neutral'])} vertices, {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
