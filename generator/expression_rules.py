"""What keeps expressions plausible: lids follow the gaze, lids and lips meet exactly and never cross."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from generator.face_state import FaceState, OpeningState
from generator.rig import EXPRESSION_INDEX, EXPRESSION_NAMES

# A portrait that already smiles can't smile a second time: these are limited to what the rest leaves.
_SHARED_WITH_REST = tuple(
    i
    for i, name in enumerate(EXPRESSION_NAMES)
    if name.startswith(("mouthSmile", "mouthDimple", "mouthStretch", "mouthFrown", "cheek", "brow", "eye"))
)
_SMILE = tuple(EXPRESSION_INDEX[f"mouthSmile_{side}"] for side in "LR")
SMILE_KEPT, SMILE_RELAXED = 0.3, 0.5  # of a portrait's smile beyond the first, the second is taken back at rest
LID_OVERLAP_PX = 2.2  # a shut upper lid covers the wet edge of the lower one
LID_FOLLOWS_DOWN_DEG, LID_FOLLOWS_UP_DEG = 23.0, 28.0  # gaze at which eyeLookDown, eyeLookUp reach 1


@dataclass(frozen=True)
class SettledExpression:
    """Of N frames. weights: [N, 53]; shifts: per opening (left eye, right eye, mouth) the upper and the lower contour's
    extra downward shift at its knots, [N, K] pixels each."""

    weights: Tensor
    shifts: tuple[tuple[Tensor, Tensor], ...]


def settle_expression(face: FaceState, expression: Tensor, gaze_deg: Tensor) -> SettledExpression:
    """expression [N, 53], gaze [N, 2] asked for -> weights and contour shifts that are drawn."""
    asked = expression.clamp(0, 1)
    weights = asked.clone()
    index = torch.tensor(_SHARED_WITH_REST, device=weights.device)
    weights[:, index] = torch.minimum(weights[:, index], 1 - face.rest_expression[index])
    smile = torch.tensor(_SMILE, device=weights.device)
    given_back = SMILE_RELAXED * (face.rest_expression[smile] - SMILE_KEPT).clamp(min=0)
    weights[:, smile] = asked[:, smile] * (1 - face.rest_expression[smile] + given_back) - given_back
    pitch = gaze_deg[:, 1] - face.eye_layers[0].gaze_deg[1]
    for name, amount in (("Down", pitch / LID_FOLLOWS_DOWN_DEG), ("Up", -pitch / LID_FOLLOWS_UP_DEG)):
        for side in "LR":
            axis = EXPRESSION_INDEX[f"eyeLook{name}_{side}"]
            weights[:, axis] = torch.maximum(weights[:, axis], amount.clamp(0, 1))
    shifts = []
    for opening, side in zip(face.eyes, "RL", strict=True):
        blink = EXPRESSION_INDEX[f"eyeBlink_{side}"]
        shifts.append(_settle_lid(opening, weights, blink, asked[:, blink : blink + 1]))
    shifts.append(_settle_lips(face.mouth, weights))
    return SettledExpression(weights, tuple(shifts))


def _settle_lid(opening: OpeningState, weights: Tensor, blink: int, asked: Tensor) -> tuple[Tensor, Tensor]:
    """eyeBlink 1 closes whatever else moves the lids; lids never cross. Changes `weights` in place; asked [N, 1]."""
    closing = opening.upper_down_px - opening.lower_down_px  # [53, K]
    weights[:, blink] = 0
    open_px = opening.gap_px - _moved_by(weights, closing)
    middle = open_px.shape[1] // 2
    share = open_px[:, middle] / opening.gap_px[middle].clamp(min=0.5)
    weights[:, blink] = asked[:, 0] * share.clamp(0, 1.8)
    gap = opening.gap_px - _moved_by(weights, closing)
    shut = _smooth_step((asked - 0.8) / 0.2)
    wanted = gap.clamp(min=0) * (1 - shut) - LID_OVERLAP_PX * shut * opening.gap_px.clamp(0, 1)
    return gap - wanted, torch.zeros_like(gap)


def _settle_lips(opening: OpeningState, weights: Tensor) -> tuple[Tensor, Tensor]:
    """The gap is what the expression opens, whatever the portrait's own; tiny gaps shut, lips never cross.

    A portrait with open lips is shut from both sides; as the mouth opens, its upper lip goes back to its place.
    """
    opens = _moved_by(weights, opening.lower_down_px - opening.upper_down_px)
    wanted = opens.clamp(min=0)
    wanted = wanted * _smooth_step((wanted - 0.3) / 1.7)
    excess = opening.gap_px + opens - wanted  # pixels that the lips are too far apart
    middle = opening.gap_px.shape[0] // 2
    back = _smooth_step(wanted[:, middle : middle + 1] / (1.2 * opening.gap_px[middle] + 4))
    upper = 0.5 * (1 - back)
    return upper * excess, (upper - 1) * excess


def _moved_by(weights: Tensor, shapes: Tensor) -> Tensor:
    """[N, 53], [53, K] -> [N, K]; each row is added up on its own, so frames can be drawn in any company."""
    return (weights[:, :, None] * shapes).sum(1)


def _smooth_step(t: Tensor) -> Tensor:
    t = t.clamp(0, 1)
    return t * t * (3 - 2 * t)
