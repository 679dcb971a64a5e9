"""From noise to motion: Euler steps along the flow, with guidance and noise that depends on seed and frame alone."""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor

from generator.motion_latent import GROUPS, SIZE
from generator.motion_random import normal
from generator.motion_transformer import BLOCK, Cache, MotionTransformer

STEPS: Final = 4
GUIDANCE: Final = 0.3  # how far beyond the conditional prediction, away from the unconditional one
# Deviation of the noise. At 0 a group starts at the mean, and the flow ends near the most likely motion: lips say one
# thing, while a head may move in many ways.
TEMPERATURE: Final[dict[str, float]] = {"mouth": 0.0, "mood": 0.8, "pose": 0.9}
KNOT: Final = 3  # frames
# The model's own past leads it farther and farther from what it has seen: after a minute a head would hang sideways.
# Predictions of head and mood are held within `STEADY` deviations (static thresholding: Saharia et al., "Photorealistic
# text-to-image diffusion models with deep language understanding", 2022), and the head comes home by a share per block.
STEADY: Final = 2.5
HOMING: Final = 0.03
_HELD: Final = slice(GROUPS["mood"].start, GROUPS["pose"].stop)
_HOMEWARD: Final = 1 - HOMING * torch.arange(1, BLOCK + 1)[:, None] / BLOCK
_STREAM: Final = 100  # of `motion_random`; other processes use small numbers


def block_noise(seed: int, block: int) -> Tensor:
    """[1, BLOCK, SIZE] of block number `block`; equal for equal seeds on every machine.

    Draws are `KNOT` frames apart and blended between, each frame with the variance of one draw: what few steps leave of
    the noise is no faster than a head's own beats (below 4 Hz), so it doesn't tremble.
    """
    first = block * BLOCK // KNOT
    knots = torch.stack([_draws(seed, knot) for knot in range(first, (block * BLOCK + BLOCK - 1) // KNOT + 2)])
    noise = torch.zeros(1, BLOCK, SIZE)
    for frame in range(BLOCK):
        knot, part = divmod(block * BLOCK + frame, KNOT)
        angle = math.pi / 2 * part / KNOT
        noise[0, frame] = math.cos(angle) * knots[knot - first] + math.sin(angle) * knots[knot - first + 1]
    return noise


def _draws(seed: int, knot: int) -> Tensor:
    """[SIZE] at one knot."""
    draws = [0.0] * SIZE
    for name, group in GROUPS.items():
        if TEMPERATURE[name] > 0:
            for column in range(group.start, group.stop):
                draws[column] = TEMPERATURE[name] * normal(seed, _STREAM + column, knot)
    return torch.tensor(draws)


def sample_block(
    flow: MotionTransformer, noise: Tensor, audio: Tensor, audio_mouth: Tensor, conditions: Tensor, cache: Cache
) -> tuple[Tensor, Cache]:
    """One block [1, BLOCK, SIZE] in the units of the latent motion, and the cache that remembers it.

    `audio` [1, BLOCK, n + 1] and `conditions` [1, BLOCK, C] are all given; the second row of the batch, where sound
    and conditions are hidden, is for guidance (Ho and Salimans, "Classifier-free diffusion guidance", 2022).
    """
    audio = torch.cat([audio, torch.zeros_like(audio)])
    conditions = torch.cat([conditions, torch.zeros_like(conditions)])
    moments = flow.moment(torch.arange(STEPS + 1) / STEPS)  # [STEPS + 1, width]
    entry = flow.enter(audio, audio_mouth.expand(2, -1, -1), conditions, cache)
    x = noise
    for step in range(STEPS):
        said = flow.predict(x.expand(2, -1, -1), moments[step], entry)
        end = said[:1] + GUIDANCE * (said[:1] - said[1:])
        end[..., _HELD] = end[..., _HELD].clamp(-STEADY, STEADY)
        x = x + (end - x) / (STEPS - step)
    x[..., GROUPS["pose"]] *= _HOMEWARD
    return x * flow.spread + flow.mean, flow.remember(x.expand(2, -1, -1), moments[STEPS], entry)
