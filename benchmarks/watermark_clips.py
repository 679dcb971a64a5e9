"""Synthetic material for the watermark's tests and measurements: talking heads, lively scenes, speech.

Everything is drawn from a seed; nobody's face or voice is in it.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from scipy.signal import lfilter
from torch import Tensor

SPEECH_FORMANTS_HZ = ((700, 1200, 2500), (300, 2200, 3000), (400, 800, 2400), (500, 1800, 2600), (350, 1000, 2300))


def texture(height: int, width: int, generator: torch.Generator, *, octaves: tuple[int, ...]) -> Tensor:
    """Smooth noise float32 [3, height, width], about -1..1, one layer per octave (cells per side)."""
    out = torch.zeros(3, height, width)
    for cells in octaves:
        noise = torch.randn(1, 3, cells, cells, generator=generator)
        layer = F.interpolate(noise, size=(height, width), mode="bicubic", align_corners=False)[0]
        out += layer * (octaves[0] / cells) ** 0.7
    return out / out.abs().amax()


def talking_head(frames: int, *, side: int = 256, seed: int = 0, fps: float = 25.0) -> Tensor:
    """A textured head that nods slowly and opens its mouth, before a still background: uint8 [N, 3, S, S]."""
    generator = torch.Generator().manual_seed(seed)
    backdrop = 110 + 50 * texture(side, side, generator, octaves=(3, 8))
    backdrop += 25 * texture(side, side, generator, octaves=(40,))
    skin = 165 + 45 * texture(side, side, generator, octaves=(4, 12, 48, 100))
    skin *= torch.tensor([1.0, 0.8, 0.7])[:, None, None]
    axis = torch.linspace(-1, 1, side)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    phase = torch.rand(4, generator=generator) * 6.28
    out = torch.empty(frames, 3, side, side, dtype=torch.uint8)
    for index in range(frames):
        t = index / fps
        dx = 0.06 * math.sin(1.1 * t + float(phase[0])) + 0.01 * math.sin(5 * t)
        dy = 0.05 * math.sin(1.7 * t + float(phase[1]))
        grid = torch.stack([x - dx, y - dy], -1)[None]
        head = F.grid_sample(skin[None], grid, mode="bilinear", padding_mode="border", align_corners=True)[0]
        open_mouth = 0.03 + 0.05 * max(0.0, math.sin(14 * t + float(phase[2])) + 0.4 * math.sin(9 * t))
        mouth = _ellipse(x - dx, y - dy - 0.25, 0.16, open_mouth)
        face = head * (1 - 0.75 * mouth)
        shape = _ellipse(x - dx, y - dy, 0.48, 0.66)
        out[index] = (face * shape + backdrop * (1 - shape)).clamp(0, 255).to(torch.uint8)
    return out


def lively_scene(frames: int, *, side: int = 256, seed: int = 0, fps: float = 25.0) -> Tensor:
    """A textured scene that pans and zooms under sensor noise: uint8 [N, 3, S, S]."""
    generator = torch.Generator().manual_seed(seed)
    scene = 120 + 100 * texture(2 * side, 2 * side, generator, octaves=(5, 20, 80, 200))
    axis = torch.linspace(-0.5, 0.5, side)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    phase = torch.rand(3, generator=generator) * 6.28
    out = torch.empty(frames, 3, side, side, dtype=torch.uint8)
    for index in range(frames):
        t = index / fps
        zoom = 1 + 0.15 * math.sin(0.7 * t + float(phase[0]))
        grid = torch.stack([x * zoom + 0.3 * math.sin(0.9 * t), y * zoom + 0.3 * math.sin(1.3 * t)], -1)[None]
        frame = F.grid_sample(scene[None], grid, mode="bilinear", padding_mode="reflection", align_corners=True)[0]
        frame = frame + 3 * torch.randn(frame.shape, generator=generator)
        out[index] = frame.clamp(0, 255).to(torch.uint8)
    return out


def speech(seconds: float, *, sample_rate: int = 48_000, seed: int = 0) -> Tensor:
    """Speech-like sound: voiced and hissed syllables through formants, with pauses: float32 [n], peak 0.6."""
    random = np.random.default_rng(seed)
    base_hz = random.uniform(95, 220)
    total = round(seconds * sample_rate)
    parts: list[np.ndarray] = []
    while sum(map(len, parts)) < total:
        length = int(sample_rate * random.uniform(0.1, 0.25))
        t = np.arange(length) / sample_rate
        if random.random() < 0.15:
            parts.append(np.zeros(length))
            continue
        pitch = base_hz * (1 + random.uniform(-0.2, 0.2) + 0.1 * np.sin(7 * t))
        pulses = np.diff(np.floor(np.cumsum(pitch) / sample_rate), prepend=0.0)
        voiced = random.random() < 0.8
        source = pulses * 10 + 0.1 * random.standard_normal(length) if voiced else 0.6 * random.standard_normal(length)
        for formant_hz in SPEECH_FORMANTS_HZ[random.integers(len(SPEECH_FORMANTS_HZ))]:
            radius = math.exp(-math.pi * 120 / sample_rate)
            angle = 2 * math.pi * formant_hz * random.uniform(0.9, 1.1) / sample_rate
            source = source * 0.3 + lfilter([1 - radius], [1, -2 * radius * math.cos(angle), radius**2], source)
        parts.append(source * np.hanning(length) ** 0.5)
    sound = np.concatenate(parts)[:total] + 1e-4 * random.standard_normal(total)
    return torch.from_numpy((0.6 * sound / np.abs(sound).max()).astype(np.float32))


def _ellipse(x: Tensor, y: Tensor, half_width: float, half_height: float) -> Tensor:
    """A soft-edged ellipse, 1 inside, 0 outside."""
    return torch.sigmoid((1 - (x / half_width).square() - (y / half_height).square()) * 18)
