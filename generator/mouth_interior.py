"""What shows between the lips: a dark cavity, lower teeth with the jaw, upper teeth with the head."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from generator.face_state import FaceState
from generator.head_motion import HeadMotion, move_points
from generator.warp import pixel_centres


def draw_mouth(
    face: FaceState, weights: Tensor, motion: HeadMotion, window: tuple[int, int, int, int], opening: Tensor
) -> Tensor:
    """[3, h, w] 0..255 in a window of the frame; opening [h, w]: 1 where neither sheet of skin covers."""
    mouth = face.mouth_interior
    target = pixel_centres(window, opening.device)
    shade = _occlusion(opening)
    picture = mouth.cavity[:, None, None] * (0.35 + 0.65 * shade)
    light = shade ** torch.tensor([0.92, 1.15, 1.25], device=shade.device)[:, None, None]  # red with depth
    lower_cm = mouth.lower_cm + weights @ mouth.lower_motion
    for sprite, centre, gain in ((mouth.lower_teeth, lower_cm, 0.80), (mouth.upper_teeth, mouth.upper_cm, 1.0)):
        layer = _place(sprite, centre, mouth.axes, mouth.cm_per_px, motion, target)
        picture = picture * (1 - layer[3]) + layer[:3] * light * gain
    return picture


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
