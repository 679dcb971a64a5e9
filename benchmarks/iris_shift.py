"""Measures how far both eyes turned between two pictures of a head that holds still.

Lids hide much of an iris, and landmarks of irises follow too little (on studio frames mediapipe's read 0.6 of the
yaw and 0.3 of the pitch). So the iris's own pixels are looked for again: what the first picture shows of it is laid
over the second at every shift, compared where both eyes are open, and the shift of least difference, the same for
both eyes, is turned into degrees by the eyeball's size. Pixels that fall under a lid cost `HIDDEN_COST`, so that
hiding is never the best answer.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.face_read_out import EYE_CORNERS, Array, Person
from generator.face_landmarks import IRIS_CENTRE, LID_LOWER, LID_UPPER
from generator.rig_fit import FOCAL

IRIS_RADIUS_CM = 0.60
IRIS_DISTANCE_CM = 1.458  # of the iris from the eyeball's centre; the rig's eyeball has a radius of 1.577 cm
FINER = 2  # samples per pixel
HIDDEN_COST = 0.4  # of the range between a dark iris and the white of the eye
REACH = (1.15, 0.8)  # of the search, in iris radii: some 28 and 19 degrees
MARGIN_PX = 14
_RED = 0  # irises of every colour are dark in red, skin and the white of the eye are bright


class NoIrisError(ValueError):
    """Raised when neither eye is open in both pictures."""


def gaze_change_deg(person: Person, before: Tensor, marks_before: Array, after: Tensor, marks_after: Array) -> Array:
    """[2] yaw, pitch in degrees, signs of `MotionBlock`; pictures uint8 [3, S, S], landmarks [478, 2].

    In the first picture the person looks into the camera. Raises `NoIrisError`.
    """
    eyes = person.eyes @ person.rotation.T + person.translation
    px_per_cm = float(FOCAL * person.size_px / 2 / -eyes[:, 2].mean())
    shift_px = _shift_px(_red(before), marks_before, _red(after), marks_after, IRIS_RADIUS_CM * px_per_cm)
    return np.degrees(np.arcsin(np.clip(shift_px / (px_per_cm * IRIS_DISTANCE_CM), -0.9, 0.9)))


def _red(picture: Tensor) -> NDArray[np.float32]:
    return np.asarray(picture[_RED].cpu().numpy(), np.float32)


def _shift_px(
    before: NDArray[np.float32], marks: Array, after: NDArray[np.float32], marks_after: Array, radius_px: float
) -> Array:
    """[2] x, y in pixels."""
    reach_x, reach_y = (round(r * radius_px * FINER) for r in REACH)
    dx, dy = np.meshgrid(np.arange(-reach_x, reach_x + 1), np.arange(-reach_y, reach_y + 1), indexing="ij")
    costs = [
        _costs(before, marks, after, marks_after, radius_px, side, dx.ravel(), dy.ravel()).reshape(dx.shape)
        for side in (0, 1)
        if _is_open(marks, side) and _is_open(marks_after, side)
    ]
    if not costs:
        raise NoIrisError("neither eye is open in both pictures")
    cost = np.sum(costs, 0)
    i, j = np.unravel_index(int(cost.argmin()), cost.shape)
    x = dx[i, j] + (_vertex(*cost[i - 1 : i + 2, j]) if 0 < i < len(cost) - 1 else 0.0)
    y = dy[i, j] + (_vertex(*cost[i, j - 1 : j + 2]) if 0 < j < cost.shape[1] - 1 else 0.0)
    return np.array([x, y]) / FINER


def _is_open(marks: Array, side: int, least: float = 0.08) -> bool:
    """Whether the lids are further apart than a share of the eye's width."""
    corners = marks[list(EYE_CORNERS[side])]
    gap = np.linalg.norm(marks[list(LID_UPPER[side])] - marks[list(LID_LOWER[side])], axis=1).max()
    return bool(gap > least * np.linalg.norm(corners[1] - corners[0]))


def _costs(
    before: NDArray[np.float32], marks: Array, after: NDArray[np.float32], marks_after: Array, radius_px: float,
    side: int, dx: NDArray[np.int64], dy: NDArray[np.int64],
) -> Array:  # fmt: skip
    """Mean difference 0..1 at each shift (in samples) of what the first picture shows around the iris."""
    corners = marks[list(EYE_CORNERS[side])]
    half = int(np.ceil(np.linalg.norm(corners[1] - corners[0]) / 2 + MARGIN_PX))
    origin = np.floor(corners.mean(0) - half)
    samples = 2 * half * FINER
    to_window = np.array([[FINER, 0, -origin[0] * FINER], [0, FINER, -origin[1] * FINER]])

    def window(picture: NDArray[np.float32]) -> NDArray[np.float32]:
        cut = cv2.warpAffine(picture, to_window, (samples, samples), flags=cv2.INTER_CUBIC)
        return np.asarray(cv2.GaussianBlur(cut, (0, 0), 1.0), np.float32)

    first, second = window(before), window(after)
    open_first, open_second = (_opening(m, side, origin, samples) for m in (marks, marks_after))
    dark, bright = np.percentile(first[open_first], [5, 80])
    first, second = (np.clip((w - dark) / max(bright - dark, 8.0), 0, 1) for w in (first, second))
    iris = (marks[IRIS_CENTRE[side]] - origin) * FINER
    y, x = np.mgrid[0:samples, 0:samples]
    seen = open_first & (np.hypot(x - iris[0], y - iris[1]) < 1.3 * radius_px * FINER)
    rows, columns = np.nonzero(seen)
    at_y = np.clip(rows + dy[:, None], 0, samples - 1)
    at_x = np.clip(columns + dx[:, None], 0, samples - 1)
    difference = np.abs(second[at_y, at_x] - first[rows, columns])
    return np.asarray(np.where(open_second[at_y, at_x], difference, HIDDEN_COST).mean(1), np.float64)


def _opening(marks: Array, side: int, origin: Array, samples: int) -> NDArray[np.bool_]:
    """Between the lids, without their edges."""
    outline = np.concatenate([marks[list(LID_UPPER[side])], marks[list(LID_LOWER[side])][::-1]])
    mask = np.zeros((samples, samples), np.uint8)
    cv2.fillPoly(mask, [np.round((outline - origin) * FINER).astype(np.int32)], 1)
    return np.asarray(cv2.erode(mask, np.ones((3, 3))) > 0)


def _vertex(left: float, middle: float, right: float) -> float:
    """Of the parabola through values at -1, 0, 1."""
    bend = left - 2 * middle + right
    return 0.5 * (left - right) / bend if bend > 0 else 0.0
