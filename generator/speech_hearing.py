"""What is heard of speech, frame by frame: features, the audio encoder, and how loud it is, in blocks of four frames.

Sound comes in units of one frame (40 ms); the encoder answers for frame t when it has heard unit t + 3. It hears the
units of a block together: each block is computed alone with fixed shapes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from generator.audio_encoder import DELAY_FRAMES, LEVEL_CHANNEL, AudioEncoder, EncoderState, Reading, heard
from generator.audio_features import MEL_BANDS, AudioFeatures, FeatureState
from generator.motion_transformer import BLOCK

QUIET_DB: Final = -68.0  # sound below this level (dB of full scale) is silence, whatever the network says


@dataclass(frozen=True)
class Level:
    """Of one unit: decibels of full scale, and relative to the running level as a feature."""

    full_scale_db: float
    relative: float


@dataclass(frozen=True)
class HeardBlock:
    """`BLOCK` frames that the encoder has answered for."""

    audio: Tensor  # [BLOCK, n], see `audio_encoder.heard`
    mouth: Tensor  # [BLOCK, 17]
    sound: Tensor  # [BLOCK, 26] logits of `VISEMES`
    closed: Tensor  # [BLOCK] logits: the lips are shut
    speaks: Tensor  # [BLOCK] 0 to 1: somebody speaks
    levels: Tensor  # [BLOCK, 2] relative, of the frame's own unit and of the newest that was heard for it


@dataclass(frozen=True)
class HearingState:
    """Between two units."""

    features: FeatureState
    encoder: EncoderState
    levels: tuple[Level, ...] = ()  # of units not yet answered
    units: tuple[Tensor, ...] = ()  # [1, 4, 42] features that the encoder has not seen yet


class Hearing:
    """Units of sound in, a `HeardBlock` out for every fourth."""

    def __init__(self, encoder: AudioEncoder) -> None:
        self.encoder = encoder.eval().requires_grad_(False)
        self.audio = AudioFeatures()

    def start(self) -> HearingState:
        return HearingState(self.audio.start(), self.encoder.start())

    def step(self, unit: Tensor, state: HearingState) -> tuple[HeardBlock | None, HearingState]:
        """`unit` [640] -> a block, if it completes one."""
        features, audio_state = self.audio.step(unit[None], state.features)
        loudest = features[0].amax(0)
        newest = Level(float(loudest[MEL_BANDS + 1]) * 20 - 40, float(loudest[LEVEL_CHANNEL]))
        levels, units = (*state.levels, newest), (*state.units, features)
        if len(levels) < DELAY_FRAMES + BLOCK:
            return None, HearingState(audio_state, state.encoder, levels, units)
        # Before the first block the encoder also hears the units for which it answers nothing.
        answers, encoder_state = self.encoder(torch.stack(units, 1), state.encoder)
        reading = Reading(*(value[:, -BLOCK:] for value in vars(answers).values()))
        return _block(reading, levels), HearingState(audio_state, encoder_state, levels[BLOCK:], ())


def _block(reading: Reading, levels: tuple[Level, ...]) -> HeardBlock:
    relative = torch.tensor([level.relative for level in levels])  # [BLOCK + DELAY_FRAMES]
    now, ahead = relative[:BLOCK], relative[DELAY_FRAMES:]
    around = [levels[i : i + DELAY_FRAMES + 1] for i in range(BLOCK)]
    audible = torch.tensor([max(level.full_scale_db for level in part) > QUIET_DB for part in around])
    speaks = reading.active[0].sigmoid() * audible
    audio = heard(reading, now[None], ahead[None])[0]
    levels_of = torch.stack([now, ahead], -1)
    return HeardBlock(audio, reading.mouth[0], reading.sound[0], reading.closed[0], speaks, levels_of)
