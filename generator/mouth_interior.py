"""What shows between the lips: inner lips and tongue, lower teeth with the jaw, upper teeth with the head.

Between the lips of talking people it is seldom black: measured on six GRID talkers, a slit has 0.6 to 0.7 of the red
and 0.5 to 0.6 of the green and blue of the lips, and an opening of a tenth of the face's width about 0.75 of the red.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from generator.box_mean import box_mean
from generator.face_state import FaceState, MouthState, OpeningState
from generator.head_motion import HeadMotion, move_points, project
from generator.working_picture import CELL_PX

TEETH_DARKEST, OWN_DARKEST = 0.35, 0.75  # light on teeth in the narrowest gap; the portrait's own were seen in one


def draw_mouth(face: FaceState, weights: Tensor, motion: HeadMotion, target: Tensor, opening: Tensor) -> Tensor:
    """[N, 3, h, w] 0..255 at frame pixels `target` [N, 2, h, w]; opening [N, 1, h, w]: 1 where neither sheet of skin
    covers."""
    mouth = face.mouth_interior
    near = box_mean(opening, 3)
    shade = _occlusion(opening, near)
    picture = mouth.flesh[:, None, None] * _depth(opening, near)
    light = (TEETH_DARKEST + (1 - TEETH_DARKEST) * shade) ** mouth.depth_tint[:, None, None]
    lower_cm = mouth.lower_cm + weights @ mouth.lower_motion  # [N, 3]
    lower = _place(mouth.lower_teeth, lower_cm, mouth.axes, mouth.cm_per_px, motion, target)
    upper = _place(mouth.upper_teeth, mouth.upper_cm[None], mouth.axes, mouth.cm_per_px, motion, target)
    lower, upper = lower * shade, upper * shade  # in a narrow gap teeth blend with the wet lips around them
    picture = picture * (1 - lower[:, 3:]) + lower[:, :3] * light * 0.80
    if mouth.own is None:
        return picture * (1 - upper[:, 3:]) + upper[:, :3] * light
    own = _place_own(face.mouth, mouth, motion, target)
    upper = upper * (1 - own[:, 4:])
    picture = picture * (1 - upper[:, 3:]) + upper[:, :3] * light
    return picture * (1 - own[:, 3:4]) + own[:, :3] * (OWN_DARKEST + (1 - OWN_DARKEST) * shade)


def _depth(opening: Tensor, near: Tensor) -> Tensor:
    """[N, 1, h, w] 0..1: light on inner lips and tongue. Little is lost while the mouth is a slit; the deep of a wide
    open mouth is dark, most under the upper lip. `near`: mean over 7 pixels."""
    under_lip = F.pad(near, (0, 0, 3, 0))[:, :, : near.shape[2]]
    return (0.80 + 0.20 * under_lip) * (1.05 - 0.55 * box_mean(opening, 14))


def _occlusion(opening: Tensor, near: Tensor) -> Tensor:
    """[N, 1, h, w] 0..1: light that reaches the teeth, little near the lips and in a narrow gap, least under the
    upper."""
    under_lip = F.pad(near, (0, 0, 2, 0))[:, :, : near.shape[2]]  # shifted down: dark just below the upper lip
    return (0.12 + 1.05 * box_mean(opening, 7) ** 0.65 * (0.5 + 0.5 * under_lip)).clamp(0, 1)


def _place_own(opening: OpeningState, mouth: MouthState, motion: HeadMotion, target: Tensor) -> Tensor:
    """The portrait's own teeth [5, h, w] at the target pixels [N, 2, H, W] -> [N, 5, H, W]: a flat card."""
    assert mouth.own is not None
    points = torch.stack([mouth.upper_cm, mouth.upper_cm + mouth.axes[0], mouth.upper_cm + mouth.axes[1]])
    rest, now = project(points), move_points(points, motion)
    to_rest = (rest[1:] - rest[:1]).T @ torch.linalg.inv((now[:, 1:] - now[:, :1]).mT)
    corner = torch.tensor([opening.left, opening.top], device=target.device) * CELL_PX
    size = torch.tensor([opening.width, opening.height], device=target.device) * CELL_PX
    return sample_card(mouth.own, to_rest, now[:, 0], target, (rest[0] - corner) * (2 / size) - 1, 2 / size)


def _place(
    sprite: Tensor, centre: Tensor, axes: Tensor, cm_per_px: float, motion: HeadMotion, target: Tensor
) -> Tensor:
    """Premultiplied sprite [4, h, w], a flat card in space at `centre` [1 or N, 3], seen in the target pixels
    [N, 2, H, W] -> [N, 4, H, W]."""
    now = move_points(torch.stack([centre, centre + axes[0], centre + axes[1]], 1), motion)  # [N, 3, 2]
    to_cm = torch.linalg.inv((now[:, 1:] - now[:, :1]).mT)
    half = torch.tensor([sprite.shape[2], sprite.shape[1]], device=sprite.device) * (cm_per_px / 2)
    return sample_card(sprite, to_cm, now[:, 0], target, torch.zeros_like(half), 1 / half)


def sample_card(card: Tensor, turn: Tensor, centre: Tensor, target: Tensor, at: Tensor, unit: Tensor) -> Tensor:
    """[C, H, W], nothing beyond its edges, at (turn [N, 2, 2] (target - centre [N, 2])) * unit + at [2] in -1..1
    -> [N, C, h, w]."""
    turn = turn * unit[:, None]
    moved = at - (turn @ centre[..., None])[..., 0]  # [N, 2]
    where = (turn @ target.flatten(2) + moved[..., None]).view_as(target).permute(0, 2, 3, 1)
    cards = card.expand(len(where), -1, -1, -1)
    return F.grid_sample(cards, where, mode="bilinear", padding_mode="zeros", align_corners=False)
