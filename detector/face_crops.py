"""The one rule by which a face becomes network input: square, 1.4 times the face box, 160 px, `media.crop_face`.

Training pairs, calibration and every scan use this rule, so that framing can never tell the classes apart.
"""

from dataclasses import dataclass

from torch import Tensor

from media import crop_face, find_faces

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


def crop_square(frame: Tensor, box: Box) -> Tensor:
    """uint8 [3, H, W] and a face box -> uint8 [3, CROP_PX, CROP_PX], averaged when reduced."""
    return crop_face(frame, box, scale=CROP_FACTOR, side_px=CROP_PX)


def face_crops(frame: Tensor, *, max_faces: int = 4) -> list[FaceCrop]:
    """Every face of a frame uint8 [3, H, W], large to small."""
    return [FaceCrop(face.box, crop_square(frame, face.box)) for face in find_faces(frame, max_faces=max_faces)]
