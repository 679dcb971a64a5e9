"""Takes the working picture apart: skin with openings, still background, eyeballs."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from generator.face_fields import Box
from generator.face_landmarks import FACE_OVAL, IRIS_CENTRE, IRIS_RIM, LIPS_OUTER_LOWER, LIPS_OUTER_UPPER
from generator.face_openings import Opening, fill
from generator.working_picture import CELL_PX, SIZE_PX, TEXTURE_PX

MIN_TEETH_GAP_PX = 6.0
LIP_LINE = 0.5  # how much darker closed lips are where they meet
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
    """Texture [1024, 1024, C] -> picture [512, 512, C], as sampling it at rest returns."""
    texels = [texture[row::TEXELS, column::TEXELS] for row in range(TEXELS) for column in range(TEXELS)]
    return np.asarray(sum(texels) / TEXELS**2, np.float32)  # six times as fast as `mean` over two short axes


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


def own_teeth(texture: Array, mouth: Opening, box: Box) -> Array | None:
    """[5, h, w] texels over the mouth's `Box`: the upper teeth that an open mouth shows, premultiplied colour and
    alpha, and where it shows none below them. None where it shows too little to tell."""
    between = cut_texels(fill(np.concatenate([mouth.upper, mouth.lower[::-1]]), TEXTURE_PX, TEXELS), box) > 0.5
    within = cv2.erode(between.astype(np.uint8), np.ones((5, 5))) > 0
    if mouth.gap_px().max() < MIN_TEETH_GAP_PX or within.sum() < 300:
        return None
    patch = cut_texels(texture, box).clip(0, 255)
    luma, red = patch.mean(-1), patch[..., 0] / np.maximum(patch[..., 1] + patch[..., 2], 1)
    bright = float(np.percentile(luma[within], 85))
    enamel = within & (luma > 0.62 * bright) & (red < 1.25 * np.median(red[within & (luma > 0.85 * bright)]))
    tooth = cv2.morphologyEx(enamel.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((7, 7))) * within
    if tooth.sum() < 0.35 * within.sum():
        return None
    alpha = cv2.GaussianBlur(cv2.erode(tooth, np.ones((3, 3))).astype(np.float32), (0, 0), 1.0)
    below = within & (tooth == 0) & (np.cumsum(tooth, 0) > 0)
    other = cv2.GaussianBlur(below.astype(np.float32), (0, 0), 1.0)
    layers = np.dstack([patch * alpha[..., None], alpha, other])
    return np.ascontiguousarray(layers.transpose(2, 0, 1), np.float32)


def clean_lips(texture: Array, landmarks: Array, mouth: Opening) -> None:
    """Takes teeth and darkness off the lips' edges, in place, where the landmarks put them on the lip: they would show
    as a pale or dark seam on closed lips."""
    if mouth.gap_px().max() < 2.5:
        return
    down = np.array([-mouth.along[1], mouth.along[0]], np.float32)
    reach = 2.0 + 0.16 * float(mouth.gap_px().max())
    outline = np.concatenate([landmarks[list(LIPS_OUTER_UPPER)], landmarks[list(LIPS_OUTER_LOWER)][::-1]])
    low, high = (np.clip(edge * TEXELS, 0, TEXTURE_PX).astype(int) for edge in (outline.min(0) - 8, outline.max(0) + 8))
    part = np.s_[low[1] : high[1], low[0] : high[0]]
    between, near, lips = (
        fill(polygon, TEXTURE_PX, TEXELS)[part] > 0.5
        for polygon in (
            np.concatenate([mouth.upper, mouth.lower[::-1]]),
            np.concatenate([mouth.upper - reach * down, (mouth.lower + reach * down)[::-1]]),
            outline,
        )
    )
    crop = np.clip(texture[part], 0, 255)
    luma, red = crop.mean(-1), crop[..., 0] / np.maximum(crop[..., 1] + crop[..., 2], 1)
    skin, open_wide = lips & ~near, cv2.erode(between.astype(np.uint8), np.ones((5, 5))) > 0
    if skin.sum() < 50 or open_wide.sum() < 50:
        return
    lip_luma, lip_red = float(np.median(luma[skin])), float(np.median(red[skin]))
    tooth_red = float(np.median(red[open_wide & (luma >= np.percentile(luma[open_wide], 60))]))
    tooth = (red < 0.5 * (lip_red + tooth_red)) & (luma > 0.8 * lip_luma) & (tooth_red < 0.95 * lip_red)
    wrong = near & ~between & (tooth | (luma < 0.55 * lip_luma))
    hole = cv2.dilate((between | wrong).astype(np.uint8), np.ones((5, 3)))
    filled = cv2.inpaint(np.round(crop).astype(np.uint8), hole, 5, cv2.INPAINT_TELEA)
    soft = cv2.GaussianBlur(hole.astype(np.float32), (0, 0), 1.0)[..., None]
    lips_whole = crop + np.maximum(soft, hole[..., None]) * (filled - crop)
    texture[part] = lips_whole * (1 - LIP_LINE * _edge(mouth)[part][..., None] * np.array([0.85, 1, 1], np.float32))


def _edge(mouth: Opening) -> Array:
    """[1024, 1024] 0..1: the shade where lips meet, a pixel wide along both contours, none at the corners."""
    shade = np.zeros((TEXTURE_PX, TEXTURE_PX), np.float32)
    for line in (mouth.upper, mouth.lower):
        points = np.round((line[2:-2] * TEXELS - 0.5) * 16).astype(np.int32)
        cv2.polylines(shade, [points], False, 1.0, 2, cv2.LINE_8, 4)
    return np.asarray(np.minimum(cv2.GaussianBlur(shade, (0, 0), 1.1) * 1.25, 1), np.float32)


def split_eye(texture: Array, landmarks: Array, opening: Opening, box: Box) -> EyeLayer:
    centre, radius = _iris_circle(landmarks, opening)
    patch = cut_texels(texture, box).astype(np.float32)
    opening_mask = cut_texels(fill(np.concatenate([opening.upper, opening.lower[::-1]]), TEXTURE_PX, TEXELS), box)
    y, x = np.mgrid[0 : patch.shape[0], 0 : patch.shape[1]].astype(np.float32)
    local = (centre - np.array([box.left, box.top]) * CELL_PX) * TEXELS - 0.5
    distance = np.hypot(x - local[0], y - local[1]) / (radius * TEXELS)
    open_inside = cv2.erode(opening_mask, np.ones((3, 3))) > 0.9
    well_inside = cv2.erode(opening_mask, np.ones((5, 3))) > 0.9  # the lids' dark edges are no part of the iris
    shade = _socket_shade(opening, box, distance.shape, radius)
    white = _white_of_eye(patch, open_inside, distance, shade)
    iris = _whole_iris(patch, well_inside, distance, local)
    seen = cv2.GaussianBlur(well_inside.astype(np.float32), (0, 0), 1.0)
    alpha = np.clip((1.06 + 0.14 * seen - distance) / 0.14, 0, 1)  # softer rim where the portrait shows it
    alpha = alpha * alpha * (3 - 2 * alpha)
    white, iris = (np.ascontiguousarray(a.transpose(2, 0, 1), np.float32) for a in (white, iris))
    return EyeLayer(white, iris, alpha[None].astype(np.float32))


def _white_of_eye(patch: Array, inside: NDArray[np.bool_], distance: Array, shade: Array) -> Array:
    """The sclera seen left and right of the iris, continued over the whole eyeball with the shade of a ball in its
    socket. What is as dark as an iris near the iris is one, though the landmarks put it outside."""
    lit = patch / shade[..., None]
    light = lit.mean(-1)
    seen = inside & (distance > 1.25)
    if seen.sum() < 40:
        skin = float(np.median(patch.mean(-1)))
        colour = np.array([1.0, 0.96, 0.93], np.float32) * np.clip(1.1 * skin + 20, 70, 215)
    else:
        colour = lit[seen & (light >= np.percentile(light[seen], 70))].mean(0)
        colour = 0.75 * colour + 0.25 * colour.max()  # less of the skin's and the iris's tint
    ball = colour * shade[..., None]
    true = (seen & ((light > 0.74 * colour.mean()) | (distance > 2.1))).astype(np.float32)
    off = _push_pull((patch - ball) * true[..., None], true)  # what the ball misses, carried in from its border
    ball = ball * np.clip(1 + off / np.maximum(ball, 1), 0.8, 1.15)
    keep = cv2.GaussianBlur(cv2.erode(true, np.ones((3, 3))), (0, 0), 1.0)[..., None] * true[..., None]
    return np.asarray(keep * patch + (1 - keep) * cv2.GaussianBlur(ball, (0, 0), 1.2), np.float32)


def _socket_shade(opening: Opening, box: Box, shape: tuple[int, int], radius_px: float) -> Array:
    """[h, w] 0..1 on texels: light on an eyeball, less under the upper lid and towards the corners."""
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
    px = np.stack([x, y], -1) / TEXELS + np.array([box.left, box.top], np.float32) * CELL_PX
    down = np.array([-opening.along[1], opening.along[0]], np.float32)
    relative = px - opening.upper[0]
    s, d = relative @ opening.along / opening.width_px, relative @ down
    t = np.linspace(0, 1, len(opening.upper))
    below_lid = d - np.interp(s, t, (opening.upper - opening.upper[0]) @ down)
    lid = 1 - 0.36 * np.exp(-np.maximum(below_lid, 0) / (0.5 * radius_px))
    aside = np.clip((np.abs(2 * s - 1) - 0.35) / 0.65, 0, 1)
    return np.asarray(lid * (1 - 0.30 * aside**1.5), np.float32)


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
