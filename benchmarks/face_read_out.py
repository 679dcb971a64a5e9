"""The measuring device for pose, gaze and expression of a frame: landmarks of the picture, geometry of the rig.

A person is met once, on a picture of them at rest: landmarks -> shape of their head, corrected so that its points
project exactly onto the landmarks. Every later picture of them is read by Gauss and Newton's method: head pose (6
numbers) and the weights of `CONTROLS` together, without bounds, so that nothing is hidden by clipping. Nothing here
knows what a renderer was asked for or how it draws; the landmarks are mediapipe's.

Landmarks answer too little to full expressions. `stored_scale` tells how much of each the device reads;
`benchmarks.control_scale` measures it on studio frames with exact labels. Poses are taken as read. Gaze has a device
of its own, see `benchmarks.iris_shift`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor

from generator.face_landmarks import FACE_OVAL
from generator.rig import EXPRESSION_INDEX, EXPRESSION_NAMES
from generator.rig_fit import FOCAL, RigShape, fit_head
from media import find_faces

Array = NDArray[np.float64]

# Expressions that landmarks tell apart at any pose, each a mix of the rig's axes at full strength. Brows are left out:
# landmarks don't follow the studio's drawn brows, so the device could not be checked on them.
CONTROLS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "jaw open": ("jawOpen",),
        "smile": ("mouthSmile_L", "mouthSmile_R"),
        "mouth left": ("mouthLeft",),
        "blink": ("eyeBlink_L", "eyeBlink_R"),
    }
)
RIDGE_PX = 2.0  # full weight of a control costs as much as this many pixels at one landmark of trust 1
SCALE_FILE = Path(__file__).with_name("control_scale.json")
EYE_CORNERS = ((33, 133), (362, 263))  # of the eye at the left and at the right of the picture


class NoFaceError(ValueError):
    """Raised when a picture that should show one face shows none."""


@dataclass(frozen=True, eq=False)
class Person:
    """points: [468, 3] cm in axes of the head at rest; controls: [C, 468, 3] cm; eyes: [2, 3] cm, left and right of
    the picture; rotation [3, 3] and translation [3] of the picture that the person was met in."""

    points: Array
    controls: Array
    trust: Array  # [468, 1]
    eyes: Array
    rotation: Array
    translation: Array
    size_px: int


@dataclass(frozen=True, eq=False)
class Reading:
    """rotation [3, 3] and translation [3] cm to the camera; controls [C], changes since the person was met;
    error_px: median landmark error."""

    rotation: Array
    translation: Array
    controls: Array
    error_px: float


def stored_scale(path: Path = SCALE_FILE) -> Array:
    """[C] weight read over weight shown, of `CONTROLS`."""
    known = json.loads(path.read_text(encoding="utf-8"))
    return np.array([known[name] for name in CONTROLS], np.float64)


def landmarks_of(picture: Tensor) -> Array:
    """[478, 2] pixels of the largest face in uint8 [3, H, W]. Raises `NoFaceError`."""
    faces = find_faces(picture, max_faces=1)
    if not faces:
        raise NoFaceError(f"no face found in a picture of {picture.shape[2]}x{picture.shape[1]} px")
    return np.asarray(faces[0].landmarks[:, :2].cpu().numpy(), np.float64)


def meet(rig: RigShape, landmarks: Array, size_px: int) -> Person:
    """Landmarks [478, 2] of a square picture -> the person."""
    fit = fit_head(rig, landmarks.astype(np.float32), size_px)
    at = rig.landmark_vertex
    points = (
        rig.neutral[at]
        + np.tensordot(fit.identity, rig.identity[:, at], 1)
        + np.tensordot(fit.expression, rig.expression[:, at], 1)
    ).astype(np.float64)
    turn, shift = fit.rotation.astype(np.float64), fit.translation.astype(np.float64)
    seen = points @ turn.T + shift
    off = landmarks[:468] - _project(seen, size_px)
    per_px = -seen[:, 2:] / (FOCAL * size_px / 2)
    sideways = np.c_[off * [1, -1] * per_px, np.zeros(468)] @ turn  # in axes of the head
    eyes = (rig.eye_centre + np.tensordot(fit.identity, rig.eye_identity, 1))[::-1].astype(np.float64)
    eyes = eyes + np.stack([sideways[list(pair)].mean(0) for pair in EYE_CORNERS])
    mixes = np.zeros((len(CONTROLS), len(EXPRESSION_NAMES)))
    for row, names in zip(mixes, CONTROLS.values(), strict=True):
        row[[EXPRESSION_INDEX[name] for name in names]] = 1
    controls = np.tensordot(mixes, rig.expression[:, at].astype(np.float64), 1)
    trust = rig.landmark_trust.astype(np.float64)[:, None].copy()
    trust[list(FACE_OVAL)] = 0  # the outline is where skin turns away, no fixed place on it
    return Person(points + sideways, controls, trust, eyes, turn, shift, size_px)


def read(person: Person, landmarks: Array, *, rounds: int = 12) -> Reading:
    """Landmarks [478, 2] of another picture of the person, same size."""
    turn, shift = person.rotation.copy(), person.translation.copy()
    weights = np.zeros(len(person.controls))
    ridge = np.zeros((len(weights), 6 + len(weights)))
    ridge[:, 6:] = np.eye(len(weights)) * RIDGE_PX * person.size_px / 512
    for _ in range(rounds):
        shape = person.points + np.tensordot(weights, person.controls, 1)
        turned = shape @ turn.T
        seen = turned + shift
        off = ((landmarks[:468] - _project(seen, person.size_px)) * person.trust).ravel()
        moves = np.concatenate([np.cross(np.eye(3)[:, None], turned[None]), np.eye(3)[:, None].repeat(468, 1)])
        moves = np.concatenate([moves, person.controls @ turn.T])
        slope = (_pixel_change(moves, seen, person.size_px) * person.trust).reshape(len(moves), -1).T
        rows = np.concatenate([slope, ridge])
        step = np.linalg.lstsq(rows, np.r_[off, -ridge[:, 6:] @ weights], rcond=None)[0]
        turn = Rotation.from_rotvec(step[:3]).as_matrix() @ turn
        shift, weights = shift + step[3:6], weights + step[6:]
    seen = (person.points + np.tensordot(weights, person.controls, 1)) @ turn.T + shift
    error = np.linalg.norm(_project(seen, person.size_px) - landmarks[:468], axis=1)
    return Reading(turn, shift, weights, float(np.median(error)))


def pose_change_deg(before: Array, after: Array) -> Array:
    """Rotations [3, 3] -> [3] yaw, pitch, roll in degrees of the turn between them, signs of `MotionBlock`."""
    roll, pitch, yaw = Rotation.from_matrix(after @ before.T).as_euler("ZXY", degrees=True)
    return np.array([yaw, pitch, roll])


def turn_matrix(yaw_deg: float, pitch_deg: float, roll_deg: float) -> Array:
    """The inverse of `pose_change_deg`."""
    return np.asarray(Rotation.from_euler("ZXY", [roll_deg, pitch_deg, yaw_deg], degrees=True).as_matrix())


def angle_between_deg(one: Array, other: Array) -> float:
    """Smallest turn that takes one rotation to the other."""
    return float(np.degrees(Rotation.from_matrix(one @ other.T).magnitude()))


def _project(points: Array, size_px: int) -> Array:
    k = FOCAL * size_px / 2 / -points[..., 2]
    return np.stack([size_px / 2 + k * points[..., 0], size_px / 2 - k * points[..., 1]], -1)


def _pixel_change(moves: Array, seen: Array, size_px: int) -> Array:
    """d pixel [K, L, 2] of camera-space directions [K, L, 3] at points [L, 3]."""
    depth, f = -seen[:, 2], FOCAL * size_px / 2
    du = f * (moves[..., 0] / depth + seen[:, 0] * moves[..., 2] / depth**2)
    dv = -f * (moves[..., 1] / depth + seen[:, 1] * moves[..., 2] / depth**2)
    return np.stack([du, dv], -1)
