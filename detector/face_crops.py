"""The one rule by which a face becomes network input: square, 1.4 times the face box, 160 px, mirrored at the border.

Training pairs, calibration and every scan use this rule, so that framing can never tell the classes apart.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from media import find_faces

CROP_FACTOR = 1.4
CROP_PX = 160

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class FaceCrop:
    """One face of one frame."""

    box: Box  # x0, y0, x1, y1 of the face in pixels of the frame
    pixels: Tensor  # uint8 [3, CROP_PX, CROP_PX] RGB

    @property
    def face_px(self) -> float:
        """Longer side of the face box in pixels of the frame, before any resizing."""
        return max(self.box[2] - self.box[0], self.box[3] - self.box[1])


def square_around(box: Box, factor: float = CROP_FACTOR) -> tuple[float, float, float]:
    """Left, top and side of the square with the box's centre and `factor` times its longer side, in pixels."""
    side = factor * max(box[2] - box[0], box[3] - box[1])
    return (box[0] + box[2] - side) / 2, (box[1] + box[3] - side) / 2, side


def crop_square(frame: Tensor, box: Box, *, size_px: int = CROP_PX) -> Tensor:
    """uint8 [3, H, W] and a face box -> uint8 [3, size_px, size_px], averaged when reduced, mirrored at the border."""
    left, top, side = square_around(box)
    x0, y0, side_px = round(left), round(top), max(2, round(side))
    height, width = frame.shape[-2:]
    rows = _mirrored(torch.arange(y0, y0 + side_px), height)
    columns = _mirrored(torch.arange(x0, x0 + side_px), width)
    cut = frame[:, rows][:, :, columns].float()[None]
    resized = F.interpolate(cut, size=(size_px, size_px), mode="bilinear", antialias=True, align_corners=False)
    return resized[0].round().clamp(0, 255).to(torch.uint8)


def _mirrored(index: Tensor, length: int) -> Tensor:
    """Indices outside 0..length-1 reflected into it."""
    period = 2 * length
    folded = index.remainder(period)
    return torch.where(folded < length, folded, period - 1 - folded)


def face_crops(frame: Tensor, *, max_faces: int = 4) -> list[FaceCrop]:
    """Every face of a frame uint8 [3, H, W], large to small."""
    return [FaceCrop(face.box, crop_square(frame, face.box)) for face in find_faces(frame, max_faces=max_faces)]
