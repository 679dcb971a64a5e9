"""A head of the studio: rig vertices with lips that meet, lids that close, eyes that turn; camera and landmarks.

Coordinates as in `rig_mesh`, relative to `HEAD_CENTRE`; camera space as in `generator.rig_fit.HeadFit`: x right,
y up, the camera looks along -z. Tensors live on one device.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

from generator.face_landmarks import LID_LOWER, LID_UPPER
from generator.rig import EXPRESSION_INDEX, EXPRESSION_NAMES
from generator.rig_fit import FOCAL, HEAD_CENTRE
from generator.studio.build_render_tensors import corrected_landmark_vertices
from generator.studio.rig_mesh import EYEBALL_FIRST_VERTEX, SCLERA_VERTICES, Material, Region, RigMesh

IRIS_RADIUS_CM = 0.60
LIP_OVERLAP_CM = 0.035
LID_OVERLAP_CM = 0.05
_DRAWN = (Material.SKIN, Material.BACK_HEAD, Material.GUMS, Material.TEETH, Material.SCLERA_L, Material.SCLERA_R)
_LID_REACH_CM = 0.45


def smooth_step(t: Tensor) -> Tensor:
    t = t.clamp(0, 1)
    return t * t * (3 - 2 * t)


def face_share(rest: NDArray[Any], region: NDArray[Any] | None = None) -> NDArray[np.float32]:
    """1 where neutral-head positions [..., 3] belong to the face, 0 at ears, neck and scalp."""
    x, y, z = np.moveaxis(rest, -1, 0)
    face = (z > 2.0) & (y > -5.0 - 0.43 * (z - 1)) & (y < 10.8) & (np.abs(x) < 8.0)
    return np.asarray(face if region is None else face & (region == Region.FACE), np.float32)


@dataclass(frozen=True)
class Seam:
    """Two rims of an opening that may touch and never cross. K knots from one corner to the other."""

    upper: Tensor  # int64 [K]
    lower: Tensor  # int64 [K]
    moved: Tensor  # int64 [M], vertices that follow a correction
    upper_share: Tensor  # [M, K]
    lower_share: Tensor  # [M, K]

    def gap(self, v: Tensor) -> Tensor:
        """[K] cm."""
        return v[self.upper, 1] - v[self.lower, 1]

    def narrow(self, v: Tensor, upper_down_cm: Tensor, lower_up_cm: Tensor) -> None:
        """Move the rims [K]; changes `v`."""
        v[self.moved, 1] += self.lower_share @ lower_up_cm - self.upper_share @ upper_down_cm


class StudioRig:
    """The rig on a device, with what every head of the studio shares."""

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        self.mesh = mesh = RigMesh(folder)
        self.device = torch.device(device)
        order = [mesh.index[name] for name in EXPRESSION_NAMES]
        self.neutral = self._tensor(mesh.neutral - HEAD_CENTRE)
        self.identity = self._tensor(mesh.identity_basis)
        self.expression = self._tensor(mesh.expression_basis[order])
        self.render_vertex = self._index(mesh.render_vertex)
        x, y, z = mesh.neutral[mesh.faces].mean(1).T
        chest = (
            ((np.abs(x) > 9.0) & (y < -11.0)) | ((z < -6.0) & (y < -12.5)) | ((y < -17.0) & (np.abs(x) > 6.0))
        )  # the garment's place
        drawn = np.isin(mesh.material, _DRAWN) & ~chest
        self.render_faces = self._index(mesh.render_faces[drawn])
        self.rig_faces = self._index(mesh.faces[drawn])
        self.face_region = self._index(mesh.region[mesh.faces[drawn][:, 0]])
        self.uv = self._tensor(mesh.uv[mesh.render_uv] * [0.5, 1.0])  # face tile left, back of the head right
        vertex, self.landmark_trust = corrected_landmark_vertices(mesh, folder)
        self.landmark_vertex = self._index(vertex)
        self.jaw_down = -mesh.expression_basis.reshape(57, -1, 3)[mesh.index["jawOpen"], :, 1]
        y, z = self.neutral[:, 1] + 1.0, self.neutral[:, 2] + 2.0
        self.head_share = smooth_step((y + 0.5 * z + 12) / 6)[:, None]  # 0 = stays with the body
        self.face_share = face_share(mesh.neutral, mesh.region)
        self.mirrored = cKDTree(mesh.neutral).query(mesh.neutral * np.array([-1, 1, 1], np.float32))[1]
        self.mouth = self._mouth_seam()
        self.lids = tuple(self._lid_seam(side) for side in (0, 1))

    def _tensor(self, a: NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(a, np.float32)).to(self.device)

    def _index(self, a: NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(a, np.int64)).to(self.device)

    def _mouth_seam(self) -> Seam:
        """Rims by columns: the lowest point of the upper lip over the highest of the lower one."""
        rest, mesh = self.mesh.neutral, self.mesh
        x, y, z = rest.T
        lips = (mesh.region == Region.FACE) & (np.abs(x) < 2.6) & (y > -5.0) & (y < -1.8) & (z > 8.6)
        upper, lower = np.flatnonzero(lips & (self.jaw_down < 0.8)), np.flatnonzero(lips & (self.jaw_down > 1.6))
        rim_upper: list[int] = []
        rim_lower: list[int] = []
        for column in np.linspace(-1.95, 1.95, 15):
            above = upper[np.abs(x[upper] - column) < 0.17]
            below = lower[np.abs(x[lower] - column) < 0.17]
            if len(above) and len(below) and above[np.argmin(y[above])] not in rim_upper:
                rim_upper.append(int(above[np.argmin(y[above])]))
                rim_lower.append(int(below[np.argmax(y[below])]))
        near = (mesh.region <= Region.MOUTH_SOCKET) & (z > 6) & (np.abs(x) < 4.5) & (np.abs(y + 3.4) < 3.5)
        lowerness = np.clip((self.jaw_down - 0.8) / 0.8, 0, 1)
        return self._seam(np.array(rim_upper), np.array(rim_lower), np.flatnonzero(near), lowerness, (0.9, 1.1))

    def _lid_seam(self, side: int) -> Seam:
        """Side 0 is the person's left, which is landmark row 1 of the picture."""
        vertex = self.landmark_vertex.cpu().numpy()
        upper, lower = vertex[list(LID_UPPER[1 - side][1:-1])], vertex[list(LID_LOWER[1 - side][1:-1])]
        x, y, _ = (self.mesh.neutral - self.mesh.eye_centre(self.mesh.neutral, side)).T
        near = (self.mesh.region <= Region.SOCKET_R) & (np.hypot(x, y) < 2.6) & (self.mesh.region != 2)
        near &= self.mesh.neutral[:, 2] > 6.0
        blink = self.expression.view(len(EXPRESSION_NAMES), -1, 3)[EXPRESSION_INDEX["eyeBlink_" + "LR"[side]], :, 1]
        middle = self.mesh.neutral[np.r_[upper, lower], 1].mean()
        lowerness = np.where(blink.cpu().numpy() < -0.05, 0.0, (self.mesh.neutral[:, 1] < middle).astype(float))
        return self._seam(upper, lower, np.flatnonzero(near), lowerness, (0.5, 0.5))

    def _seam(
        self, upper: NDArray[np.int64], lower: NDArray[np.int64], moved: NDArray[np.int64],
        lowerness: NDArray[Any], reach_cm: tuple[float, float],
    ) -> Seam:  # fmt: skip
        rest = self.mesh.neutral
        x = rest[moved, 0]
        shares = []
        for rim, side, reach in ((upper, 1 - lowerness[moved], reach_cm[0]), (lower, lowerness[moved], reach_cm[1])):
            knots = rest[rim, 0]
            along = np.maximum(0, 1 - np.abs(x[:, None] - knots) / np.maximum(np.abs(np.gradient(knots)) * 1.05, 0.1))
            total = along.sum(1, keepdims=True)
            along = along / np.maximum(total, 1) * (total > 0)
            distance = np.linalg.norm(rest[moved][:, None] - rest[rim][None], axis=2).min(1)
            fall = np.exp(-((np.maximum(distance - 0.1, 0) / reach) ** 2))
            shares.append(self._tensor(along * (fall * side)[:, None]))
        return Seam(self._index(upper), self._index(lower), self._index(moved), *shares)


@dataclass(frozen=True)
class Posed:
    """A head in the camera: vertices [V, 3] of the rig and normals [V, 3], both in camera space; eyes: per side
    the centre [3] cm and the rotation [3, 3] from the eye's own frame, in which it looks along +z."""

    v: Tensor
    normals: Tensor
    eyes: tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]


class StudioHead:
    """One identity, or `base` [V, 3] near it, relative to HEAD_CENTRE."""

    def __init__(self, rig: StudioRig, identity: NDArray[np.float32], *, base: Tensor | None = None) -> None:
        self.rig = rig
        self.identity = identity
        weights = torch.from_numpy(identity).to(rig.device)
        plain = rig.neutral + (weights @ rig.identity[: len(identity)]).view(-1, 3)
        self.base = plain if base is None else base
        self.eye_centre, self.eye_radius, self._lid_set = [], [], []
        for side in (0, 1):
            centre = self._fit_sphere(side)
            first = EYEBALL_FIRST_VERTEX[side]
            ball = self.base[first : first + SCLERA_VERTICES]
            self.eye_centre.append(centre)
            self.eye_radius.append(float((ball - centre).norm(dim=1).median()))
            self._lid_set.append(self._near_ball(centre, self.eye_radius[side]))
        self.rest_gap = rig.mouth.gap(self.base)
        self.blink_closing = []
        for side, seam in enumerate(rig.lids):
            blink = rig.expression[EXPRESSION_INDEX["eyeBlink_" + "LR"[side]]].view(-1, 3)
            self.blink_closing.append((blink[seam.lower, 1] - blink[seam.upper, 1]).clamp(min=0.05))

    def _fit_sphere(self, side: int) -> Tensor:
        centre = self.rig.mesh.eye_centre(self.base.cpu().numpy(), side)
        return torch.tensor(centre, dtype=torch.float32, device=self.base.device)

    def _near_ball(self, centre: Tensor, radius: float) -> tuple[Tensor, Tensor]:
        """Skin vertices by an eyeball and the least distance that they keep from its centre."""
        skin = torch.from_numpy(self.rig.mesh.region == Region.FACE).to(self.base.device)
        distance = (self.base - centre).norm(dim=1)
        near = torch.nonzero(skin & (distance < radius + 1.0) & (self.base[:, 2] > centre[2] + 0.3))[:, 0]
        return near, distance[near].clamp(max=radius + 0.05)

    def shape(self, expression: Tensor) -> Tensor:
        """[V, 3] relative to HEAD_CENTRE for weights [53]: lips never cross, eyeBlink 1 shuts on every identity."""
        rig = self.rig
        weights = expression.clone()
        blinks = [EXPRESSION_INDEX["eyeBlink_L"], EXPRESSION_INDEX["eyeBlink_R"]]
        asked = [float(expression[axis]) for axis in blinks]
        weights[blinks] = 0
        active = torch.nonzero(weights > 1e-4)[:, 0]
        v = self.base + (weights[active] @ rig.expression[active]).view(-1, 3)
        for side, axis in enumerate(blinks):
            self._close_lid(v, side, rig.expression[axis], asked[side])
        self._settle_lips(v)
        return v

    def _close_lid(self, v: Tensor, side: int, blink: Tensor, asked: float) -> None:
        seam, centre = self.rig.lids[side], self.eye_centre[side]
        if asked > 1e-3:
            before = seam.gap(v)
            needed = ((before + LID_OVERLAP_CM) / self.blink_closing[side])[1:-1].amax().clamp(0.3, 1.5)
            v += asked * float(needed) * blink.view(-1, 3)
            shut = float(smooth_step(torch.tensor((asked - 0.8) / 0.2)))
            excess = (seam.gap(v) + LID_OVERLAP_CM).clamp(min=0) * shut
            seam.narrow(v, excess, torch.zeros_like(excess))
        crossed = (-seam.gap(v) - LID_OVERLAP_CM).clamp(min=0)
        seam.narrow(v, -crossed, torch.zeros_like(crossed))
        near, least = self._lid_set[side]
        offset = v[near] - centre
        v[near] = centre + offset * (least / offset.norm(dim=1)).clamp(min=1)[:, None]

    def _settle_lips(self, v: Tensor) -> None:
        """The gap is what the expression opens beyond rest; small gaps shut, lips never cross."""
        seam = self.rig.mouth
        gap = seam.gap(v)
        opens = gap - self.rest_gap
        wanted = opens * smooth_step((opens - 0.02) / 0.16)
        wanted = torch.where(opens > 0, wanted, torch.zeros_like(opens)) - LIP_OVERLAP_CM * (
            1 - smooth_step(opens / 0.2)
        )
        excess = gap - wanted
        seam.narrow(v, 0.5 * excess, 0.5 * excess)

    def eye_turn(self, side: int, direction: Tensor) -> Tensor:
        """[3, 3] that turns +z to the unit `direction` [3], without torsion."""
        z = direction
        x = torch.stack([z[2], torch.zeros_like(z[0]), -z[0]])
        x = x / x.norm()
        return torch.stack([x, torch.linalg.cross(z, x), z], 1)

    def pose(
        self, expression: Tensor, rotation: Tensor, translation: Tensor, body: tuple[Tensor, Tensor], gaze_deg: Tensor
    ) -> Posed:
        """expression [53]; rotation [3, 3], translation [3] cm; body: those of the shoulders; gaze [2] degrees."""
        rig = self.rig
        v = self.shape(expression)
        eyes = []
        for side in (0, 1):
            centre = rotation @ self.eye_centre[side] + translation
            turn = self.eye_turn(side, gaze_direction(centre, gaze_deg))
            eyes.append((centre, turn))
        normals = _vertex_normals(v, rig.rig_faces)
        w = rig.head_share
        posed = w * (v @ rotation.T + translation) + (1 - w) * (v @ body[0].T + body[1])
        normals = w * (normals @ rotation.T) + (1 - w) * (normals @ body[0].T)
        for side, (centre, turn) in enumerate(eyes):
            first = EYEBALL_FIRST_VERTEX[side]
            ball = slice(first, first + SCLERA_VERTICES)
            posed[ball] = (self.base[ball] - self.eye_centre[side]) @ turn.T + centre
            normals[ball] = torch.nn.functional.normalize(posed[ball] - centre, dim=1)
        return Posed(posed, normals, (eyes[0], eyes[1]))

    def landmarks(self, posed: Posed) -> Tensor:
        """Camera space [478, 3] in mediapipe's order; irises from the eyeballs (right of the person first)."""
        points = [posed.v[self.rig.landmark_vertex]]
        for side in (1, 0):
            centre, turn = posed.eyes[side]
            depth = (self.eye_radius[side] ** 2 - IRIS_RADIUS_CM**2) ** 0.5
            r = IRIS_RADIUS_CM
            own = torch.tensor(
                [[0, 0, self.eye_radius[side]], [r, 0, depth], [0, r, depth], [-r, 0, depth], [0, -r, depth]],
                device=turn.device,
            )
            points.append(own @ turn.T + centre)
        return torch.cat(points)


def gaze_direction(eye: Tensor, gaze_deg: Tensor) -> Tensor:
    """Unit direction [3] in camera space: gaze 0, 0 looks from `eye` [3] into the camera; positive yaw to the right
    of the picture, positive pitch down."""
    to_camera = torch.nn.functional.normalize(-eye, dim=0)
    yaw, pitch = torch.deg2rad(gaze_deg)
    local = torch.stack([yaw.sin() * pitch.cos(), -pitch.sin(), yaw.cos() * pitch.cos()])
    x = torch.stack([to_camera[2], torch.zeros_like(yaw), -to_camera[0]])
    x = x / x.norm()
    axes = torch.stack([x, torch.linalg.cross(to_camera, x), to_camera], 1)
    return axes @ local


def to_pixels(points: Tensor, size_px: int) -> Tensor:
    """Camera space [N, 3] cm to [N, 3]: column, row (0 at the picture's edge), depth in cm."""
    depth = -points[:, 2]
    k = FOCAL * 0.5 * size_px / depth
    return torch.stack([size_px / 2 + k * points[:, 0], size_px / 2 - k * points[:, 1], depth], 1)


def _vertex_normals(v: Tensor, faces: Tensor) -> Tensor:
    p = v[faces]
    normal = torch.linalg.cross(p[:, 1] - p[:, 0], p[:, 2] - p[:, 0])
    total = torch.zeros_like(v)
    for k in range(3):
        total.index_add_(0, faces[:, k], normal)
    return torch.nn.functional.normalize(total, dim=1)
