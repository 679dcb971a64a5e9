"""A portrait lifted on the rig: its photo on the fitted head, re-posed and re-expressed, with its own hair, shoulders
and background.

Three layers are cut from the photo: what lies behind the person; the person's outline (hair, ears, shoulders); the
face on the fitted mesh. `lifted_stage` draws them.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from generator.face_landmarks import CHIN, FOREHEAD_TOP, IRIS_CENTRE, IRIS_RIM, LID_LOWER, LID_UPPER
from generator.rig import EXPRESSION_INDEX, EXPRESSION_NAMES
from generator.rig_fit import FOCAL
from generator.studio import lighting
from generator.studio.head_model import StudioHead, StudioRig, to_pixels
from generator.studio.portrait_source import CROP_PX, FittedPortrait
from generator.studio.procedural_person import eye_map
from generator.studio.procedural_skin import Complexion
from generator.studio.rasteriser import rasterise
from generator.studio.rig_mesh import EYEBALL_FIRST_VERTEX, SCLERA_VERTICES, Region
from generator.studio.scene import Label
from generator.studio.skin_atlas import LatticeNoise
from generator.studio.strand_hair import scalp_weight

Array = NDArray[np.float32]
_ABSORBED = ("eyeBlink", "eyeWide", "eyeSquint", "eyeLook")


@dataclass(frozen=True)
class LiftedPerson:
    """What the frames of a portrait share. Textures are linear, [3, CROP, CROP]."""

    head: StudioHead
    rest_expression: Array  # [53] of the photo
    rest_gaze: Array  # [2] degrees
    rotation: Array
    translation: Array
    photo: Tensor
    behind: Tensor  # [3, CROP, CROP] background, made up where the person stands
    outline: Tensor  # [1, CROP, CROP] 0..1 person
    labels: Tensor  # [CROP, CROP] of the photo
    face: Tensor  # [CROP, CROP] bool, photo pixels that the mesh shows
    texture: Tensor  # [V, 7]: source x, y, mirrored x, y in -1..1, seen, mirrored seen, opacity of the mesh
    normals: Tensor  # [V, 3] in the photo, camera space
    light: Tensor  # [3, 9] log light over the harmonics of the normal
    eye: Tensor
    eye_light: Tensor  # [3]
    tone: Tensor  # [3] linear skin colour


def lift(rig: StudioRig, portrait: FittedPortrait, rng: np.random.Generator) -> LiftedPerson:
    fit = portrait.fit
    expression = fit.expression.copy()
    for name in EXPRESSION_NAMES:
        if name.startswith(_ABSORBED):
            expression[EXPRESSION_INDEX[name]] = 0
    head = _exact_head(rig, portrait, expression)
    photo = torch.from_numpy(lighting.linear_of(portrait.photo / 255.0)).permute(2, 0, 1).contiguous()
    opacity = _opacity(rig)
    texture = _texture(rig, portrait, opacity)
    tone = _tone(rig, portrait, photo)
    light = _fit_light(rig, portrait, photo, tone)
    labels, face = _photo_labels(rig, portrait, opacity)
    iris, eye_light = _eye_colours(portrait, photo)
    complexion = Complexion((0.5, 0.3, 0.2), (0.4, 0.15, 0.12), (0.05, 0.03, 0.02), iris)
    outline, behind = _layers(portrait, labels)
    return LiftedPerson(
        head, expression, _rest_gaze(head, portrait), fit.rotation, fit.translation, photo, behind, outline,
        torch.from_numpy(labels), torch.from_numpy(face), torch.from_numpy(texture),
        torch.from_numpy(portrait.normals), light, torch.from_numpy(eye_map(complexion, LatticeNoise(rng))), eye_light,
        tone,
    )  # fmt: skip


def _exact_head(rig: StudioRig, portrait: FittedPortrait, expression: Array) -> StudioHead:
    """The fitted identity, bent so that `expression` in the photo's pose lies exactly on the photo's landmarks."""
    fit, plain = portrait.fit, portrait.head
    base = plain.base.numpy()
    all_of = torch.from_numpy(fit.expression) @ rig.expression
    kept = torch.from_numpy(expression) @ rig.expression
    shown = base + all_of.view(-1, 3).numpy()
    q = shown @ fit.rotation.T + fit.translation
    depth = -q[:, 2:]
    px = to_pixels(torch.from_numpy(q.astype(np.float32)), CROP_PX).numpy()
    off = (portrait.source_px - px[:, :2]) * (2 * depth / (FOCAL * CROP_PX)) * np.array([1, -1])
    for first in EYEBALL_FIRST_VERTEX:
        off[first : first + SCLERA_VERTICES] = off[first : first + SCLERA_VERTICES].mean(0)
    moved = np.concatenate([off, np.zeros_like(depth)], 1) @ fit.rotation
    bent = shown + moved - kept.view(-1, 3).numpy()
    return StudioHead(rig, plain.identity, base=torch.from_numpy(bent.astype(np.float32)))


def _opacity(rig: StudioRig) -> Array:
    """[V] how much the mesh covers the outline: not at the hairline, the ears and the neck."""
    y, z = rig.mesh.neutral[:, 1], rig.mesh.neutral[:, 2]
    out = np.clip((9.6 - y) / 1.5, 0, 1) * np.clip((z - 2.2) / 2.2, 0, 1) * np.clip((y + 0.9 * z + 5.5) / 2.5, 0, 1)
    out[rig.mesh.region > Region.HEAD_NECK] = 1
    return np.asarray(out, np.float32)


def _texture(rig: StudioRig, portrait: FittedPortrait, opacity: Array) -> Array:
    px = portrait.source_px * (2 / CROP_PX) - 1
    mirror = rig.mirrored
    columns = [px, px[mirror], portrait.seen[:, None], portrait.seen[mirror][:, None], opacity[:, None]]
    return np.concatenate(columns, 1).astype(np.float32)


def _tone(rig: StudioRig, portrait: FittedPortrait, photo: Tensor) -> Tensor:
    cheeks = (rig.mesh.region == Region.FACE) & (portrait.seen > 0.9) & (np.abs(rig.mesh.neutral[:, 1]) < 3)
    cheeks &= np.abs(rig.mesh.neutral[:, 0]) > 2.5
    at = portrait.source_px[cheeks].astype(int).clip(0, CROP_PX - 1)
    return photo[:, at[:, 1], at[:, 0]].median(1).values


def harmonics(n: Tensor) -> Tensor:
    """[N, 9] real spherical harmonics of unit normals [N, 3], without their constants."""
    x, y, z = n.unbind(1)
    one = torch.ones_like(x)
    return torch.stack([one, x, y, z, x * y, x * z, y * z, x * x - y * y, 3 * z * z - 1], 1)


def _fit_light(rig: StudioRig, portrait: FittedPortrait, photo: Tensor, tone: Tensor) -> Tensor:
    skin = (rig.mesh.region == Region.FACE) & (portrait.seen > 0.5) & (rig.mesh.neutral[:, 2] > 3)
    at = portrait.source_px[skin].astype(int).clip(0, CROP_PX - 1)
    value = (photo[:, at[:, 1], at[:, 0]].clamp(min=1e-4) / tone[:, None]).log().T
    plain = value.abs().amax(1) < 0.8
    a = harmonics(torch.from_numpy(portrait.normals[skin]))[plain].double()
    ridge = torch.diag(torch.tensor([1e-3] + [0.04] * 8, dtype=torch.float64)) * len(a)
    return torch.linalg.solve(a.T @ a + ridge, a.T @ value[plain].double()).T.float()


def _photo_labels(
    rig: StudioRig, portrait: FittedPortrait, opacity: Array
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """[CROP, CROP] labels of the photo, and where the mesh shows it."""
    fit = portrait.fit
    q = torch.from_numpy(portrait.source_px)
    depth = -(portrait.head.base.numpy() @ fit.rotation.T + fit.translation)[:, 2:]
    points = torch.cat([q, torch.from_numpy(depth.astype(np.float32))], 1)
    surface = rasterise(points, rig.rig_faces, CROP_PX)
    scalp = scalp_weight(rig.mesh.neutral, rig.mesh.region <= Region.HEAD_NECK)
    values = torch.from_numpy(np.stack([opacity, scalp, rig.face_share, rig.mesh.neutral[:, 1]], 1).astype(np.float32))
    own = surface.interpolate(rig.rig_faces, values)
    region = torch.from_numpy(rig.mesh.region.astype(np.int64))[rig.rig_faces[surface.triangle, 0]]
    label = torch.where(own[:, 2] > 0.5, int(Label.FACE), int(Label.HEAD_SKIN))
    label = torch.where(own[:, 1] > 0.5, int(Label.HAIR), label)
    label = torch.where(own[:, 3] < -11.5, int(Label.CLOTHES), label)
    label = torch.where((region == Region.EYEBALL_L) | (region == Region.EYEBALL_R), int(Label.EYEBALL), label)
    inner = (region == Region.MOUTH_SOCKET) | (region == Region.GUMS) | (region == Region.TEETH)
    label = torch.where(inner, int(Label.MOUTH_INTERIOR), label)
    on_mesh = surface.image(label, -1).numpy()
    rows, columns = np.mgrid[0:CROP_PX, 0:CROP_PX]
    chin, top = portrait.landmarks[CHIN], portrait.landmarks[FOREHEAD_TOP]
    height = float(np.linalg.norm(chin - top))
    aside = np.abs(columns - (chin[0] + top[0]) / 2) / height
    shoulder = chin[1] - height * np.clip(0.9 * (aside - 0.42), 0, 0.5)  # shoulders begin higher beside the neck
    around = np.where(rows < shoulder, int(Label.HAIR), int(Label.CLOTHES))
    outside = np.where(portrait.person > 0.5, around, int(Label.BACKGROUND))
    labels = np.where(on_mesh >= 0, on_mesh, outside).astype(np.uint8)
    face = surface.image(own[:, 0]).numpy() > 0.6
    return labels, face


def _eye_colours(portrait: FittedPortrait, photo: Tensor) -> tuple[tuple[float, float, float], Tensor]:
    """Colour of the irises and the light on the whites, measured in the photo."""
    y, x = np.mgrid[0:CROP_PX, 0:CROP_PX] + 0.5
    irises, whites = [], []
    flat = photo.permute(1, 2, 0).numpy()
    for eye in (0, 1):
        centre = portrait.landmarks[IRIS_CENTRE[eye]]
        radius = float(np.linalg.norm(portrait.landmarks[list(IRIS_RIM[eye])] - centre, axis=1).mean())
        lids = portrait.landmarks[[*LID_UPPER[eye], *LID_LOWER[eye][::-1]]]
        opening = np.zeros((CROP_PX, CROP_PX), np.uint8)
        cv2.fillPoly(opening, [np.round(lids).astype(np.int32)], 1)
        opening = cv2.erode(opening, np.ones((3, 3)))
        r = np.hypot(x - centre[0], y - centre[1]) / max(radius, 1)
        irises.append(flat[(opening > 0) & (r > 0.5) & (r < 0.85)])
        whites.append(flat[(opening > 0) & (r > 1.25)])
    iris = np.quantile(np.concatenate(irises), 0.5, 0) if sum(map(len, irises)) > 8 else np.array([0.06, 0.04, 0.03])
    white = np.quantile(np.concatenate(whites), 0.6, 0) if sum(map(len, whites)) > 8 else np.full(3, 0.3)
    light = np.clip(white / np.array([0.50, 0.47, 0.45]), 0.15, 1.6)
    own = np.clip(iris / light / 0.62, 0.008, 0.5)
    return (float(own[0]), float(own[1]), float(own[2])), torch.tensor(light, dtype=torch.float32)


def _layers(portrait: FittedPortrait, labels: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
    """The person's outline, and the background with the person painted out."""
    person = np.maximum(portrait.person, (labels > 0) * (portrait.person > 0.2))
    soft = np.clip((person - 0.25) / 0.5, 0, 1)
    inside = cv2.dilate((person > 0.15).astype(np.uint8), np.ones((9, 9)))
    known = (1 - inside).astype(np.float32)
    photo = portrait.photo.astype(np.float32) / 255
    filled, total = photo * known[..., None], known
    out = photo.copy()
    missing = inside.astype(bool)
    for sigma in (4, 10, 24, 60, 140):
        spread = cv2.GaussianBlur(filled, (0, 0), sigma) / (cv2.GaussianBlur(total, (0, 0), sigma)[..., None] + 1e-4)
        enough = cv2.GaussianBlur(total, (0, 0), sigma) > 0.04
        now = missing & enough
        out[now] = spread[now]
        missing &= ~enough
    smooth = cv2.GaussianBlur(out, (0, 0), 3)
    out = np.where(inside[..., None] > 0, smooth, photo)
    behind = torch.from_numpy(lighting.linear_of(out)).permute(2, 0, 1).contiguous()
    return torch.from_numpy(soft.astype(np.float32))[None], behind


def _rest_gaze(head: StudioHead, portrait: FittedPortrait) -> Array:
    """Yaw, pitch in degrees relative to the camera, from the irises' place on the eyeballs."""
    fit, angles = portrait.fit, []
    for side, mark in ((1, IRIS_CENTRE[0]), (0, IRIS_CENTRE[1])):
        centre = head.eye_centre[side].numpy() @ fit.rotation.T + fit.translation
        px = to_pixels(torch.from_numpy(centre[None].astype(np.float32)), CROP_PX)[0].numpy()
        off = (portrait.landmarks[mark] - px[:2]) * (2 * px[2] / (FOCAL * CROP_PX)) / head.eye_radius[side]
        yaw, pitch = np.degrees(np.arcsin(np.clip(off, -0.6, 0.6)))
        to_camera = np.degrees([np.arctan2(-centre[0], -centre[2]), np.arctan2(centre[1], -centre[2])])
        angles.append(np.array([yaw, pitch]) - to_camera)
    return np.asarray(np.mean(angles, 0), np.float32)
