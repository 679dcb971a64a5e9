"""Takes the working picture apart: skin with openings, still background, eyeballs."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from generator.face_fields import Box
from generator.face_landmarks import FACE_OVAL, IRIS_CENTRE, IRIS_RIM
from generator.face_openings import Opening, fill
from generator.working_picture import CELL_PX, SIZE_PX, TEXTURE_PX

TEXELS = TEXTURE_PX // SIZE_PX  # per pixel
Array = NDArray[np.float32]


@dataclass(frozen=True)
class EyeLayer:
    """Texel windows [3, h, w] over the eye's `Box`; colours 0..255.

    white: the eyeball without its iris, continued under the lids; iris: its picture, whole, also under the lids;
    iris_alpha: [1, h, w].
    """

    white: Array
    iris: Array
    iris_alpha: Array


def whole_pixels(texture: Array) -> Array:
    """Texture [1024, 1024, 3] -> picture [512, 512, 3] uint8-valued, as sampling it at rest returns."""
    return np.asarray(texture.reshape(SIZE_PX, TEXELS, SIZE_PX, TEXELS, 3).mean((1, 3)), np.float32)


def snap_to_bytes(texture: Array) -> Array:
    """Shift texels so that their mean over each pixel is a whole number: at rest, frames equal the picture."""
    picture = whole_pixels(texture)
    shift = np.round(np.clip(picture, 0, 255)) - picture
    return np.asarray(texture + np.repeat(np.repeat(shift, TEXELS, 0), TEXELS, 1), np.float32)


def refine_matte(person: Array, picture: Array, landmarks: Array) -> Array:
    """Person mask [512, 512] -> soft matte that follows the edges of the picture; the face is always inside."""
    mask = np.clip((person - 0.25) / 0.5, 0, 1)
    face = fill(cv2.convexHull(landmarks[list(FACE_OVAL)])[:, 0], SIZE_PX, 1.0)
    mask = np.maximum(mask, face)
    fine = np.clip(_guided(picture / 255, mask, 9, 1e-3), 0, 1)
    rim = np.ones((17, 17))
    band = cv2.GaussianBlur(cv2.dilate(mask, rim) - cv2.erode(mask, rim), (0, 0), 2).clip(0, 1)
    matte = np.maximum(mask + band * (fine - mask), cv2.erode(face, np.ones((9, 9))))
    matte = np.clip((matte - 0.10) / 0.76, 0, 1)
    return np.asarray(matte * matte * (3 - 2 * matte), np.float32)


def _guided(guide: Array, mask: Array, radius: int, eps: float) -> Array:
    """Guided filter with a colour guide [h, w, 3] (He, Sun, Tang 2013, section 3.5)."""
    size = (2 * radius + 1,) * 2

    def mean(a: Array) -> Array:
        return np.asarray(cv2.blur(a, size, borderType=cv2.BORDER_REFLECT), np.float64)

    centred = guide.astype(np.float64) - guide.mean((0, 1))
    mean_guide, mean_mask = mean(centred), mean(mask.astype(np.float64))
    products = centred[..., :, None] * centred[..., None, :]
    covariance = mean(products.reshape(*mask.shape, 9)[..., :4]), mean(products.reshape(*mask.shape, 9)[..., 4:8])
    last = mean(products[..., 2, 2])
    square = np.concatenate([*covariance, last[..., None]], -1).reshape(*mask.shape, 3, 3)
    square = square - mean_guide[..., :, None] * mean_guide[..., None, :] + eps * np.eye(3)
    cross = mean(centred * mask[..., None]) - mean_guide * mean_mask[..., None]
    slope = np.linalg.solve(square, cross[..., None])[..., 0]
    offset = mean_mask - (slope * mean_guide).sum(-1)
    return np.asarray((mean(slope) * centred).sum(-1) + mean(offset), np.float32)


def fill_behind(picture: Array, matte: Array) -> Array:
    """The picture with the person taken out: colours from around, smoother the farther in (push-pull)."""
    unknown = cv2.dilate((matte > 0.01).astype(np.uint8), np.ones((13, 13)))
    known = (1 - unknown).astype(np.float32)
    if known.sum() < 64:
        known[0] = 1
    filled = _push_pull(picture * known[..., None], known)
    return np.asarray(np.where(unknown[..., None] > 0, filled, picture), np.float32)


def _push_pull(colour: Array, weight: Array) -> Array:
    """colour is premultiplied by weight; returns colour everywhere."""
    if min(weight.shape) <= 2:
        return np.asarray(colour / np.maximum(weight[..., None], 1e-6), np.float32)
    size = ((weight.shape[1] + 1) // 2, (weight.shape[0] + 1) // 2)
    half_colour = cv2.resize(cv2.GaussianBlur(colour, (5, 5), 1), size, interpolation=cv2.INTER_AREA)
    half_weight = cv2.resize(cv2.GaussianBlur(weight, (5, 5), 1), size, interpolation=cv2.INTER_AREA)
    gain = 1 / np.maximum(half_weight, 1e-6)
    gain = np.where(half_weight > 1e-6, np.minimum(gain, 1 / np.maximum(half_weight, 0.5)), 0)
    coarse = _push_pull(half_colour * gain[..., None], half_weight * gain)
    up = cv2.resize(coarse, (weight.shape[1], weight.shape[0]), interpolation=cv2.INTER_CUBIC)
    return np.asarray(colour + up * (1 - weight[..., None]), np.float32)


def skin_alphas(matte: Array, openings: tuple[Opening, ...]) -> tuple[Array, Array, Array]:
    """[1024, 1024] each: of the upper sheet (times the matte), of the lower sheet, and of the lenses, which is
    where the lower sheet is needed at all."""
    upper = cv2.resize(matte, (TEXTURE_PX, TEXTURE_PX), interpolation=cv2.INTER_LINEAR)
    lower, lenses = np.ones_like(upper), np.zeros_like(upper)
    for opening in openings:
        mouth = opening.name == "mouth"
        overhang_px = 0.0 if mouth else 0.05 * float(opening.gap_px().max())  # lashes stay with the upper lid
        tuck_px = 1.5 if mouth else 0.5  # the lower sheet runs on under the upper one
        down = np.array([-opening.along[1], opening.along[0]], np.float32)
        hole = np.concatenate([opening.upper + overhang_px * down, opening.lower_arc[::-1]])
        upper = upper * (1 - fill(hole, TEXTURE_PX, TEXELS, soft_px=0.7))
        hole = np.concatenate([opening.upper_arc, (opening.lower - tuck_px * down)[::-1]])
        lower = lower * (1 - fill(hole, TEXTURE_PX, TEXELS, soft_px=0.7))
        lens = fill(np.concatenate([opening.upper_arc, opening.lower_arc[::-1]]), TEXTURE_PX, TEXELS)
        lenses = np.maximum(lenses, cv2.dilate(lens, np.ones((9, 9))))
    return upper, lower, cv2.GaussianBlur(lenses, (0, 0), 1.5)


def cut_texels(texture: Array, box: Box) -> Array:
    """[h, w, ...] texels of a box of cells."""
    k = CELL_PX * TEXELS
    return texture[box.top * k : (box.top + box.height) * k, box.left * k : (box.left + box.width) * k]


def _iris_circle(landmarks: Array, opening: Opening) -> tuple[Array, float]:
    """Centre [2] and radius, px."""
    which = 0 if opening.name == "eye_left" else 1
    centre = landmarks[IRIS_CENTRE[which]]
    return centre, float(np.mean(np.linalg.norm(landmarks[list(IRIS_RIM[which])] - centre, axis=1)))


def clean_lower_lid(texture: Array, landmarks: Array, opening: Opening) -> None:
    """Takes remains of the iris off the lower lid's edge, in place: they would stay behind when the eye turns."""
    centre, radius = _iris_circle(landmarks, opening)
    down = np.array([-opening.along[1], opening.along[0]], np.float32)
    eye = np.concatenate([opening.upper, (opening.lower + 2.5 * down)[::-1]])
    band = fill(eye, TEXTURE_PX, TEXELS)  # down from the upper lid: the filling must not start from the iris itself
    y, x = np.mgrid[0:TEXTURE_PX, 0:TEXTURE_PX].astype(np.float32)
    near = np.hypot(x - centre[0] * TEXELS, y - centre[1] * TEXELS) < 1.35 * radius * TEXELS
    low, high = ((centre + sign * 2.2 * radius) * TEXELS for sign in (-1, 1))
    part = np.s_[max(int(low[1]), 0) : int(high[1]), max(int(low[0]), 0) : int(high[0])]
    crop = np.ascontiguousarray(np.clip(texture[part], 0, 255).astype(np.uint8))
    hole = ((band[part] > 0.5) & near[part]).astype(np.uint8)
    texture[part] = np.where(hole[..., None] > 0, cv2.inpaint(crop, hole, 5, cv2.INPAINT_TELEA), texture[part])


def split_eye(texture: Array, landmarks: Array, opening: Opening, box: Box) -> EyeLayer:
    centre, radius = _iris_circle(landmarks, opening)
    patch = cut_texels(texture, box).astype(np.float32)
    opening_mask = cut_texels(fill(np.concatenate([opening.upper, opening.lower[::-1]]), TEXTURE_PX, TEXELS), box)
    y, x = np.mgrid[0 : patch.shape[0], 0 : patch.shape[1]].astype(np.float32)
    local = (centre - np.array([box.left, box.top]) * CELL_PX) * TEXELS - 0.5
    distance = np.hypot(x - local[0], y - local[1]) / (radius * TEXELS)
    open_inside = cv2.erode(opening_mask, np.ones((3, 3))) > 0.9
    well_inside = cv2.erode(opening_mask, np.ones((5, 3))) > 0.9  # the lids' dark edges are no part of the iris
    white = _white_of_eye(patch, open_inside, distance)
    iris = _whole_iris(patch, well_inside, distance, local)
    seen = cv2.GaussianBlur(well_inside.astype(np.float32), (0, 0), 1.0)
    alpha = np.clip((1.06 + 0.14 * seen - distance) / 0.14, 0, 1)  # softer rim where the portrait shows it
    alpha = alpha * alpha * (3 - 2 * alpha)
    white, iris = (np.ascontiguousarray(a.transpose(2, 0, 1), np.float32) for a in (white, iris))
    return EyeLayer(white, iris, alpha[None].astype(np.float32))


def _white_of_eye(patch: Array, inside: NDArray[np.bool_], distance: Array) -> Array:
    """The sclera seen left and right of the iris, spread over the whole eyeball."""
    seen = (inside & (distance > 1.40)).astype(np.float32)
    if seen.sum() < 40:
        seen = (inside & (distance > 1.2)).astype(np.float32)
    if seen.sum() < 10:
        skin = patch.reshape(-1, 3).mean(0)
        return np.broadcast_to(0.5 * skin + 90, patch.shape).astype(np.float32)
    filled = _push_pull(patch * seen[..., None], seen)
    # evened out and lifted: dark lash pixels must not spread over the eyeball
    bright = np.percentile(patch[seen > 0].reshape(-1, 3), 80, axis=0)
    bright = 0.8 * bright + 0.2 * bright.max()  # a little whiter than narrow, shaded eyes show it
    filled = np.maximum(filled, 0.80 * bright)
    keep = cv2.GaussianBlur(seen, (0, 0), 1.0)[..., None] * seen[..., None]
    return np.asarray(keep * patch + (1 - keep) * cv2.GaussianBlur(filled, (0, 0), 1.5), np.float32)


def _whole_iris(patch: Array, inside: NDArray[np.bool_], distance: Array, centre: Array) -> Array:
    """The iris, with what the lids hide taken from its mirror image and from rings of equal distance."""
    seen = inside & (distance < 1.35)
    rings = np.clip((distance * 12).astype(int), 0, 15)
    ring_colour = np.zeros((16, 3), np.float32)
    overall = patch[seen].mean(0) if seen.any() else np.array([60, 45, 40], np.float32)
    for ring in range(16):
        at = seen & (rings == ring)
        if ring < 12 and at.sum() > 6:  # beyond the rim what is seen may be white of the eye
            ring_colour[ring] = np.percentile(patch[at], 40, axis=0)
        else:
            ring_colour[ring] = ring_colour[ring - 1] if ring else overall
    smooth = np.stack([np.interp(distance * 12 - 0.5, np.arange(16), ring_colour[:, c]) for c in range(3)], -1)
    flip = np.array([[1, 0, 0], [0, -1, 2 * centre[1]]], np.float32)
    size = (patch.shape[1], patch.shape[0])
    mirrored = cv2.warpAffine(patch, flip, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    mirror_seen = cv2.warpAffine(seen.astype(np.float32), flip, size)[..., None]
    hidden = 0.5 * (mirror_seen * mirrored + (1 - mirror_seen) * smooth) + 0.5 * smooth
    keep = cv2.GaussianBlur(cv2.erode(seen.astype(np.float32), np.ones((3, 3))), (0, 0), 1.2)[..., None]
    return np.asarray(keep * patch + (1 - keep) * hidden, np.float32)
