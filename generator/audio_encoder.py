"""The audio encoder: what is being said, by causal convolutions and a GRU over 40 ms units of log-mel features.

It sees unit t and answers for frame t - 3 (120 ms of look-ahead). It is trained first and alone, to name the speech
sound (26 look-alike classes), to say whether the lips are shut and whether anybody speaks, and to regress the mouth in
step with the sound: these heads teach the hidden layers phonetics and synchronisation. The motion transformer is
conditioned on its hidden layer, its mouth and its two flags; the flags also gate the mouth (see `generator.motion`).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from generator.audio_features import CHANNELS, FRAMES_PER_UNIT, MEL_BANDS
from generator.motion_mouth import MOUTH_AXES
from generator.motion_visemes import VISEMES

DROPOUT = 0.15  # in training
DELAY_FRAMES = 3  # frame t is answered when unit t + 3 has been heard
LEVEL_CHANNEL = MEL_BANDS  # of the features: level relative to the running level


@dataclass(frozen=True)
class EncoderConfig:
    """Sizes; saved in the checkpoint, so that it rebuilds its network alone."""

    width: int = 160
    blocks: int = 3
    kernel: int = 3

    def as_dict(self) -> dict[str, int]:
        return asdict(self)


@dataclass(frozen=True)
class EncoderState:
    """Last inputs of every causal convolution [B, k - 1, C] and the GRU's hidden vector [1, B, width]."""

    history: tuple[Tensor, ...]
    hidden: Tensor


@dataclass(frozen=True)
class Reading:
    """What the encoder hears in T frames, batch B."""

    hidden: Tensor  # [B, T, width]
    mouth: Tensor  # [B, T, 17] rig weights, may lie slightly outside 0..1
    sound: Tensor  # [B, T, 26] logits of `VISEMES`
    closed: Tensor  # [B, T] logit: lips shut for p, b, m
    active: Tensor  # [B, T] logit: somebody speaks


class CausalConv(nn.Module):
    """1D convolution over time that sees only the past; T = 1 with carried history gives the same numbers."""

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__()
        self.kernel = kernel
        self.linear = nn.Linear(inputs * kernel, outputs)

    def forward(self, x: Tensor, history: Tensor) -> tuple[Tensor, Tensor]:
        """x [B, T, C], history [B, k - 1, C] -> [B, T, outputs], next history."""
        x = torch.cat([history, x], 1)  # [B, T + k - 1, C]
        windows = x.unfold(1, self.kernel, 1)  # [B, T, C, k]
        return self.linear(windows.flatten(2)), x[:, x.shape[1] - self.kernel + 1 :]


class Block(nn.Module):
    """Residual: norm, causal convolution, GELU, linear."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.conv = CausalConv(width, width, kernel)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, history: Tensor) -> tuple[Tensor, Tensor]:
        y, history = self.conv(self.norm(x), history)  # [B, T, width]
        return x + self.out(F.gelu(y)), history


class AudioEncoder(nn.Module):
    """Features [B, T, 4, 42] in, `Reading` of T frames out, answers delayed by `DELAY_FRAMES`."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.inputs = FRAMES_PER_UNIT * CHANNELS
        self.enter = CausalConv(self.inputs, config.width, 2)
        self.blocks = nn.ModuleList(Block(config.width, config.kernel) for _ in range(config.blocks))
        self.norm = nn.LayerNorm(config.width)
        self.memory = nn.GRU(config.width, config.width, batch_first=True)
        self.mix = nn.Linear(2 * config.width, config.width)
        self.mouth = nn.Linear(config.width, len(MOUTH_AXES))
        self.sound = nn.Linear(config.width, len(VISEMES))
        self.flags = nn.Linear(config.width, 2)

    def start(self, batch: int = 1) -> EncoderState:
        c = self.config
        sizes = [(1, self.inputs)] + [(c.kernel - 1, c.width)] * c.blocks
        history = tuple(torch.zeros(batch, length, channels) for length, channels in sizes)
        return EncoderState(history, torch.zeros(1, batch, c.width))

    def forward(self, features: Tensor, state: EncoderState) -> tuple[Reading, EncoderState]:
        x, first = self.enter(features.flatten(2), state.history[0])  # [B, T, width]
        histories = [first]
        for block, history in zip(self.blocks, state.history[1:], strict=True):
            x, history = block(x, history)  # [B, T, width]
            histories.append(history)
        x = self.norm(x)
        remembered, hidden = self.memory(x, state.hidden)  # [B, T, width]
        x = F.gelu(self.mix(torch.cat([x, remembered], -1)))  # [B, T, width]
        x = F.dropout(x, DROPOUT, self.training)
        flags = self.flags(x)  # [B, T, 2]
        reading = Reading(x, self.mouth(x), self.sound(x), flags[..., 0], flags[..., 1])
        return reading, EncoderState(tuple(histories), hidden)


def heard(reading: Reading, level_now: Tensor, level_ahead: Tensor) -> Tensor:
    """What the motion transformer is told of a frame: hidden layer, mouth, flags and two levels. [B, T, width + 21].

    Levels [B, T] are the largest feature `LEVEL_CHANNEL` of the frame's own unit and of the newest unit.
    """
    flags = torch.stack([reading.closed.sigmoid(), reading.active.sigmoid(), level_now, level_ahead], -1)
    return torch.cat([reading.hidden, reading.mouth, flags], -1)


def heard_size(config: EncoderConfig) -> int:
    """Width of `heard`."""
    return config.width + len(MOUTH_AXES) + 4
