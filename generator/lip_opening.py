"""How far the lips are apart: what the audio encoder regresses, shut by rule, corrected by what filmed lips taught.

The correction is one linear function of what was heard around a frame, 166 numbers fitted on a minute of filmed lips
(`generator.training.fit_lip_opening`). It parts the lips before the first sound, as people do who are about to speak,
and learns which sounds open less than the studio's rules say. It is nothing in silence and where the lips are shut.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import torch
from torch import Tensor, nn

from generator.motion_face import HeardClosures, lips_shut, smoothstep
from generator.motion_mouth import LIP_GAP_CM, MOUTH_AXES, REST_GAP_CM
from generator.motion_transformer import BLOCK
from generator.motion_visemes import VISEMES
from generator.speech_hearing import HeardBlock

BEFORE, AFTER = 2, 2  # frames around a frame that its correction hears; those after its block are not known
VALUES: Final = 7 + len(VISEMES)  # of a frame
GATE_ATTACK, GATE_RELEASE = 0.65, 0.4  # per frame
SPEAKS: Final = (0.35, 0.65)  # probability that somebody speaks at which lips begin to move, and move in full
ABOUT_TO_SPEAK: Final = (0.03, 0.3)  # the same, of the block's coming frames, for the correction
LEVEL_CM: Final = 0.06  # least squares keeps lips less open; with this they are on average as open as ruled ones
SHUT_CM, DEEPEST_CM = -0.03 - REST_GAP_CM, -0.06 - REST_GAP_CM  # beyond rest, as all openings here
_GAPS: Final = torch.tensor([LIP_GAP_CM[axis] for axis in MOUTH_AXES])


@dataclass(frozen=True)
class LipState:
    """Between two blocks: the values of the last frames, how far the mouth is at work, what closures were heard."""

    values: Tensor | None = None  # [BEFORE, VALUES]
    gate: float = 0.0
    closures: HeardClosures = field(default_factory=HeardClosures)


@dataclass(frozen=True)
class LipBlock:
    """Of `BLOCK` frames: lips by rule, and what the correction may look at and change."""

    ruled_cm: Tensor  # [BLOCK] how much farther apart than at rest
    shut: Tensor  # [BLOCK] 0 to 1
    gate: Tensor  # [BLOCK] 0 to 1: how far the mouth is at work
    window: Tensor  # [BLOCK, (BEFORE + 1 + AFTER) · VALUES]
    share: Tensor  # [BLOCK] 0 to 1: of the correction


def ruled_lips(heard: HeardBlock, state: LipState) -> tuple[LipBlock, LipState]:
    """The lips of a block before any correction."""
    shut_list, closures = lips_shut(heard.closed.tolist(), state.closures)
    gates, gate = [], state.gate
    for speaks in heard.speaks.tolist():
        active = smoothstep(speaks, *SPEAKS)
        gate += (GATE_ATTACK if active > gate else GATE_RELEASE) * (active - gate)
        gate = 0.0 if gate < 0.03 else gate
        gates.append(gate)
    shut, at_work = torch.tensor(shut_list), torch.tensor(gates)
    said = heard.mouth @ _GAPS
    ruled = torch.lerp(said.clamp_min(DEEPEST_CM), torch.full_like(said, SHUT_CM), shut) * at_work
    own = torch.stack([ruled, said, heard.speaks, *heard.levels.unbind(-1), shut, heard.closed.clamp(-6, 6) / 4], -1)
    values = torch.cat([own, heard.sound / 4], -1)  # [BLOCK, VALUES]
    before = values[:1].expand(BEFORE, -1) if state.values is None else state.values
    known = torch.cat([before, values, values[-1:].expand(AFTER, -1)])
    window = known.unfold(0, BEFORE + 1 + AFTER, 1).transpose(1, 2).flatten(1)
    coming = [smoothstep(float(heard.speaks[i:].max()), *ABOUT_TO_SPEAK) for i in range(BLOCK)]
    block = LipBlock(ruled, shut, at_work, window, torch.tensor(coming) * (1 - shut))
    return block, LipState(values[-BEFORE:], gate, closures)


class LipOpening(nn.Module):
    """How much farther apart than at rest the lips are in cm [BLOCK], from a `LipBlock`."""

    def __init__(self) -> None:
        super().__init__()
        self.correction = nn.Linear((BEFORE + 1 + AFTER) * VALUES, 1)

    def forward(self, lips: LipBlock) -> Tensor:
        correction: Tensor = self.correction(lips.window)  # [BLOCK, 1]
        return lips.ruled_cm + (correction[:, 0] + LEVEL_CM) * lips.share
