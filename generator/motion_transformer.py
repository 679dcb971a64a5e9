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


@dataclass(frozen=True)
class Entry:
    """A block that is being made: what does not change on its way from noise to motion."""

    scene: Tensor  # [B, BLOCK, width], see `MotionTransformer.scene`
    base: Tensor  # [B, BLOCK, SIZE]
    cache: Cache


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
        every = bias.expand(len(q), *bias.shape)  # of four axes: else PyTorch takes its slow path
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=every)  # [B, heads, T, d]
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
        x: Tensor = self.motion_in(motion) + self.scene(last, audio, conditions) + self.moment(time)
        return x

    def scene(self, last: Tensor, audio: Tensor, conditions: Tensor) -> Tensor:
        """What a token says beside the motion and the flow time: [B, T, width]."""
        x: Tensor = self.last_in(last) + self.audio_in(audio) + self.condition_in(conditions)
        place: Tensor = self.place.repeat(x.shape[1] // BLOCK, 1)
        return x + place

    def moment(self, time: Tensor) -> Tensor:
        """Flow times [...] -> [..., width]."""
        angles = time[..., None] * torch.arange(1, 17, device=time.device) * (math.pi / 2)  # [..., 16]
        moments: Tensor = self.time_in(torch.cat([angles.sin(), angles.cos()], -1))
        return moments

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

    def enter(self, audio: Tensor, audio_mouth: Tensor, conditions: Tensor, cache: Cache) -> Entry:
        """[B, BLOCK, ...] of the next block -> what all passes over it have in common."""
        last = cache.last.expand(len(audio), BLOCK, SIZE)
        return Entry(self.scene(last, audio, conditions), self.base(last, audio_mouth, audio[..., -1:]), cache)

    def predict(self, motion: Tensor, moment: Tensor, entry: Entry) -> Tensor:
        """Noisy [B, BLOCK, SIZE] at the flow time of `moment` [width] -> predicted motion [B, BLOCK, SIZE]."""
        x = self.motion_in(motion) + entry.scene + moment
        for index, layer in enumerate(self.stack):
            q, k, v = layer.attention.split(layer.norm1(x))
            x = self._attend(x, q, k, v, index, entry.cache)
        said: Tensor = self.out(self.norm(x))
        return entry.base + said

    def remember(self, motion: Tensor, moment: Tensor, entry: Entry) -> Cache:
        """Finished motion [B, BLOCK, SIZE], `moment` of time 1 -> the cache with this block in it."""
        x, cache = self.motion_in(motion) + entry.scene + moment, entry.cache
        keys, values = [], []
        for index, layer in enumerate(self.stack):
            q, k, v = layer.attention.split(layer.norm1(x))
            keys.append(torch.cat([cache.keys[index][:, :, BLOCK:], k], 2))
            values.append(torch.cat([cache.values[index][:, :, BLOCK:], v], 2))
            if index + 1 < len(self.stack):  # nobody asks what the last layer makes of finished motion
                x = self._attend(x, q, k, v, index, cache)
        known = min(cache.known + 1, self.config.past)
        biases = cache.biases if known == cache.known else self._biases(known)
        return Cache(tuple(keys), tuple(values), biases, known, motion[:, -1:])

    def _attend(self, x: Tensor, q: Tensor, k: Tensor, v: Tensor, index: int, cache: Cache) -> Tensor:
        """Layer `index` over the block and its past: [B, BLOCK, width]."""
        layer = self.stack[index]
        k, v = torch.cat([cache.keys[index], k], 2), torch.cat([cache.values[index], v], 2)  # [B, heads, length, d]
        return layer.think(x + layer.attention.attend(q, k, v, cache.biases[index]))
