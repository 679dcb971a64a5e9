"""A generator so cheap that a test can have one in every process."""

from __future__ import annotations

import math
from typing import Any

import torch

from generator import frame_size_px


class MovingPicture:
    """A talking face without a face: the portrait, brighter and darker in time."""

    def encode(
        self, portrait: torch.Tensor, *, face: int | None = None, frame: str = "square", shoulders: str = "still"
    ) -> torch.Tensor:
        width, height = frame_size_px(portrait.shape[2], portrait.shape[1], frame)
        return torch.nn.functional.interpolate(portrait[None].float(), (height, width), mode="bilinear")[0]

    def frame_size(self, face: torch.Tensor) -> tuple[int, int]:
        return face.shape[2], face.shape[1]

    def start(self, *, controls: Any, seed: int) -> tuple[int, int]:
        assert controls.emotion
        return seed, 0

    def motion(
        self, audio: torch.Tensor, state: tuple[int, int], *, final: bool = False
    ) -> tuple[torch.Tensor, tuple[int, int]]:
        """Frame numbers that are due after these samples, all of them at the end."""
        seed, samples = state
        before, samples = samples, samples + audio.numel()
        due = -(-samples * 25 // 16_000) if final else samples * 25 // 16_000
        return torch.arange(before * 25 // 16_000, due), (seed, samples)

    def render(self, face: torch.Tensor, block: torch.Tensor) -> torch.Tensor:
        frames = [face + 6 * math.sin(int(n) / 5) for n in block]
        return torch.stack(frames).clamp(0, 255).to(torch.uint8)
