"""The square working picture of a portrait: one face, head about half as high as the picture.

Coordinates of points are pixels with 0 at the left or top edge of the picture, so that the centre of the first
pixel is at 0.5; this is `grid_sample`'s `align_corners=False`.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

import media
from generator.errors import GeneratorError
from generator.face_landmarks import CHIN, FACE_OVAL, FOREHEAD_TOP

SIZE_PX = 512
CELL_PX = 2  # side of a cell: the fields have one value per cell
TEXTURE_PX = 1024
FACE_HEIGHTS_WIDE = 2.1
MIN_FACE_HEIGHT_PX = 64
MAX_CUT_OFF = 0.04  # of the face's height beyond the picture's edge

Array = NDArray[np.float32]


@dataclass(frozen=True)
class WorkingPicture:
    """texture: float32 [1024, 1024, 3] RGB 0..255; landmarks: float32 [478, 2] in pixels of the 512 picture;
    person: float32 [512, 512] in 0..1, how much of a pixel is the person; crop: left, top and side of the square in
    pixels of the portrait."""

    texture: Array
    landmarks: Array
    person: Array
    crop: tuple[int, int, int] = (0, 0, SIZE_PX)


def take_working_picture(portrait: torch.Tensor, face: int | None = None) -> WorkingPicture:
    """uint8 [3, H, W] RGB -> the crop around its face number `face`, from the left, or its only one.

    Raises `GeneratorError` where there is no face to work with, or several and no choice.
    """
    if portrait.ndim != 3 or portrait.shape[0] != 3 or portrait.dtype != torch.uint8:
        raise GeneratorError(f"a portrait must be uint8 [3, H, W], but is {portrait.dtype} {list(portrait.shape)}")
    landmarks = _chosen_face(portrait, face)
    rgb = portrait.permute(1, 2, 0).contiguous().cpu().numpy()
    side, left, top = square_around(landmarks)
    square = cut_out(rgb, left, top, side)
    how = cv2.INTER_AREA if side > TEXTURE_PX else cv2.INTER_CUBIC
    texture = cv2.resize(square, (TEXTURE_PX, TEXTURE_PX), interpolation=how).astype(np.float32)
    picture = cv2.resize(square, (SIZE_PX, SIZE_PX), interpolation=cv2.INTER_AREA)
    person = media.segment_person(torch.from_numpy(picture).permute(2, 0, 1).contiguous())
    points = (landmarks - np.array([left, top], np.float32)) * (SIZE_PX / side)
    person_mask = person.cpu().numpy().astype(np.float32)
    return WorkingPicture(texture, points.astype(np.float32), person_mask, (left, top, side))


def _chosen_face(portrait: torch.Tensor, number: int | None) -> Array:
    """Landmarks [478, 2] in pixels of the portrait."""
    height, width = portrait.shape[1:]
    if min(height, width) < MIN_FACE_HEIGHT_PX:
        raise GeneratorError(
            f"the portrait is {width}x{height} px, too small; use one whose face is at least"
            f" {MIN_FACE_HEIGHT_PX} px high"
        )
    faces = media.number_faces(portrait)
    if not faces:
        raise GeneratorError(
            f"no face found in the portrait of {width}x{height} px; use a sharp, well lit picture that shows one face"
            " from the front, uncovered and large"
        )
    if (number is None and len(faces) > 1) or (number or 1) > len(faces):
        listed = "; ".join(f"{i} {face.place}" for i, face in enumerate(faces, 1))
        found = f"{len(faces)} faces found" if len(faces) > 1 else "1 face found"
        missing = "" if number is None else f", there is no face {number}"
        raise GeneratorError(
            f"{found} in the portrait{missing}. From left to right: {listed}. Choose with --face 1 to {len(faces)},"
            " or crop the picture"
        )
    face = faces[(number or 1) - 1]
    if face.height_px < MIN_FACE_HEIGHT_PX:
        raise GeneratorError(
            f"the face is {face.height_px:.0f} px high from forehead to chin; at least {MIN_FACE_HEIGHT_PX} px are"
            " needed: use a larger picture or a closer crop"
        )
    landmarks: Array = face.landmarks[:, :2].cpu().numpy().astype(np.float32)
    _check_whole(landmarks, width, height, face.height_px)
    return landmarks


def _check_whole(landmarks: Array, width: int, height: int, face_height: float) -> None:
    """The mesh draws a whole face even where the picture ends or nothing but half a face is there."""
    oval = landmarks[list(FACE_OVAL)]
    beyond = {
        "left": -oval[:, 0].min(),
        "right": oval[:, 0].max() - width,
        "upper": -oval[:, 1].min(),
        "lower": oval[:, 1].max() - height,
    }
    cut = [edge for edge, px in beyond.items() if px > MAX_CUT_OFF * face_height]
    if cut:
        raise GeneratorError(
            f"the face is cut off at the {' and '.join(cut)} edge of the picture; use a portrait that shows the whole"
            " face, from forehead to chin and both cheeks"
        )


def square_around(landmarks: Array) -> tuple[int, int, int]:
    """Side, left and top of the crop in pixels of the portrait."""
    top, chin = landmarks[FOREHEAD_TOP], landmarks[CHIN]
    half = float(np.linalg.norm(top - chin)) * FACE_HEIGHTS_WIDE / 2
    centre = (top + chin) / 2 + np.array([0, -0.04 * half], np.float32)
    return round(2 * half), round(float(centre[0]) - half), round(float(centre[1]) - half)


def cut_out(rgb: NDArray[np.uint8], left: int, top: int, side: int) -> NDArray[np.uint8]:
    """[side, side, 3]; what lies outside the portrait continues its edge, softer with distance."""
    height, width = rgb.shape[:2]
    trim = 1 + round(0.006 * side)  # the outermost pixels of photographs are often frame, scan edge or ringing
    top_in, left_in = (trim if start < 0 else start for start in (top, left))
    bottom_in = height - trim if top + side > height else top + side
    right_in = width - trim if left + side > width else left + side
    inside = rgb[top_in:bottom_in, left_in:right_in]
    above, below = top_in - top, top + side - bottom_in
    before, after = left_in - left, left + side - right_in
    if not any((above, below, before, after)):
        return np.ascontiguousarray(inside)
    wide = np.concatenate([_fade(inside[:, :1], before)[:, ::-1], inside, _fade(inside[:, -1:], after)], 1)
    flip = wide.transpose(1, 0, 2)
    tall = np.concatenate([_fade(flip[:, :1], above)[:, ::-1], flip, _fade(flip[:, -1:], below)], 1)
    return np.ascontiguousarray(tall.transpose(1, 0, 2))


def _fade(edge: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    """Edge column [n, 1, 3] -> [n, count, 3], each copy blurred a little more along the edge."""
    if count == 0:
        return edge[:, :0]
    columns = [_blur_column(edge, 0.35 + 0.22 * step) for step in range(count)]
    return np.concatenate(columns, 1)


def _blur_column(edge: NDArray[np.uint8], sigma: float) -> NDArray[np.uint8]:
    reach = 2 * int(np.ceil(3 * sigma)) + 1
    kernel = cv2.getGaussianKernel(reach, sigma)
    blurred = cv2.sepFilter2D(edge, -1, np.ones((1, 1)), kernel, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(blurred, np.uint8).reshape(edge.shape)
