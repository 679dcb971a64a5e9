"""Where every pixel of the working picture lies in space, and how each expression moves it.

Fields live on a grid of 2 px cells. Around an opening (eye, mouth) the lower sheet of skin has a field of its own,
see `face_openings`.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from generator.face_landmarks import CHIN, FACE_OVAL, FOREHEAD_TOP
from generator.face_openings import CONTOUR_POINTS, Opening, inside
from generator.framing import Framing
from generator.membrane import stretch_membrane
from generator.rig import EXPRESSION_INDEX
from generator.rig_fit import FOCAL, HeadFit, RigShape, project
from generator.working_picture import CELL_PX, SIZE_PX

GRID = SIZE_PX // CELL_PX
SHOULDER_SWAY = 0.5  # of the head's translation, just below the chin
MAX_SLOPE = 1.9  # px of depth per px; a turn by atan(1 / MAX_SLOPE) would fold the picture
Array = NDArray[np.float32]


@dataclass(frozen=True)
class Skin:
    """The V rig vertices as the portrait shows them."""

    px: Array  # [V, 2] pixels, corrected so that landmarks lie exactly
    depth: Array  # [V] cm from the camera
    facing: NDArray[np.bool_]  # [V]
    motion: Array  # [53, V, 3] cm, camera axes
    lower_lip: NDArray[np.bool_]  # [V] goes with the jaw


@dataclass(frozen=True)
class Box:
    """Cells [top, top + height) x [left, left + width)."""

    top: int
    left: int
    height: int
    width: int

    def cut(self, grid: Array) -> Array:
        return grid[..., self.top : self.top + self.height, self.left : self.left + self.width]


@dataclass(frozen=True)
class Window:
    """Around an opening. K knots along the contour; "down" is across the opening."""

    opening: Opening
    box: Box
    lower: Array  # [53, 3, h, w] cm, motion of the lower sheet
    upper_bumps: Array  # [K, h, w] 0..1, share of a cell of the upper sheet in a downward shift of knot k
    lower_bumps: Array  # [K, h, w]
    follow_bumps: Array  # [K, h, w], share of the upper sheet in a shift of the lower contour
    upper_down_px: Array  # [53, K] downward motion of the upper contour
    lower_down_px: Array  # [53, K]
    cm_per_px: float


@dataclass(frozen=True)
class Fields:
    depth: Array  # [256, 256] cm
    turn_weight: Array  # [256, 256] 0 = stays, 1 = turns with the head
    move_weight: Array  # [256, 256] the same for translation and scale
    face_box: Box
    upper: Array  # [53, 3, h, w] cm, motion of the upper sheet inside `face_box`
    windows: tuple[Window, ...]


def place_skin(rig: RigShape, fit: HeadFit, landmarks: Array) -> Skin:
    shape = rig.neutral + np.tensordot(fit.identity, rig.identity, 1) + np.tensordot(fit.expression, rig.expression, 1)
    q = shape @ fit.rotation.T + fit.translation
    px = project(q, SIZE_PX)
    at = rig.landmark_vertex
    residual = landmarks[:468] - px[at]
    distance, nearest = cKDTree(px[at]).query(px, k=6)
    weight = 1 / (distance**2 + 0.5)
    shift = (residual[nearest] * weight[..., None]).sum(1) / weight.sum(1, keepdims=True)
    px = px + shift * np.exp(-distance[:, :1] / 60)
    jaw = rig.expression[EXPRESSION_INDEX["jawOpen"], :, 1]
    return Skin(
        px.astype(np.float32),
        -q[:, 2],
        (rig.normal @ fit.rotation.T)[:, 2] > 0.1,
        (rig.expression @ fit.rotation.T).astype(np.float32),
        jaw < -1.6,
    )


def build_fields(
    rig: RigShape, fit: HeadFit, landmarks: Array, openings: tuple[Opening, ...], framing: Framing
) -> Fields:
    skin = place_skin(rig, fit, landmarks)
    depth = _depth_field(skin)
    turn, move = _head_weights(landmarks, framing)
    box = _face_box(landmarks)
    upper = _face_motion(skin, landmarks, box)
    windows = tuple(_window(skin, rig, opening, box, upper) for opening in openings)
    return Fields(depth, turn, move, box, upper, windows)


def _depth_field(skin: Skin) -> Array:
    """Smooth, and never so steep that a turn of 20 degrees would fold the picture."""
    seen = skin.facing
    coarse = stretch_membrane(
        skin.px[seen] / 4 - 0.5, skin.depth[seen, None], np.ones(int(seen.sum()), np.float32), (128, 128), stiffness=1.0
    )
    depth = cv2.resize(coarse[..., 0], (GRID, GRID), interpolation=cv2.INTER_CUBIC)
    depth = cv2.GaussianBlur(depth, (0, 0), 1.5)
    px_per_cm = FOCAL * SIZE_PX / 2 / float(np.median(depth))
    for _ in range(40):
        flat = np.zeros(depth.shape, bool)
        for axis in (0, 1):
            slope = np.abs(np.gradient(depth, axis=axis)) / CELL_PX * px_per_cm
            flat |= slope > MAX_SLOPE
        if not flat.any():
            break
        soft = cv2.GaussianBlur(cv2.dilate(flat.astype(np.float32), np.ones((7, 7))), (0, 0), 2)
        depth = depth + soft * (cv2.GaussianBlur(depth, (0, 0), 3) - depth)
    return np.asarray(depth, np.float32)


def _head_weights(landmarks: Array, framing: Framing) -> tuple[Array, Array]:
    """[256, 256] each: turn, and translation and scale. Both end in the neck; shoulders that follow take a part of the
    translation, none at the picture's border. Where the square is pasted back, nothing moves at its border."""
    chin, top = landmarks[CHIN], landmarks[FOREHEAD_TOP]
    height = float(np.linalg.norm(chin - top))
    oval = landmarks[list(FACE_OVAL)]
    half_width = float(np.ptp(oval[:, 0])) / 2
    centre_x = float((oval[:, 0].max() + oval[:, 0].min()) / 2)
    y, x = np.mgrid[0:GRID, 0:GRID].astype(np.float32) * CELL_PX + CELL_PX / 2
    side = _smooth_step((np.abs(x - centre_x) / half_width - 0.8) / 0.7)
    start = chin[1] - 0.02 * height - 0.33 * height * side  # beside the neck, shoulders begin higher
    end = np.minimum(start + (0.44 - 0.04 * side) * height, SIZE_PX)
    turn = 1 - _smooth_step((y - start) / np.maximum(end - start, 1))
    move = turn
    border = _smooth_step((np.minimum(x, SIZE_PX - x) - 6) / 64)
    if framing.shoulders == "follow":
        start = chin[1] - 0.05 * height
        sway = 1 - _smooth_step((y - start) / max(SIZE_PX - start, 1))
        move = move + (1 - move) * SHOULDER_SWAY * sway * border
    if framing.frame == "portrait":
        border = border * _smooth_step((np.minimum(y, SIZE_PX - y) - 6) / 64)
        turn, move = turn * border, move * border
    return turn, move


def _smooth_step(t: Array) -> Array:
    t = np.clip(t, 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def _face_box(landmarks: Array) -> Box:
    """The face and a rim over which its motion fades, in cells, multiples of two."""
    oval = landmarks[list(FACE_OVAL)]
    height = float(np.ptp(oval[:, 1]))
    low = oval.min(0) - np.array([0.22, 0.25]) * height
    high = oval.max(0) + np.array([0.22, 0.42]) * height
    left, top = np.clip(np.floor(low / 4).astype(int), 0, GRID // 2)
    right, bottom = np.clip(np.ceil(high / 4).astype(int), 0, GRID // 2)
    return Box(int(top) * 2, int(left) * 2, int(bottom - top) * 2, int(right - left) * 2)


def _in_cells(px: Array, box: Box, cell_px: float) -> Array:
    """Pixels -> cells of a grid over `box`."""
    origin = np.array([box.left, box.top], np.float32) * CELL_PX
    return np.asarray((px - origin) / cell_px - 0.5, np.float32)


def _face_motion(skin: Skin, landmarks: Array, box: Box) -> Array:
    """[53, 3, h, w]: from the vertices in the face, fading to zero at the border of the box."""
    oval = landmarks[list(FACE_OVAL)]
    rim = (oval - oval.mean(0)) * 1.02 + oval.mean(0)
    used = np.flatnonzero(skin.facing)
    used = used[inside(skin.px[used], rim)]
    count = skin.motion.shape[0]
    values = skin.motion[:, used].transpose(1, 0, 2).reshape(len(used), -1)
    shape = (box.height // 2, box.width // 2)
    zero = np.zeros((*shape, values.shape[1]), np.float32)
    weight = np.ones(len(used), np.float32)
    coarse = stretch_membrane(_in_cells(skin.px[used], box, 4), values, weight, shape, stiffness=0.25, border=zero)
    fine = F.interpolate(torch.from_numpy(coarse).permute(2, 0, 1)[None], scale_factor=2, mode="bicubic")[0]
    return fine.reshape(count, 3, box.height, box.width).numpy().copy()


def _window(skin: Skin, rig: RigShape, opening: Opening, face: Box, upper: Array) -> Window:
    """Solves both sheets near the opening; writes the upper one into `upper`."""
    lens = np.concatenate([opening.upper_arc, opening.lower_arc])
    low = np.floor((lens.min(0) - 12) / CELL_PX).astype(int)
    high = np.ceil((lens.max(0) + 12) / CELL_PX).astype(int)
    box = Box(int(low[1]), int(low[0]), int(high[1] - low[1]), int(high[0] - low[0]))
    local = Box(box.top - face.top, box.left - face.left, box.height, box.width)
    border = local.cut(upper).reshape(-1, box.height, box.width).transpose(1, 2, 0)
    is_mouth = opening.name == "mouth"
    below, above = opening.skin_below(), opening.skin_above()
    near = np.flatnonzero(skin.facing & ~_outside(skin.px, box))
    in_below, in_above = inside(skin.px[near], below), inside(skin.px[near], above)
    if is_mouth:
        in_lens = in_below | in_above
        in_below, in_above = in_lens & skin.lower_lip[near], in_lens & ~skin.lower_lip[near]
    sheets = []
    for ids, line, left_out in (
        (opening.upper_marks, opening.upper, in_below),
        (opening.lower_marks, opening.lower, in_above),
    ):
        contour = _contour_motion(skin, rig, ids, opening.knots)
        used = near[~left_out]
        points = np.concatenate([skin.px[used], line])
        values = np.concatenate([skin.motion[:, used], contour], 1).transpose(1, 0, 2).reshape(len(points), -1)
        weight = np.r_[np.ones(len(used)), np.full(len(line), 8.0)].astype(np.float32)
        solved = stretch_membrane(
            _in_cells(points, box, CELL_PX), values, weight, (box.height, box.width), stiffness=0.12, border=border
        )
        sheets.append((solved.transpose(2, 0, 1).reshape(-1, 3, box.height, box.width), contour))
    (upper_sheet, upper_contour), (lower_sheet, lower_contour) = sheets
    local.cut(upper)[...] = upper_sheet
    depth_cm = float(np.median(skin.depth[near]))
    px_per_cm = FOCAL * SIZE_PX / 2 / depth_cm
    down = np.array([-opening.along[1], opening.along[0]]) * [1, -1]  # picture down -> camera axes
    at = np.round(opening.knots * (CONTOUR_POINTS - 1)).astype(int)
    upper_px = (upper_contour[:, at, :2] @ down * px_per_cm).astype(np.float32)
    lower_px = (lower_contour[:, at, :2] @ down * px_per_cm).astype(np.float32)
    upper_bumps, lower_bumps, follow_bumps = _bumps(opening, box)
    if not is_mouth:
        _close_lid(opening, local, upper, upper_px, lower_px, upper_bumps, 1 / px_per_cm)
    bumps = (upper_bumps, lower_bumps, follow_bumps)
    return Window(opening, box, lower_sheet.copy(), *bumps, upper_px, lower_px, 1 / px_per_cm)


def _outside(px: Array, box: Box) -> NDArray[np.bool_]:
    low = np.array([box.left, box.top]) * CELL_PX
    high = low + np.array([box.width, box.height]) * CELL_PX
    return np.asarray(((px < low) | (px > high)).any(1))


def _contour_motion(skin: Skin, rig: RigShape, ids: tuple[int, ...], knots: Array) -> Array:
    """[53, 49, 3] motion along a contour, between its landmarks."""
    at = skin.motion[:, rig.landmark_vertex[list(ids)]]  # [53, K, 3]
    t = np.linspace(0, 1, CONTOUR_POINTS)
    right = np.clip(np.searchsorted(knots, t), 1, len(knots) - 1)
    f = ((t - knots[right - 1]) / (knots[right] - knots[right - 1]))[None, :, None]
    return np.asarray(at[:, right - 1] * (1 - f) + at[:, right] * f, np.float32)


def _bumps(opening: Opening, box: Box) -> tuple[Array, Array, Array]:
    """Of the upper and the lower sheet [K, h, w]: 1 on the sheet's contour at knot k, zero at both corners. The third
    is what the upper sheet takes of the lower contour's shift, so that both agree below the lens.

    On the sheet's own skin the shift fades softly across the lip or lid; in the lens beyond its contour, where the
    sheet is transparent, it fades evenly, so that nothing folds.
    """
    y, x = np.mgrid[0 : box.height, 0 : box.width].astype(np.float32)
    px = np.stack([x + box.left, y + box.top], -1) * CELL_PX + CELL_PX / 2
    relative = px - opening.upper[0]
    down = np.array([-opening.along[1], opening.along[0]], np.float32)
    s, d = relative @ opening.along / opening.width_px, relative @ down
    t = np.linspace(0, 1, CONTOUR_POINTS)
    upper, lower, upper_arc, lower_arc = (
        np.interp(s, t, (line - opening.upper[0]) @ down)
        for line in (opening.upper, opening.lower, opening.upper_arc, opening.lower_arc)
    )
    mouth = opening.name == "mouth"
    upper_stiff, upper_reach = (0.10, 0.22) if mouth else (0.0, 0.30)  # the lips move as a whole, so that they
    lower_stiff, lower_reach = (0.18, 0.32) if mouth else (0.0, 0.30)  # don't swell; the skin around them gives

    def share(beyond: Array, stiff: float, reach: float) -> Array:
        return np.asarray(np.exp(-((np.maximum(beyond / opening.width_px - stiff, 0) / reach) ** 2)), np.float32)

    upper_share = np.where(
        d < upper, share(upper - d, upper_stiff, upper_reach), (lower_arc - d) / np.maximum(lower_arc - upper, 1)
    )
    lower_share = np.where(
        d > lower, share(d - lower, lower_stiff, lower_reach), (d - upper_arc) / np.maximum(lower - upper_arc, 1)
    )
    tents = np.stack([np.interp(s, opening.knots, row) for row in np.eye(len(opening.knots))])
    tents[[0, -1]] = 0
    tents = tents * ((s > 0) & (s < 1))
    ramp = np.clip((d - upper) / np.maximum(lower_arc - upper, 1), 0, 1)
    follow = share(np.maximum(d, lower_arc) - lower, lower_stiff, lower_reach) * ramp
    upper_bumps, lower_bumps, follow_bumps = (
        np.asarray(tents * np.clip(part, 0, 1), np.float32) for part in (upper_share, lower_share, follow)
    )
    return upper_bumps, lower_bumps, follow_bumps


def _close_lid(
    opening: Opening, local: Box, upper: Array, upper_px: Array, lower_px: Array, bumps: Array, cm_per_px: float
) -> None:
    """Make eyeBlink 1 bring the upper lid exactly onto the lower one, in the field and in its table."""
    gap = opening.gap_px()
    side = "R" if opening.name == "eye_left" else "L"  # the picture's left is the person's right
    axis = EXPRESSION_INDEX[f"eyeBlink_{side}"]
    missing = gap + lower_px[axis] - upper_px[axis]
    missing[[0, -1]] = 0
    shift_cm = np.tensordot(missing, bumps, 1) * cm_per_px
    field = local.cut(upper)[axis]
    field[0] += shift_cm * -opening.along[1]
    field[1] -= shift_cm * opening.along[0]
    upper_px[axis] += missing
