"""The animated square pasted back into its portrait, at the portrait's own scale.

A frame adds to the still picture what changed: the difference of the drawn square from the working picture, enlarged,
and the portrait's fine detail, which the 512 px square can't hold, carried along by the motion of the skin. Where
nothing moves both are zero, so that there is no seam and background and shoulders keep their bits.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from generator.face_state import PasteState
from generator.working_picture import SIZE_PX

Array = NDArray[np.float32]


def prepare_paste(
    portrait: Tensor, size_px: tuple[int, int], crop: tuple[int, int, int], picture: Array, matte: Array, moves: Array
) -> PasteState:
    """Everything about the paste that no frame changes.

    portrait: uint8 [3, H, W]; crop: left, top, side of the square in its pixels; picture: [512, 512, 3] 0..255;
    matte, moves: [512, 512] 0..1, where the person is and what may change.
    """
    canvas, scale = _scaled(portrait, size_px)
    left, top, side = (edge * scale for edge in crop)
    box = _moving_box(moves, (left, top, side), size_px)
    y, x = np.mgrid[box[1] : box[3], box[0] : box[2]].astype(np.float32) + 0.5
    where = np.stack([(x - left) / side, (y - top) / side], -1) * 2 - 1  # pixels of the picture -> -1..1 of the square

    def enlarged(planes: Array) -> Tensor:
        grid = torch.from_numpy(np.ascontiguousarray(where, np.float32))[None]
        stack = torch.from_numpy(np.ascontiguousarray(planes, np.float32))[None]
        return F.grid_sample(stack, grid, padding_mode="border", align_corners=False)[0]

    inside = torch.from_numpy(canvas[box[1] : box[3], box[0] : box[2]]).permute(2, 0, 1).float()
    detail = inside - enlarged(picture.transpose(2, 0, 1))
    person = cv2.dilate((matte > 0.01).astype(np.float32), np.ones((13, 13)))
    return PasteState(
        canvas=torch.from_numpy(canvas).permute(2, 0, 1).contiguous(),
        box=box,
        where=torch.from_numpy(where.astype(np.float32))[None],
        detail=detail[None].contiguous(),
        behind_detail=detail * (1 - enlarged(person[None])),
        moves=enlarged(moves[None])[0],
        crop=(left, top, side),
    )


def _scaled(portrait: Tensor, size_px: tuple[int, int]) -> tuple[NDArray[np.uint8], float]:
    """uint8 [h, w, 3] of `size_px`, and pixels of it per pixel of the portrait; an odd last row is cut off."""
    width, height = size_px
    rgb = portrait.permute(1, 2, 0).contiguous().cpu().numpy()
    scale = max(width / rgb.shape[1], height / rgb.shape[0])
    if scale > 1 - 2 / max(rgb.shape[:2]):
        return np.ascontiguousarray(rgb[:height, :width]), 1.0
    whole = (max(width, round(rgb.shape[1] * scale)), max(height, round(rgb.shape[0] * scale)))
    return np.ascontiguousarray(cv2.resize(rgb, whole, interpolation=cv2.INTER_AREA)[:height, :width]), scale


def _moving_box(moves: Array, crop: tuple[float, float, float], size_px: tuple[int, int]) -> tuple[int, int, int, int]:
    """Left, top, right, bottom in pixels of the picture around all that can move."""
    left, top, side = crop
    rows, columns = np.flatnonzero(moves.any(1)), np.flatnonzero(moves.any(0))
    k = side / SIZE_PX
    low = np.floor(np.array([columns[0] - 1, rows[0] - 1]) * k + [left, top]).astype(int)
    high = np.ceil(np.array([columns[-1] + 2, rows[-1] + 2]) * k + [left, top]).astype(int)
    x0, y0 = np.clip(low, 0, size_px)
    x1, y1 = np.clip(high, 0, size_px)
    return int(x0), int(y0), int(x1), int(y1)


def paste(state: PasteState, change: Tensor, source: Tensor, skin: Tensor) -> Tensor:
    """uint8 [3, H, W]: the whole portrait with the drawn square in it.

    change: [3, 512, 512] the drawn square less the working picture; source, skin: as of `Warped`.
    """
    left, top, side = state.crop
    x0, y0, x1, y1 = state.box
    layers = torch.cat([change, source, skin[None]])[None]
    layers = F.grid_sample(layers, state.where, mode="bilinear", padding_mode="border", align_corners=False)[0]
    k = side / SIZE_PX
    x = (layers[3] * k + (left - x0)) * (2 / (x1 - x0)) - 1
    y = (layers[4] * k + (top - y0)) * (2 / (y1 - y0)) - 1
    carried = F.grid_sample(
        state.detail, torch.stack([x, y], -1)[None], mode="bilinear", padding_mode="border", align_corners=False
    )[0]
    fine = state.behind_detail + layers[5] * (carried - state.behind_detail)
    out = state.canvas.clone()
    inside = out[:, y0:y1, x0:x1]
    changed = inside + layers[:3] + state.moves * (fine - state.detail[0])
    out[:, y0:y1, x0:x1] = changed.add_(0.5).clamp_(0, 255).to(torch.uint8)
    return out
