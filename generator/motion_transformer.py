"""Latent motion by flow matching: a transformer over blocks of four frames that sees its own past in a bounded cache.

Conditions are added to every frame's token, as VASA-1 does (Xu et al., "VASA-1: lifelike audio-driven talking faces
generated in real time", 2024): what the audio encoder heard, gaze direction, head distance, emotion with strength,
amount of head motion; the past frames come by attention. A block moves from noise (time 0) to motion (time
1) along straight lines (rectified flow: Liu, Gong and Liu, "Flow straight and fast", 2022). Frames of a block see each
other and the clean frames of the `past` blocks before; keys and values of older ones are forgotten, so memory is the
same after an hour. In training each frame has two tokens, clean and noisy (as in Arriola et al., "Block diffusion",
2025), so that one pass learns all blocks of a clip; streaming gives the same numbers from the cache.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from generator.controls import EMOTIONS, LIMITS, ControlValues
from generator.motion_latent import MOUTH, SIZE

BLOCK: Final = 4  # frames
FEELINGS: Final = EMOTIONS[1:]  # neutral is strength 0
# Columns of the conditions, by what is dropped together; the last column of a group says that it is given.
CONDITION_GROUPS: Final[dict[str, slice]] = {
    "gaze": slice(0, 3), "distance": slice(3, 5), "emotion": slice(5, 6 + len(FEELINGS)),
    "head_motion": slice(6 + len(FEELINGS), 8 + len(FEELINGS)),
}  # fmt: skip
CONDITIONS: Final = 8 + len(FEELINGS)


@dataclass(frozen=True)
class TransformerConfig:
    """Sizes; saved in the checkpoint. `audio` is the number of values that the encoder gives for a frame."""

    audio: int
    width: int = 128
    layers: int = 4
    heads: int = 4
    past: int = 10  # blocks

    def as_dict(self) -> dict[str, int]:
        return asdict(self)


@dataclass(frozen=True)
class Cache:
    """Keys and values of the clean frames of the last blocks; `known` of them hold something."""

    keys: tuple[Tensor, ...]  # per layer [B, heads, past · BLOCK, width / heads]
    values: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]  # per layer [heads, BLOCK, (past + 1) · BLOCK], -inf where nothing is known yet
    known: int  # blocks
    last: Tensor  # [B, 1, SIZE] normalised motion of the newest frame


def condition_vector(wanted: ControlValues) -> Tensor:
    """[CONDITIONS] of a frame; every group is given."""
    feeling = [wanted.emotion_strength if name == wanted.emotion else 0.0 for name in FEELINGS]
    return torch.tensor(
        [
            wanted.gaze_yaw_deg / LIMITS["gaze_yaw_deg"][1], wanted.gaze_pitch_deg / LIMITS["gaze_pitch_deg"][1], 1.0,
            4 * math.log(wanted.distance), 1.0,
            *feeling, 1.0,
            wanted.head_motion, 1.0,
        ]
    )  # fmt: skip


class Attention(nn.Module):
    """Multi-head attention with a learned bias per head and distance in frames."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.into = nn.Linear(config.width, 3 * config.width)
        self.out = nn.Linear(config.width, config.width)
        self.reach = config.past * BLOCK + BLOCK  # distances from -(BLOCK - 1) to reach - 1
        self.bias = nn.Parameter(torch.zeros(config.heads, self.reach + BLOCK - 1))

    def split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[B, T, width] -> queries, keys, values [B, heads, T, width / heads]."""
        parts = self.into(x).unflatten(-1, (3, self.heads, -1))  # [B, T, 3, heads, d]
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        return q, k, v

    def biases(self, distance: Tensor, seen: Tensor) -> Tensor:
        """`distance` [T, S] frames from key to query, `seen` [T, S] bool -> [heads, T, S]."""
        bias = self.bias[:, (distance + BLOCK - 1).clamp(0, self.bias.shape[1] - 1)]
        return bias.masked_fill(~seen, -torch.inf)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
        """Queries [B, heads, T, d], keys and values [B, heads, S, d], bias [heads, T, S] -> [B, T, width]."""
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)  # [B, heads, T, d]
        joined: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return joined


class Layer(nn.Module):
    """Pre-norm attention and perceptron."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(config.width), nn.LayerNorm(config.width)
        self.attention = Attention(config)
        self.inner = nn.Linear(config.width, 4 * config.width)
        self.outer = nn.Linear(4 * config.width, config.width)

    def think(self, x: Tensor) -> Tensor:
        thought: Tensor = self.outer(F.gelu(self.inner(self.norm2(x))))
        return x + thought


class MotionTransformer(nn.Module):
    """Predicts the motion at the end of the flow; `velocity` follows from it."""

    mean: Tensor
    spread: Tensor

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.motion_in = nn.Linear(SIZE, config.width)
        self.last_in = nn.Linear(SIZE, config.width)
        self.audio_in = nn.Linear(config.audio + 1, config.width)
        self.condition_in = nn.Linear(CONDITIONS, config.width)
        self.time_in = nn.Sequential(nn.Linear(32, config.width), nn.GELU(), nn.Linear(config.width, config.width))
        self.place = nn.Parameter(torch.randn(BLOCK, config.width) * 0.02)  # in the block
        self.stack = [Layer(config) for _ in range(config.layers)]
        self.layers = nn.ModuleList(self.stack)
        self.norm = nn.LayerNorm(config.width)
        self.out = nn.Linear(config.width, SIZE)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        self.register_buffer("mean", torch.zeros(SIZE))
        self.register_buffer("spread", torch.ones(SIZE))

    # ---- tokens

    def tokens(self, motion: Tensor, last: Tensor, audio: Tensor, conditions: Tensor, time: Tensor) -> Tensor:
        """motion, last [B, T, SIZE] normalised; audio [B, T, audio + 1]; conditions [B, T, CONDITIONS]; time [B, T]."""
        angles = time[..., None] * torch.arange(1, 17, device=time.device) * (math.pi / 2)  # [B, T, 16]
        waves = torch.cat([angles.sin(), angles.cos()], -1)  # [B, T, 32]
        x: Tensor = self.motion_in(motion) + self.last_in(last) + self.audio_in(audio) + self.condition_in(conditions)
        x = x + self.time_in(waves)  # [B, T, width]
        place: Tensor = self.place.repeat(x.shape[1] // BLOCK, 1)
        return x + place

    def base(self, last: Tensor, audio_mouth: Tensor, given: Tensor) -> Tensor:
        """What the network corrects: the encoder's mouth where sound is given, else the newest frame. [B, T, SIZE]."""
        mouth = (audio_mouth - self.mean[MOUTH]) / self.spread[MOUTH]  # [B, T, 17]
        base = last.clone()
        base[..., MOUTH] = torch.where(given > 0, mouth, last[..., MOUTH])
        return base

    # ---- training: all blocks of a clip at once

    def forward(
        self, clean: Tensor, noisy: Tensor, time: Tensor, audio: Tensor, audio_mouth: Tensor, conditions: Tensor,
        seen_past: Tensor,
    ) -> Tensor:  # fmt: skip
        """clean, noisy [B, T, SIZE]; time [B, T] of the noisy frames; T a multiple of BLOCK; seen_past [B] 0 or 1.

        `audio` [B, T, audio + 1] ends with a column that says whether sound is given. Returns the predicted motion.
        """
        frames = clean.shape[1]
        clean = clean * seen_past[:, None, None]
        last = self._newest_before(clean)
        doubled = self.tokens(
            torch.cat([clean, noisy], 1), torch.cat([last, last], 1), torch.cat([audio, audio], 1),
            torch.cat([conditions, conditions], 1), torch.cat([torch.ones_like(time), time], 1),
        )  # fmt: skip
        distance, seen = self._two_copies(frames)
        x = doubled
        for layer in self.stack:
            attention = layer.attention
            x = x + attention.attend(*attention.split(layer.norm1(x)), attention.biases(distance, seen))
            x = layer.think(x)
        said: Tensor = self.out(self.norm(x[:, frames:]))
        return self.base(last, audio_mouth, audio[..., -1:]) + said

    @staticmethod
    def _newest_before(clean: Tensor) -> Tensor:
        """[B, T, SIZE]: for each frame the last frame of the block before; zeros in the first block."""
        ends = clean[:, BLOCK - 1 :: BLOCK]  # [B, T / BLOCK, SIZE]
        ends = torch.cat([torch.zeros_like(ends[:, :1]), ends[:, :-1]], 1)
        return ends.repeat_interleave(BLOCK, 1)

    def _two_copies(self, frames: int) -> tuple[Tensor, Tensor]:
        """Distances and visibility between T clean and T noisy tokens, [2 T, 2 T]."""
        frame = torch.arange(frames).repeat(2)
        block, noisy = frame // BLOCK, torch.arange(2 * frames) >= frames
        back = block[:, None] - block[None]  # blocks from key to query
        past = (back <= self.config.past) & ~noisy[None]
        seen = torch.where(noisy[:, None], (past & (back >= 1)) | (noisy[None] & (back == 0)), past & (back >= 0))
        return frame[:, None] - frame[None], seen

    # ---- streaming: one block at a time

    def start(self, batch: int = 1) -> Cache:
        size = (batch, self.config.heads, self.config.past * BLOCK, self.config.width // self.config.heads)
        empty = tuple(torch.zeros(size) for _ in self.stack)
        return Cache(empty, empty, self._biases(0), 0, torch.zeros(batch, 1, SIZE))

    def _biases(self, known: int) -> tuple[Tensor, ...]:
        length, here = self.config.past * BLOCK, torch.arange(BLOCK)
        distance = torch.cat([here[:, None] + length - torch.arange(length), here[:, None] - here], 1)
        seen = (torch.arange(length + BLOCK) >= (self.config.past - known) * BLOCK).expand(BLOCK, -1)
        return tuple(layer.attention.biases(distance, seen) for layer in self.stack)

    def block(
        self, motion: Tensor, time: float, audio: Tensor, audio_mouth: Tensor, conditions: Tensor, cache: Cache
    ) -> tuple[Tensor, Cache]:
        """[B, BLOCK, ...] of one block at flow time `time` -> predicted motion, and the cache with this block in it.

        Keep the second result only after a pass at time 1 with finished motion.
        """
        batch = motion.shape[0]
        last = cache.last.expand(batch, BLOCK, SIZE)
        times = torch.full((batch, BLOCK), time)
        x = self.tokens(motion, last, audio, conditions, times)  # [B, BLOCK, width]
        keys, values = [], []
        for layer, bias, old_k, old_v in zip(self.stack, cache.biases, cache.keys, cache.values, strict=True):
            q, k, v = layer.attention.split(layer.norm1(x))
            k, v = torch.cat([old_k, k], 2), torch.cat([old_v, v], 2)  # [B, heads, length + BLOCK, d]
            keys.append(k[:, :, BLOCK:])
            values.append(v[:, :, BLOCK:])
            x = x + layer.attention.attend(q, k, v, bias)
            x = layer.think(x)
        said = self.base(last, audio_mouth, audio[..., -1:]) + self.out(self.norm(x))
        known = min(cache.known + 1, self.config.past)
        biases = cache.biases if known == cache.known else self._biases(known)
        return said, Cache(tuple(keys), tuple(values), biases, known, motion[:, -1:])
