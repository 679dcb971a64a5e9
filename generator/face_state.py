"""One portrait, encoded once: everything that rendering a frame needs, as tensors on one device."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from generator.warp import blend
from generator.working_picture import CELL_PX, SIZE_PX

Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels of the square."""


@dataclass(frozen=True)
class OpeningState:
    """An eye or the mouth. Cells are 2 px; K knots lie along its contours."""

    name: str
    top: int  # cells
    left: int
    height: int
    width: int
    lower: Tensor  # [53, 3, h, w] cm: motion of the lower sheet of skin
    upper_bumps: Tensor  # [K, h, w]
    lower_bumps: Tensor  # [K, h, w]
    follow_bumps: Tensor  # [K, h, w], of the upper sheet, for shifts of the lower contour
    upper_down_px: Tensor  # [53, K]
    lower_down_px: Tensor  # [53, K]
    gap_px: Tensor  # [K] in the portrait
    down: tuple[float, float]  # unit vector across the opening, picture axes
    cm_per_px: float
    centre_px: tuple[float, float]


@dataclass(frozen=True)
class EyeState:
    """Texel windows over the eye's opening; positions in cm, camera space."""

    white: Tensor  # [3, H, W] 0..255
    iris: Tensor  # [4, H, W] colour 0..255 and alpha 0..1
    eyeball_cm: Tensor  # [3]
    radius_cm: float
    gaze_deg: tuple[float, float]  # yaw, pitch of the portrait's gaze
    reach_px: tuple[float, float]  # how far the iris can go to the left (negative) and right before it is a corner


@dataclass(frozen=True)
class MouthState:
    """Teeth sprites in space."""

    upper_teeth: Tensor  # [4, h, w] colour 0..255, alpha 0..1; premultiplied
    lower_teeth: Tensor  # [4, h, w]
    upper_cm: Tensor  # [3] centre, camera space
    lower_cm: Tensor  # [3]
    lower_motion: Tensor  # [53, 3] cm
    axes: Tensor  # [2, 3] the sprites' right and down, camera space
    cm_per_px: float
    flesh: Tensor  # [3] colour 0..255 of inner lips and tongue
    depth_tint: Tensor  # [3] exponents: light between the lips reddens with depth, but not on a grey picture
    own: Tensor | None  # [5, H, W] texels over the mouth's opening: the portrait's own upper teeth, premultiplied
    # colour and alpha, and where it shows none; None where its lips are closed


@dataclass(frozen=True)
class PasteState:
    """The whole portrait around the animated square, see `paste_back`. B = height x width of `box`."""

    canvas: Tensor  # uint8 [3, H, W]
    box: tuple[int, int, int, int]  # left, top, right, bottom in the canvas: all that can move
    where: Tensor  # [1, B, 2] -1..1 in the square
    detail: Tensor  # [1, 3, B] what the square is too coarse for
    behind_detail: Tensor  # [3, B] the same without the person
    moves: Tensor  # [B]
    crop: tuple[float, float, float]  # left, top, side of the square in the canvas

    def to(self, device: torch.device) -> PasteState:
        """The same on another device."""
        tensors = (self.canvas, self.where, self.detail, self.behind_detail, self.moves)
        canvas, where, detail, behind, moves = (tensor.to(device) for tensor in tensors)
        return PasteState(canvas, self.box, where, detail, behind, moves, self.crop)


@dataclass(frozen=True)
class FaceCodes:
    """canonical: [1, 16, 8, 24, 24] appearance in the head's own axes; identity: [1, 64] unit vector; dynamics:
    [1, 48] of the portrait as it is; rest_light: [1, 3, 32, 32], what the decoder adds to the portrait at rest, which
    is taken off every frame: where nothing moves, nothing is added."""

    canonical: Tensor
    identity: Tensor
    dynamics: Tensor
    rest_light: Tensor | None


@dataclass(frozen=True)
class FaceState:
    """Opaque to callers: `Renderer.encode` makes it, `Renderer.render` reads it."""

    size_px: tuple[int, int]  # width and height of its frames
    picture: Tensor  # [3, 512, 512] 0..255
    background: Tensor  # [3, 512, 512] without the person
    still_skin: Tensor  # [4, 512, 512] colour and alpha of the upper sheet at rest
    moving_cells: Tensor  # bool [256, 256] cells of the person that the head's motion reaches
    upper_texture: Tensor  # [1, 4, 1024, 1024] colour and alpha of the upper sheet
    lower_texture: Tensor  # [1, 5, 1024, 1024] colour, alpha of the lower sheet, where it is needed
    position: Tensor  # [3, 256, 256] cm, camera space
    turn_weight: Tensor  # [256, 256]
    move_weight: Tensor  # [256, 256]
    moves: Tensor  # [512, 512] 0 = a pixel that nothing can change, 1 = drawn anew in every frame
    upper: Tensor  # [53, 3 * h * w] cm: motion of the upper sheet
    face_box: tuple[int, int, int, int]  # top, left, height, width in cells
    pivot: Tensor  # [3] cm: the head turns about it
    turn: Tensor  # [3, 3] of the head in the portrait, to camera axes
    face_width_px: float
    rest_expression: Tensor  # [53] of the portrait
    eyes: tuple[OpeningState, OpeningState]
    eye_layers: tuple[EyeState, EyeState]
    mouth: OpeningState
    mouth_interior: MouthState
    paste: PasteState | None  # None: the square itself is the frame
    codes: FaceCodes | None = None  # of the networks, where the checkpoint has them

    @cached_property
    def still_colours(self) -> Tensor:
        """[3, 512, 512] 0..255: the portrait drawn at rest."""
        return blend(self.background, self.still_skin[:3], self.still_skin[3])

    @cached_property
    def still_frame(self) -> Tensor:
        """uint8 [3, 512, 512]: what a frame is where nothing has changed."""
        still = blend(self.picture, self.still_colours, self.moves)
        return still.add_(0.5).clamp_(0, 255).to(torch.uint8)

    @cached_property
    def moving_px(self) -> tuple[Tensor, Tensor]:
        """[2] each: the least and the largest x, y of `moving_cells` at rest, in pixels."""
        rows, columns = self.moving_cells.nonzero().unbind(1)
        centres = torch.stack([columns, rows]) * CELL_PX + CELL_PX / 2
        return centres.amin(1), centres.amax(1)

    @cached_property
    def moving_box(self) -> Box:
        """In pixels, multiples of 16: cells beyond it stay where they are."""
        low, high = (part.tolist() for part in self.moving_px)
        top, left, height, width = self.face_box
        first = [min(low[0], left * CELL_PX), min(low[1], top * CELL_PX)]
        last = [max(high[0], (left + width) * CELL_PX), max(high[1], (top + height) * CELL_PX)]
        x0, y0 = (max(int(edge) - 32, 0) // 16 * 16 for edge in first)
        x1, y1 = (min(int(edge) + 47, SIZE_PX) // 16 * 16 for edge in last)
        return x0, y0, x1, y1
