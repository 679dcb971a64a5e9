"""What shows between the lips: inner lips and tongue, lower teeth with the jaw, upper teeth with the head.

Between the lips of talking people it is seldom black: measured on six GRID talkers, a slit has 0.6 to 0.7 of the red
and 0.5 to 0.6 of the green and blue of the lips, and an opening of a tenth of the face's width about 0.75 of the red.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from generator.face_state import FaceState, MouthState, OpeningState
from generator.head_motion import HeadMotion, move_points
from generator.warp import pixel_centres
from generator.working_picture import CELL_PX

TEETH_DARKEST, OWN_DARKEST = 0.35, 0.75  # light on teeth in the narrowest gap; the portrait's own were seen in one


def draw_mouth(
    face: FaceState, weights: Tensor, motion: HeadMotion, window: tuple[int, int, int, int], opening: Tensor
) -> Tensor:
    """[3, h, w] 0..255 in a window of the frame; opening [h, w]: 1 where neither sheet of skin covers."""
    mouth = face.mouth_interior
    target = pixel_centres(window, opening.device)
    shade = _occlusion(opening)
    picture = mouth.flesh[:, None, None] * _depth(opening)
    light = (TEETH_DARKEST + (1 - TEETH_DARKEST) * shade) ** mouth.depth_tint[:, None, None]
    lower_cm = mouth.lower_cm + weights @ mouth.lower_motion
    lower = _place(mouth.lower_teeth, lower_cm, mouth.axes, mouth.cm_per_px, motion, target)
    upper = _place(mouth.upper_teeth, mouth.upper_cm, mouth.axes, mouth.cm_per_px, motion, target)
    lower, upper = lower * shade, upper * shade  # in a narrow gap teeth blend with the wet lips around them
    picture = picture * (1 - lower[3]) + lower[:3] * light * 0.80
    if mouth.own is None:
        return picture * (1 - upper[3]) + upper[:3] * light
    own = _place_own(face.mouth, mouth, motion, target)
    upper = upper * (1 - own[4])
    picture = picture * (1 - upper[3]) + upper[:3] * light
    return picture * (1 - own[3]) + own[:3] * (OWN_DARKEST + (1 - OWN_DARKEST) * shade)


def _depth(opening: Tensor) -> Tensor:
    """[h, w] 0..1: light on inner lips and tongue. Little is lost while the mouth is a slit; the deep of a wide open
    mouth is dark, most under the upper lip."""
    wide, near = _box_mean(opening, 14), _box_mean(opening, 3)
    under_lip = F.pad(near, (0, 0, 3, 0))[: near.shape[0]]
    return (0.80 + 0.20 * under_lip) * (1.05 - 0.55 * wide)


def _occlusion(opening: Tensor) -> Tensor:
    """[h, w] 0..1: light that reaches the teeth, little near the lips and in a narrow gap, least under the upper."""
    wide, near = _box_mean(opening, 7), _box_mean(opening, 3)
    under_lip = F.pad(near, (0, 0, 2, 0))[: near.shape[0]]  # shifted down: dark just below the upper lip
    return (0.12 + 1.05 * wide**0.65 * (0.5 + 0.5 * under_lip)).clamp(0, 1)


def _box_mean(field: Tensor, reach: int) -> Tensor:
    """Mean over 2 reach + 1 pixels in both directions."""
    width = 2 * reach + 1
    along = F.avg_pool2d(field[None, None], (1, width), stride=1, padding=(0, reach))
    return F.avg_pool2d(along, (width, 1), stride=1, padding=(reach, 0))[0, 0]


def _place_own(opening: OpeningState, mouth: MouthState, motion: HeadMotion, target: Tensor) -> Tensor:
    """The portrait's own teeth [5, h, w] in the target pixels [2, H, W] -> [5, H, W]: a flat card, as `_place`."""
    assert mouth.own is not None
    points = torch.stack([mouth.upper_cm, mouth.upper_cm + mouth.axes[0], mouth.upper_cm + mouth.axes[1]])
    rest, now = motion.project(points), move_points(points, motion)
    to_rest = (rest[1:] - rest[:1]).T @ torch.linalg.inv((now[1:] - now[:1]).T)
    corner = torch.tensor([opening.left, opening.top], device=target.device) * CELL_PX
    at = torch.einsum("ij,jhw->ihw", to_rest, target - now[0][:, None, None]) + (rest[0] - corner)[:, None, None]
    size = torch.tensor([opening.width, opening.height], device=target.device) * CELL_PX
    where = (at * (2 / size)[:, None, None] - 1).permute(1, 2, 0)[None]
    return F.grid_sample(mouth.own[None], where, mode="bilinear", padding_mode="zeros", align_corners=False)[0]


def _place(
    sprite: Tensor, centre: Tensor, axes: Tensor, cm_per_px: float, motion: HeadMotion, target: Tensor
) -> Tensor:
    """Premultiplied sprite [4, h, w], a flat card in space, seen in the target pixels [2, H, W] -> [4, H, W]."""
    now = move_points(torch.stack([centre, centre + axes[0], centre + axes[1]]), motion)
    to_cm = torch.linalg.inv((now[1:] - now[:1]).T)
    cm = torch.einsum("ij,jhw->ihw", to_cm, target - now[0][:, None, None])
    half = torch.tensor([sprite.shape[2], sprite.shape[1]], device=sprite.device) * (cm_per_px / 2)
    where = (cm / half[:, None, None]).permute(1, 2, 0)[None]
    return F.grid_sample(sprite[None], where, mode="bilinear", padding_mode="zeros", align_corners=False)[0]
