"""Eyes and mouth as openings in the skin: their contours, and the lens-shaped patches in which two sheets of skin
move apart.

The skin is drawn as two sheets that are the same everywhere but around an opening. The upper sheet ends at the upper
contour (lid or lip); below it, down to the lower arc of the lens, it is transparent. The lower sheet ends at the
lower contour and is transparent up to the upper arc. What lies behind shows between the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from generator.face_landmarks import LID_LOWER, LID_UPPER, LIPS_INNER_LOWER, LIPS_INNER_UPPER

Array = NDArray[np.float32]
CONTOUR_POINTS = 49


@dataclass(frozen=True)
class Opening:
    """All in pixels of the working picture, from the left corner to the right.

    upper, lower: [49, 2] contours; upper_arc, lower_arc: [49, 2] ends of the lens;
    upper_marks, lower_marks: landmark ids of the contours; knots: [K] position of the landmarks along the contour.
    """

    name: str
    upper: Array
    lower: Array
    upper_arc: Array
    lower_arc: Array
    upper_marks: tuple[int, ...]
    lower_marks: tuple[int, ...]
    knots: Array

    @property
    def width_px(self) -> float:
        return float(np.linalg.norm(self.upper[-1] - self.upper[0]))

    @property
    def along(self) -> Array:
        """Unit vector from corner to corner."""
        d = self.upper[-1] - self.upper[0]
        return np.asarray(d / np.linalg.norm(d), np.float32)

    def middle(self) -> Array:
        return (self.upper + self.lower) / 2

    def gap_px(self) -> Array:
        """[K] distance of the lower from the upper contour at the landmarks, downwards."""
        down = np.array([-self.along[1], self.along[0]])
        at = np.linspace(0, 1, CONTOUR_POINTS)
        gap = (self.lower - self.upper) @ down
        return np.maximum(np.interp(self.knots, at, gap), 0).astype(np.float32)

    def skin_below(self) -> Array:
        """Polygon of the lower sheet's skin inside the lens."""
        return np.concatenate([self.middle(), self.lower_arc[::-1]])

    def skin_above(self) -> Array:
        return np.concatenate([self.upper_arc, self.middle()[::-1]])


def find_openings(landmarks: Array) -> tuple[Opening, Opening, Opening]:
    """Eye at the left of the picture, eye at the right, mouth."""
    eyes = [
        _opening(name, landmarks, LID_UPPER[i], LID_LOWER[i], above=0.34, below=0.5)
        for i, name in enumerate(("eye_left", "eye_right"))
    ]
    mouth = _opening("mouth", landmarks, LIPS_INNER_UPPER, LIPS_INNER_LOWER, above=0.30, below=0.55)
    return eyes[0], eyes[1], mouth


def _opening(
    name: str, landmarks: Array, upper: tuple[int, ...], lower: tuple[int, ...], *, above: float, below: float
) -> Opening:
    """`above`, `below`: height of the lens beyond the contours, in widths of the opening."""
    corner, end = landmarks[upper[0]], landmarks[upper[-1]]
    width = float(np.linalg.norm(end - corner))
    along = (end - corner) / width
    down = np.array([-along[1], along[0]], np.float32)
    t = np.linspace(0, 1, CONTOUR_POINTS)

    def profile(ids: tuple[int, ...]) -> tuple[Array, Array]:
        relative = landmarks[list(ids)] - corner
        s = np.clip(relative @ along / width, 0, 1)
        s = np.maximum.accumulate(s + np.arange(len(s)) * 1e-4)
        s = (s - s[0]) / (s[-1] - s[0])
        return s.astype(np.float32), PchipInterpolator(s, relative @ down)(t).astype(np.float32)

    knots, y_up = profile(upper)
    _, y_low = profile(lower)
    y_low = np.maximum(y_low, y_up)
    bulge = np.sqrt(np.clip(4 * t * (1 - t), 0, 1)) * width
    base = corner + t[:, None] * width * along

    def line(y: NDArray[Any]) -> Array:
        return np.asarray(base + y[:, None] * down, np.float32)

    return Opening(
        name, line(y_up), line(y_low), line(y_up - above * bulge), line(y_low + below * bulge), upper, lower, knots
    )


def fill(polygon: Array, size_px: int, scale: float, *, soft_px: float = 0.0) -> Array:
    """float32 [size, size] in 0..1, anti-aliased; polygon in pixels times `scale`; `soft_px` blurs the edge."""
    mask = np.zeros((size_px, size_px), np.uint8)
    points = np.round((polygon * scale - 0.5) * 16).astype(np.int32)
    cv2.fillPoly(mask, [points], 255, cv2.LINE_AA, 4)
    out = mask.astype(np.float32) / 255
    return cv2.GaussianBlur(out, (0, 0), soft_px) if soft_px else out


def inside(points: Array, polygon: Array) -> NDArray[np.bool_]:
    """[P] whether points lie in the polygon."""
    outline = polygon.astype(np.float32).reshape(-1, 1, 2)
    return np.array([cv2.pointPolygonTest(outline, (float(x), float(y)), False) >= 0 for x, y in points], bool)
