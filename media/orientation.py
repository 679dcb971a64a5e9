"""The display matrix of a video stream: how the stored picture is turned and mirrored to be shown."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import cast

import av
from av.buffer import Buffer
from torch import Tensor


@dataclass(frozen=True)
class Orientation:
    """One of the eight ways a picture can be stored: transposed first, then mirrored."""

    transpose: bool = False
    flip_horizontal: bool = False
    flip_vertical: bool = False

    @property
    def rotation_deg(self) -> int:
        """Clockwise turn that the stored picture gets for display: 0, 90, 180 or 270."""
        if self.transpose:
            return 90 if self.flip_horizontal else 270
        return 180 if self.flip_vertical else 0

    def shown_size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of the shown picture."""
        return (height, width) if self.transpose else (width, height)

    def apply(self, frame: Tensor) -> Tensor:
        """The shown picture of a stored one, both [C, H, W]."""
        if self.transpose:
            frame = frame.transpose(1, 2)
        axes = [axis for axis, flip in ((1, self.flip_vertical), (2, self.flip_horizontal)) if flip]
        return frame.flip(axes) if axes else frame


def frame_orientation(frame: av.VideoFrame) -> Orientation:
    """The orientation in a frame's display matrix; other angles are rounded to a quarter turn.

    The matrix (ISO/IEC 14496-12, 6.2.2) maps a stored point to x' = a x + c y, y' = b x + d y.
    """
    matrix = cast(Buffer | None, frame.side_data.get("DISPLAYMATRIX"))
    if matrix is None:
        return Orientation()
    a, b, _, c, d = struct.unpack("=5i", bytes(matrix)[:20])
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return Orientation(flip_horizontal=a < 0, flip_vertical=d < 0)
    return Orientation(transpose=True, flip_horizontal=c < 0, flip_vertical=b < 0)
