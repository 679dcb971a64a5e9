"""The seam between motion and renderer: what a stretch of frames does, in numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from generator.errors import GeneratorError
from generator.rig import EXPRESSION_NAMES


@dataclass(frozen=True)
class MotionBlock:
    """Motion of N frames, relative to the portrait. Raises `GeneratorError` on wrong shapes and on NaN.

    pose: float32 [N, 6] = yaw, pitch, roll in degrees; tx, ty in face widths; scale.
        All relative to the portrait, where they are 0, 0, 0, 0, 0, 1. Positive yaw turns the nose to the
        right of the picture, positive pitch lowers the chin, positive roll tilts the head counter-clockwise,
        positive tx moves right, positive ty moves up, scale above 1 is nearer.
    expression: float32 [N, 53], rig weights 0..1 in the order of `EXPRESSION_NAMES`, added to the resting
        face with closed lips.
    gaze: float32 [N, 2] = yaw, pitch in degrees relative to the camera; (0, 0) looks into it; signs as in
        pose.
    """

    pose: Tensor
    expression: Tensor
    gaze: Tensor

    def __post_init__(self) -> None:
        frames = self.pose.shape[0]
        for name, width in (("pose", 6), ("expression", len(EXPRESSION_NAMES)), ("gaze", 2)):
            values: Tensor = getattr(self, name)
            if tuple(values.shape) != (frames, width) or values.dtype != torch.float32:
                came = f"{values.dtype} {list(values.shape)}"
                raise GeneratorError(f"motion {name} must be float32 [{frames}, {width}], but is {came}")
            if not bool(torch.isfinite(values).all()):
                raise GeneratorError(f"motion {name} has values that are not finite")

    def __len__(self) -> int:
        return self.pose.shape[0]

    def __getitem__(self, frames: slice) -> MotionBlock:
        return MotionBlock(self.pose[frames], self.expression[frames], self.gaze[frames])

    def to(self, device: torch.device) -> MotionBlock:
        """The same on another device."""
        return MotionBlock(self.pose.to(device), self.expression.to(device), self.gaze.to(device))

    @staticmethod
    def still(frames: int) -> MotionBlock:
        """The portrait as it is, `frames` times."""
        pose = torch.zeros(frames, 6)
        pose[:, 5] = 1.0
        return MotionBlock(pose, torch.zeros(frames, len(EXPRESSION_NAMES)), torch.zeros(frames, 2))

    @staticmethod
    def join(blocks: list[MotionBlock]) -> MotionBlock:
        """One after the other in time."""
        return MotionBlock(
            torch.cat([block.pose for block in blocks]),
            torch.cat([block.expression for block in blocks]),
            torch.cat([block.gaze for block in blocks]),
        )


class MotionState(Protocol):
    """What the motion model carries from one call to the next; callers only hand it back."""

    @property
    def frames_made(self) -> int:
        """Frames returned so far."""
