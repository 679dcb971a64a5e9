"""A portrait with the rig fitted to it: where every vertex of the head lies in the photo and whether it shows."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

import media
from generator.errors import GeneratorError
from generator.rig_fit import HeadFit, RigShape, fit_head
from generator.studio.head_model import StudioHead, StudioRig, to_pixels
from generator.studio.rasteriser import rasterise
from generator.studio.rig_mesh import Region
from generator.studio.splits import split_of
from generator.working_picture import cut_out, square_around

CROP_PX = 512
IDENTITIES = 60
MAX_ERROR_SHARE = 0.022  # median landmark error of the fit over the face's height
Array = NDArray[np.float32]


@dataclass(frozen=True)
class PortraitFacts:
    """A row of index.csv."""

    path: Path
    name: str
    glasses: bool
    mouth_gap: float
    smile: float
    yaw_deg: float
    pitch_deg: float

    @property
    def split(self) -> str:
        return split_of(f"portrait {self.name}")


def read_index(folder: Path) -> list[PortraitFacts]:
    """Rows of index.csv with columns file, glasses, mouth_gap, smile, yaw_deg, pitch_deg; sorted by name.

    Raises `GeneratorError` when the file or a column is missing.
    """
    index = folder / "index.csv"
    if not index.is_file():
        raise GeneratorError(
            f"{index} is missing: the portraits' folder needs a table, docs/STUDIO.md lists its columns"
        )
    with index.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    try:
        facts = [
            PortraitFacts(
                folder / row["file"], Path(row["file"]).stem, row["glasses"] == "1", float(row["mouth_gap"]),
                float(row["smile"]), float(row["yaw_deg"]), float(row["pitch_deg"]),
            )
            for row in rows
        ]  # fmt: skip
    except KeyError as error:
        raise GeneratorError(f"{index} lacks the column {error}; docs/STUDIO.md lists them") from None
    return sorted((f for f in facts if f.path.is_file()), key=lambda f: f.name)


@dataclass(frozen=True)
class FittedPortrait:
    """photo: uint8 RGB [CROP, CROP, 3]; landmarks: [478, 2] px; source_px: [V, 2] where each vertex lies; seen: [V]
    0..1; q: [V, 3] camera space, normals too; iris: linear RGB of the irises."""

    facts: PortraitFacts
    photo: NDArray[np.uint8]
    landmarks: Array
    fit: HeadFit
    head: StudioHead
    source_px: Array
    seen: Array
    normals: Array
    person: Array  # [CROP, CROP] 0..1


def rig_shape(rig: StudioRig) -> RigShape:
    """The rig cut down to its landmarks, as the fit needs it."""
    at = rig.landmark_vertex.cpu().numpy()
    identity = rig.mesh.identity_basis[:IDENTITIES].reshape(IDENTITIES, -1, 3)[:, at]
    expression = rig.expression.cpu().numpy().reshape(53, -1, 3)[:, at]
    neutral = rig.neutral.cpu().numpy()[at]
    centres = np.stack([rig.mesh.eye_centre(rig.neutral.cpu().numpy(), side) for side in (0, 1)]).astype(np.float32)
    normal = rig.mesh.normals(rig.mesh.neutral)[at]
    no_motion = np.zeros((IDENTITIES, 2, 3), np.float32)
    trust, vertex = rig.landmark_trust, np.arange(len(at), dtype=np.int64)
    return RigShape(neutral, normal, identity, expression, vertex, trust, centres, no_motion)


def fit_portrait(rig: StudioRig, shape: RigShape, facts: PortraitFacts) -> FittedPortrait:
    """Raises `GeneratorError` when there isn't one face or the rig doesn't fit it."""
    picture = media.read_portrait(facts.path)
    faces = media.find_faces(picture)
    if len(faces) != 1:
        raise GeneratorError(f"{facts.path}: {len(faces)} faces found, one is needed")
    marks = faces[0].landmarks[:, :2].cpu().numpy().astype(np.float32)
    side, left, top = square_around(marks)
    cut = cut_out(picture.permute(1, 2, 0).contiguous().numpy(), left, top, side)
    how = cv2.INTER_AREA if side > CROP_PX else cv2.INTER_CUBIC
    photo = np.asarray(cv2.resize(cut, (CROP_PX, CROP_PX), interpolation=how), np.uint8)
    marks = ((marks - np.array([left, top], np.float32)) * (CROP_PX / side)).astype(np.float32)
    fit = fit_head(shape, marks, CROP_PX)
    if float(np.median(fit.error_px)) > MAX_ERROR_SHARE * CROP_PX / 2.1:
        raise GeneratorError(f"{facts.path}: the rig doesn't fit, median error {np.median(fit.error_px):.1f} px")
    identity = np.zeros(100, np.float32)
    identity[:IDENTITIES] = fit.identity
    head = StudioHead(rig, identity)
    turn, shift = torch.from_numpy(fit.rotation), torch.from_numpy(fit.translation)
    own = head.shape(torch.from_numpy(fit.expression).to(rig.device)).cpu()
    q = own @ turn.T + shift
    normals = rig.mesh.normals(own.numpy()) @ fit.rotation.T
    px = to_pixels(q, CROP_PX)
    person = media.segment_person(torch.from_numpy(photo).permute(2, 0, 1).contiguous()).numpy()
    return FittedPortrait(
        facts, photo, marks, fit, head, _aligned(rig, px[:, :2].numpy(), marks), _seen(rig, px, q.numpy(), normals),
        normals.astype(np.float32), person,
    )  # fmt: skip


def _aligned(rig: StudioRig, px: Array, marks: Array) -> Array:
    """Projected vertices [V, 2] shifted so that the landmarks lie exactly; the two lips don't pull each other."""
    at = rig.landmark_vertex.cpu().numpy()
    near_mouth = np.exp(-((rig.mesh.neutral[:, 0] / 4) ** 2) - ((rig.mesh.neutral[:, 1] + 3.4) / 2.5) ** 2)
    lowerness = (np.clip((rig.jaw_down - 0.8) / 0.8, 0, 1) * near_mouth * 40)[:, None]
    feature = np.concatenate([px, lowerness], 1)
    distance, nearest = cKDTree(feature[at]).query(feature, k=6)
    weight = rig.landmark_trust[nearest] / (distance**2 + 0.5)
    shift = ((marks[:468] - px[at])[nearest] * weight[..., None]).sum(1) / weight.sum(1, keepdims=True)
    return np.asarray(px + shift * np.exp(-distance[:, :1] / 60), np.float32)


def _seen(rig: StudioRig, px: torch.Tensor, q: Array, normals: Array) -> Array:
    facing = (normals * -q).sum(1) / np.linalg.norm(q, axis=1)
    surface = rasterise(px, rig.rig_faces.cpu(), CROP_PX)
    far = torch.nn.functional.max_pool2d(surface.z_buffer.clamp(max=1e4)[None, None], 3, 1, 1)[0, 0].numpy()
    column, row = np.clip(px[:, :2].numpy().astype(int), 0, CROP_PX - 1).T
    front = px[:, 2].numpy() < far[row, column] + 0.35
    inside = ((px[:, :2] > 2) & (px[:, :2] < CROP_PX - 2)).all(1).numpy()
    seen = np.clip((facing - 0.15) / 0.35, 0, 1) * front * inside
    seen[(rig.mesh.region >= Region.MOUTH_SOCKET) & (rig.mesh.region <= Region.TEETH)] = 0
    return np.asarray(seen, np.float32)


class PortraitBank:
    """Portraits that can be lifted: no glasses, lips closed, hardly a smile, nearly frontal; in an order by seed."""

    def __init__(self, rig: StudioRig, folder: Path, seed: int) -> None:
        self.rig, self.shape = rig, rig_shape(rig)
        fit_for_it = [f for f in read_index(folder) if _can_be_lifted(f)]
        if not fit_for_it:
            raise GeneratorError(f"{folder} has no portrait without glasses, with closed lips, seen from the front")
        order = np.random.default_rng([seed, 77]).permutation(len(fit_for_it))
        self.facts = [fit_for_it[int(k)] for k in order]

    def fitted(self, person: int) -> FittedPortrait:
        """The portrait of person number `person`, or the next that the rig fits; again from the start at the end."""
        for k in range(len(self.facts)):
            try:
                return fit_portrait(self.rig, self.shape, self.facts[(person + k) % len(self.facts)])
            except GeneratorError:
                continue
        raise GeneratorError("the rig fits none of the portraits; use sharp pictures of single faces")


def _can_be_lifted(facts: PortraitFacts) -> bool:
    frontal = abs(facts.yaw_deg) < 13 and abs(facts.pitch_deg) < 12
    return not facts.glasses and facts.mouth_gap < 0.04 and facts.smile < 0.75 and frontal
