"""From latent motion to the rig: rules that keep lips, lids and controls right, whatever a network says."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from generator.controls import ControlValues
from generator.motion_emotion import HEAD_PITCH_DEG, OFFSETS, SNEER_GAP_CM
from generator.motion_latent import MOOD_AXES
from generator.motion_mouth import LIP_GAP_CM, MOUTH_AXES, REST_GAP_CM, columns
from generator.motion_processes import Living
from generator.rig import EXPRESSION_INDEX, EXPRESSION_NAMES

DEEPEST_GAP_CM: Final = -0.06  # lips press, but don't pass through each other
FAINT: Final = 0.015  # deviations of mood below this are nothing
SWELL: Final = 0.2
BOWED_FROM: Final = 0.25  # amount of head motion from which a mood bows the head in full; a still head keeps its place
# Score of a closure at which lips begin to shut, and are shut. On voices kept for such choices they are then shut in
# the middle of a tenth of other sounds (GRID's training talkers: 12 % of 66).
CLOSING: Final = (-1.8, -1.2)
CONTRAST, CONTRAST_FRAMES = 0.3, 6
TOO_EARLY: Final = 2.0  # taken off where the next frame is surer
LARGEST_LOGIT: Final = 6.0
LID_RANGE_DEG: Final = {"yaw": 35.0, "up": 22.0, "down": 23.0}  # eye rotation at which an eyeLook* shape is 1

_GAPS: Final = torch.tensor([LIP_GAP_CM[axis] for axis in MOUTH_AXES])
_ROUND: Final = torch.tensor([axis in ("mouthPucker", "mouthFunnel") for axis in MOUTH_AXES])
_JAW, _CLOSE = MOUTH_AXES.index("jawOpen"), MOUTH_AXES.index("mouthClose")
_SHUT: Final = torch.tensor(
    [
        {"mouthClose": 0.035, "mouthPress": 0.34, "mouthRollLower": 0.1, "mouthRollUpper": 0.08, "jawOpen": 0.038}.get(
            a, 0.0
        )
        for a in MOUTH_AXES
    ]
)
_MOOD_GAPS: Final = torch.tensor([{**LIP_GAP_CM, "noseSneer": SNEER_GAP_CM}.get(axis, 0.0) for axis in MOOD_AXES])


def _spread(axes: tuple[str, ...]) -> Tensor:
    """[axes, 53]: the rig columns of each axis."""
    table = torch.zeros(len(axes), len(EXPRESSION_NAMES))
    for row, axis in enumerate(axes):
        table[row, list(columns(axis))] = 1.0
    return table


_RISING: Final = torch.tensor([axis in ("browInnerUp", "browOuterUp") for axis in MOOD_AXES])
_MOUTH_SPREAD, _MOOD_SPREAD = _spread(MOUTH_AXES), _spread(MOOD_AXES)
_OFFSETS: Final = {
    name: torch.tensor([weights.get(axis, 0.0) for axis in MOOD_AXES]) for name, weights in OFFSETS.items()
}


@dataclass(frozen=True)
class HeardClosures:
    """What `lips_shut` remembers: logits of the last `CONTRAST_FRAMES` frames, and how far the lips were shut."""

    logits: tuple[float, ...] = ()
    shut: float = 0.0


def lips_shut(logits: list[float], before: HeardClosures) -> tuple[list[float], HeardClosures]:
    """How far the lips are shut in each frame of a block, 0 to 1, by logits that say how surely a closure is heard.

    A voice that always sounds a little shut is heard against itself: what counts is also how much a frame stands out
    from the `CONTRAST_FRAMES` before it. Open lips shut at the surest frame, not on the way to it, and shut lips don't
    part for a single frame. The block's last frame can't know the next one.
    """
    heard, scores = list(before.logits), []
    bounded = [max(-LARGEST_LOGIT, min(LARGEST_LOGIT, logit)) for logit in logits]
    for logit, following in zip(bounded, [*bounded[1:], -math.inf], strict=True):
        recent = heard[-CONTRAST_FRAMES:] or [logit]
        scores.append(logit + CONTRAST * (logit - sum(recent) / len(recent)) - TOO_EARLY * (following > logit))
        heard.append(logit)
    shut = [before.shut]
    for score, following in zip(scores, [*scores[1:], -math.inf], strict=True):
        bridged = min(shut[-1], smoothstep(following, *CLOSING))
        shut.append(max(smoothstep(score, *CLOSING), bridged))
    return shut[1:], HeardClosures(tuple(heard[-CONTRAST_FRAMES:]), shut[-1])


def smoothstep(x: float, low: float, high: float) -> float:
    """0 up to `low`, 1 from `high`, smooth between."""
    t = min(1.0, max(0.0, (x - low) / (high - low)))
    return t * t * (3 - 2 * t)


def speech_mouth(mouth: Tensor, closed: float, gate: float, strength: float) -> Tensor:
    """[17] raw weights -> [17] weights 0..1: scaled by `strength`, shut by `closed`, at rest when `gate` is 0.

    The closure is laid on after the scaling, so no strength opens it.
    """
    mouth = (mouth * strength).clamp(0, 1)
    shut = torch.where(_ROUND, mouth * 0.6, _SHUT)
    shut[_CLOSE] += max(0.0, float(shut[_ROUND] @ _GAPS[_ROUND])) / -LIP_GAP_CM["mouthClose"]
    mouth = (mouth + closed * (shut - mouth)) * gate
    too_deep = DEEPEST_GAP_CM - (float(mouth @ _GAPS) + REST_GAP_CM)
    if too_deep > 0:
        mouth[0] += too_deep / LIP_GAP_CM["jawOpen"]
    return mouth.clamp(0, 1)


def mouth_with_opening(mouth: Tensor, beyond_rest_cm: float) -> Tensor:
    """[17] weights 0..1 -> the same, lips so much farther apart than at rest: by the jaw, below its rest by lips."""
    mouth = mouth.clone()
    jaw = float(mouth[_JAW]) + (beyond_rest_cm - float(mouth @ _GAPS)) / LIP_GAP_CM["jawOpen"]
    mouth[_JAW] = max(0.0, jaw)
    mouth[_CLOSE] += min(0.0, jaw) * LIP_GAP_CM["jawOpen"] / LIP_GAP_CM["mouthClose"]
    return mouth.clamp(0, 1)


def mood_expression(deviation: Tensor, wanted: ControlValues) -> Tensor:
    """[13] deviation -> [53] weights of the asked emotion and what the network adds to it.

    Brows rise freely; all else swells or fades by a part `SWELL` of the emotion's own weight at most, so that a neutral
    face is neutral, and strengths keep their order. Lips are not parted by it.
    """
    asked = _OFFSETS[wanted.emotion] * wanted.emotion_strength
    clear = deviation.sign() * (deviation.abs() - FAINT).clamp_min(0)
    added = torch.where(_RISING, clear.clamp(0, 1), clear.maximum(-SWELL * asked).minimum(SWELL * asked))
    mood = (asked + added).clamp(0, 1)
    expression = mood @ _MOOD_SPREAD
    gap_cm = float(mood @ _MOOD_GAPS)
    if gap_cm > 0:
        expression[columns("mouthClose")[0]] += gap_cm / -LIP_GAP_CM["mouthClose"]
    return expression


def assemble_frame(mouth: Tensor, mood: Tensor, head: Tensor, living: Living, wanted: ControlValues) -> Tensor:
    """[61] one frame: pose 6, expression 53, gaze 2. `head` [6] as in `motion_latent.POSE_AXES`."""
    expression = mouth @ _MOUTH_SPREAD + mood_expression(mood, wanted)
    yaw, pitch, roll, tx, ty, log_scale = (head * wanted.head_motion).tolist()
    bowed = HEAD_PITCH_DEG.get(wanted.emotion, 0.0) * wanted.emotion_strength
    pitch += bowed * min(1.0, wanted.head_motion / BOWED_FROM)
    gaze = (wanted.gaze_yaw_deg + living.gaze_yaw_deg, wanted.gaze_pitch_deg + living.gaze_pitch_deg)
    _set_lids(expression, gaze[0] - yaw, gaze[1] - pitch, living.blink)
    pose = torch.tensor([yaw, pitch, roll, tx, ty, log_scale])
    pose[5] = pose[5].exp() / wanted.distance
    return torch.cat([pose, expression.clamp(0, 1), torch.tensor(gaze)])


def _set_lids(expression: Tensor, yaw_deg: float, pitch_deg: float, blink: float) -> None:
    """Lids follow the eye in the head; a blink covers all else. The person's left eye is right in the picture."""
    right, left = max(0.0, yaw_deg) / LID_RANGE_DEG["yaw"], max(0.0, -yaw_deg) / LID_RANGE_DEG["yaw"]
    down, up = max(0.0, pitch_deg) / LID_RANGE_DEG["down"], max(0.0, -pitch_deg) / LID_RANGE_DEG["up"]
    open_part = 1 - blink
    for name, weight in (
        ("eyeLookOut_L", right), ("eyeLookIn_R", right), ("eyeLookIn_L", left), ("eyeLookOut_R", left),
        ("eyeLookDown_L", down), ("eyeLookDown_R", down), ("eyeLookUp_L", up), ("eyeLookUp_R", up),
    ):  # fmt: skip
        expression[EXPRESSION_INDEX[name]] += weight * open_part
    for side in ("L", "R"):
        expression[EXPRESSION_INDEX[f"eyeWide_{side}"]] *= open_part
        expression[EXPRESSION_INDEX[f"eyeSquint_{side}"]] *= open_part
        expression[EXPRESSION_INDEX[f"eyeBlink_{side}"]] = blink
