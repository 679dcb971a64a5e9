"""Glasses: told by their edges, and kept still on the head while the skin behind them moves.

The motion of the skin fades out in the area that frames cover, but for the lids behind the lenses; so glasses follow
the head alone.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from generator.face_fields import Box, Fields, Window
from generator.face_landmarks import LID_UPPER
from generator.face_openings import fill
from generator.rig import EXPRESSION_NAMES
from generator.working_picture import CELL_PX, SIZE_PX, TEXTURE_PX

EDGE_WEIGHTS = np.array([2.65, 2.55, 3.83, -4.02], np.float32)
EDGE_BIAS = 9.87 + 0.85  # so that 0.3 of the fitted probability is enough
HELD = 0.94  # share of the skin's motion that glasses take away
_LIDS = np.array([name.startswith("eye") for name in EXPRESSION_NAMES])
Array = NDArray[np.float32]


def wears_glasses(texture: Array, landmarks: Array) -> bool:
    """texture: [1024, 1024, 3] RGB 0..255; landmarks in pixels of the 512 picture.

    Bare skin has no edge across the nose between the eyes and none along the temples; a bridge and arms are such
    edges. Logistic regression on four measurements, see the model card for its errors.
    """
    score = EDGE_WEIGHTS @ _edges(_eye_strip(texture, landmarks))
    return bool(float(score) + EDGE_BIAS > 0)


def _eye_strip(texture: Array, landmarks: Array) -> Array:
    """Grey [96, 160], upright, eyes at (48, 40) and (112, 40)."""
    left, right = _eye_centres(landmarks)
    x, y = (right - left) / 64
    turn = np.array([[x, -y], [y, x]], np.float32)
    to_texels = np.column_stack([turn, left - turn @ np.array([48, 40], np.float32)]) * (TEXTURE_PX / SIZE_PX)
    grey = cv2.cvtColor(np.clip(texture, 0, 255).astype(np.uint8), cv2.COLOR_RGB2GRAY)
    strip = cv2.warpAffine(grey, to_texels, (160, 96), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    return np.asarray(cv2.GaussianBlur(strip.astype(np.float32), (0, 0), 1.0), np.float32)


def _edges(strip: Array) -> Array:
    """[4] logarithms: weaker and stronger edges across the bridge, along the temples, contrast of the whole strip."""
    steep = np.pad(np.abs(strip[3:] - strip[:-3]), ((1, 2), (0, 0)))
    light = float(np.median(strip[44:84, 40:120])) + 20

    def across(left: int, right: int, top: int, bottom: int, percentile: float) -> float:
        return float(np.percentile(steep[top:bottom, left:right].max(0), percentile)) / light

    arms = (across(2, 22, 22, 58, 50) + across(138, 158, 22, 58, 50)) / 2
    found = [across(73, 88, 24, 60, 25), across(73, 88, 24, 60, 60), arms, float(strip.std()) / light]
    return np.asarray(np.log(np.array(found) + 0.01), np.float32)


def _eye_centres(landmarks: Array) -> tuple[Array, Array]:
    """Of the eye at the left and at the right of the picture: middle between the corners, [2] each."""
    left, right = (np.asarray(landmarks[[upper[0], upper[-1]]].mean(0), np.float32) for upper in LID_UPPER)
    return left, right


def hold_glasses(fields: Fields, landmarks: Array) -> Fields:
    """Fields in which no expression moves the glasses."""
    covered = _covered(landmarks)
    lenses: Array = np.zeros_like(covered)
    for window in fields.windows[:2]:
        opening = window.opening
        lens = fill(np.concatenate([opening.upper_arc, opening.lower_arc[::-1]]), SIZE_PX // CELL_PX, 1 / CELL_PX)
        lenses = np.maximum(lenses, np.asarray(cv2.GaussianBlur(lens, (0, 0), 2.5), np.float32))
    stays = HELD * covered
    skin: Array = 1 - stays
    lids: Array = np.asarray(1 - stays * (1 - lenses), np.float32)
    left, right = (_hold_window(window, skin, lids) for window in fields.windows[:2])
    upper = _damped(fields.upper, fields.face_box, skin, lids)
    return replace(fields, upper=upper, windows=(left, right, *fields.windows[2:]))


def _hold_window(window: Window, skin: Array, lids: Array) -> Window:
    near = window.box.cut(lids)
    rest = np.where(_LIDS, 1, 1 - HELD)[:, None].astype(np.float32)
    return replace(
        window,
        lower=_damped(window.lower, window.box, skin, lids),
        upper_bumps=window.upper_bumps * near,
        lower_bumps=window.lower_bumps * near,
        follow_bumps=window.follow_bumps * near,
        upper_down_px=window.upper_down_px * rest,
        lower_down_px=window.lower_down_px * rest,
    )


def _damped(motion: Array, box: Box, skin: Array, lids: Array) -> Array:
    """motion [53, 3, h, w] of a box of cells, damped by maps [256, 256]."""
    return np.asarray(motion * np.where(_LIDS[:, None, None, None], box.cut(lids), box.cut(skin)), np.float32)


def _covered(landmarks: Array) -> Array:
    """[256, 256] 0..1: where frames and lenses may lie, from the brows to the cheeks and out to the temples."""
    left, right = _eye_centres(landmarks)
    apart = float(np.linalg.norm(right - left))
    along = (right - left) / apart
    y, x = np.mgrid[0 : SIZE_PX // CELL_PX, 0 : SIZE_PX // CELL_PX].astype(np.float32) * CELL_PX + CELL_PX / 2
    px, py = x - (left[0] + right[0]) / 2, y - (left[1] + right[1]) / 2
    u, v = (px * along[0] + py * along[1]) / apart, (py * along[0] - px * along[1]) / apart
    inside = _soft(1.25 - np.abs(u), 0.2) * _soft(v + 0.52, 0.14) * _soft(0.62 - v, 0.2)
    return np.asarray(inside, np.float32)


def _soft(distance: Array, width: float) -> Array:
    t = np.clip(distance / width, 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)
