"""Fit the face rig to landmarks: head pose, identity and resting expression.

Alternates head pose (Levenberg-Marquardt) with identity and expression weights (bounded linear least squares with
a quadratic prior). The camera is assumed: 22 degrees field of view.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares, lsq_linear
from scipy.spatial.transform import Rotation
from torch import Tensor

from generator.errors import GeneratorError
from generator.rig import EXPRESSION_NAMES

FOCAL = float(1 / np.tan(np.radians(22) / 2))  # of half the picture's width
START_DISTANCE_CM = 62.0
HEAD_CENTRE = np.array([0, 1.0, 2.0], np.float32)  # of the rig, cm; heads turn about it
Array = NDArray[np.float32]


@dataclass(frozen=True)
class RigShape:
    """The rig cut down to V vertices seen from the front; cm, relative to HEAD_CENTRE."""

    neutral: Array  # [V, 3]
    normal: Array  # [V, 3]
    identity: Array  # [I, V, 3]
    expression: Array  # [53, V, 3]
    landmark_vertex: NDArray[np.int64]  # [468]
    landmark_trust: Array  # [468]
    eye_centre: Array  # [2, 3], the person's left, right
    eye_identity: Array  # [I, 2, 3]

    @staticmethod
    def from_tensors(tensors: Mapping[str, Tensor]) -> RigShape:
        """From the tensors named `render.*`; raises `GeneratorError` when one is missing or misshapen."""
        names = ("neutral", "normal", "identity", "expression", "landmark_trust", "eye_centre", "eye_identity")
        missing = [n for n in (*names, "landmark_vertex") if f"render.{n}" not in tensors]
        if missing:
            raise GeneratorError(f"the checkpoint lacks render.{missing[0]}; build it with build_render_tensors")
        a = {n: tensors[f"render.{n}"].float().cpu().numpy() for n in names}
        if a["expression"].shape != (len(EXPRESSION_NAMES), *a["neutral"].shape):
            raise GeneratorError(f"render.expression has shape {a['expression'].shape}; rebuild the checkpoint")
        vertex = tensors["render.landmark_vertex"].cpu().numpy().astype(np.int64)
        a["neutral"], a["eye_centre"] = a["neutral"] - HEAD_CENTRE, a["eye_centre"] - HEAD_CENTRE
        return RigShape(landmark_vertex=vertex, **a)


@dataclass(frozen=True)
class HeadFit:
    """A camera-space point is `rotation @ rig point + translation`; x right, y up, the camera looks along -z."""

    identity: Array  # [I]
    expression: Array  # [53], 0..1
    rotation: Array  # [3, 3]
    translation: Array  # [3] cm
    error_px: Array  # [468]

    @property
    def yaw_pitch_roll_deg(self) -> tuple[float, float, float]:
        roll, pitch, yaw = Rotation.from_matrix(self.rotation).as_euler("ZXY", degrees=True)
        return float(yaw), float(pitch), float(roll)


def project(points: NDArray[Any], size_px: int) -> Array:
    """Camera space [..., 3] cm -> pixels [..., 2], y down."""
    k = FOCAL * 0.5 * size_px / -points[..., 2]
    px = [size_px / 2 + k * points[..., 0], size_px / 2 - k * points[..., 1]]
    return np.asarray(np.stack(px, -1), np.float32)


# Shapes that a fit can't tell from others or that don't show in skin landmarks.
_NOT_FITTED = ("eyeLook",)


def fit_head(rig: RigShape, landmarks: Array, size_px: int, *, iterations: int = 6) -> HeadFit:
    """Landmarks [>=468, 2] in pixels of a square picture -> pose, identity, expression."""
    used = [i for i, name in enumerate(EXPRESSION_NAMES) if not name.startswith(_NOT_FITTED)]
    at, weight, marks = rig.landmark_vertex, rig.landmark_trust[:, None], landmarks[:468]
    basis_i = rig.identity[:, at].astype(np.float64)
    basis_e = rig.expression[used][:, at].astype(np.float64)
    n, k, scale = len(basis_i), len(used), 200 / size_px
    a, b, pose = np.zeros(n), np.zeros(k), np.r_[np.zeros(3), 0, 0, -START_DISTANCE_CM]
    prior = np.diag(np.r_[np.full(n, 1.2), np.full(k, 2.5)])
    bounds = (np.r_[np.full(n, -2.5), np.zeros(k)], np.r_[np.full(n, 2.5), np.ones(k)])
    for iteration in range(iterations):
        points = rig.neutral[at] + np.tensordot(a, basis_i, 1) + np.tensordot(b, basis_e, 1)

        def residual(y: NDArray[np.float64], points: NDArray[np.float64] = points) -> NDArray[np.float64]:
            moved = Rotation.from_rotvec(y[:3]).apply(points) + y[3:]
            return np.asarray(((project(moved, size_px).astype(np.float64) - marks) * weight).ravel())

        steps = 12 if iteration else 60
        pose = least_squares(residual, pose, x_scale=[0.1, 0.1, 0.1, 3, 3, 10], max_nfev=steps, diff_step=1e-4).x
        turn = Rotation.from_rotvec(pose[:3]).as_matrix()
        q = points @ turn.T + pose[3:]
        basis = np.concatenate([basis_i, basis_e]) @ turn.T
        jacobian = (_pixel_change(basis, q, size_px) * weight).reshape(n + k, -1).T * scale
        target = np.r_[-residual(pose) * scale + jacobian @ np.r_[a, b], np.zeros(n + k)]
        x = lsq_linear(np.vstack([jacobian, prior]), target, bounds, max_iter=30, tol=1e-4).x
        a, b = x[:n], x[n:]
    points = rig.neutral[at] + np.tensordot(a, basis_i, 1) + np.tensordot(b, basis_e, 1)
    turn = Rotation.from_rotvec(pose[:3]).as_matrix()
    error = np.linalg.norm(project(points @ turn.T + pose[3:], size_px) - marks, axis=1)
    expression = np.zeros(len(EXPRESSION_NAMES), np.float32)
    expression[used] = b
    as_float = np.float32
    return HeadFit(a.astype(as_float), expression, turn.astype(as_float), pose[3:].astype(as_float), error)


def _pixel_change(basis: NDArray[np.float64], q: NDArray[np.float64], size_px: int) -> NDArray[np.float64]:
    """d pixel / d weight [K, L, 2] of camera-space directions [K, L, 3] at points [L, 3]."""
    depth, f = -q[:, 2], FOCAL * 0.5 * size_px
    du = f * (basis[..., 0] / depth + q[:, 0] * basis[..., 2] / depth**2)
    dv = -f * (basis[..., 1] / depth + q[:, 1] * basis[..., 2] / depth**2)
    return np.stack([du, dv], -1)
