"""A window of equal size in each of several frames: cut out, drawn, put back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from generator.face_state import Box
from generator.warp import pixel_centres
from generator.working_picture import SIZE_PX


@dataclass(frozen=True)
class FrameWindows:
    """corners: left, top of each frame's window, in pixels of the square (or of what `within` was given)."""

    corners: tuple[tuple[int, int], ...]
    width: int
    height: int

    @classmethod
    def near(cls, corners: Sequence[Sequence[float]], width: int, height: int, *, step: int = 1) -> FrameWindows:
        """At whole multiples of `step` near `corners`, inside the square."""

        def placed(value: float, size: int) -> int:
            return min(max(step * round(value / step), 0), SIZE_PX - size)

        return cls(tuple((placed(x, width), placed(y, height)) for x, y in corners), width, height)

    @property
    def bounds(self) -> Box:
        """The smallest box around all of them."""
        lefts, tops = zip(*self.corners, strict=True)
        return min(lefts), min(tops), max(lefts) + self.width, max(tops) + self.height

    def within(self, box: Box) -> FrameWindows:
        """The same, counted from the corner of `box`."""
        return FrameWindows(tuple((x - box[0], y - box[1]) for x, y in self.corners), self.width, self.height)

    def part(self, box: Box) -> FrameWindows:
        """A part of each, `box` counted from its corner."""
        corners = tuple((x + box[0], y + box[1]) for x, y in self.corners)
        return FrameWindows(corners, box[2] - box[0], box[3] - box[1])

    def chosen(self, rows: Sequence[int]) -> FrameWindows:
        """Of some of the frames."""
        return FrameWindows(tuple(self.corners[row] for row in rows), self.width, self.height)

    def cut(self, planes: Tensor) -> Tensor:
        """[N, ..., H, W] -> [N, ..., h, w], a copy."""
        return torch.stack([self._of(planes, row) for row in range(len(self.corners))])

    def put(self, planes: Tensor, part: Tensor) -> None:
        """The reverse, in place."""
        for row in range(len(self.corners)):
            self._of(planes, row).copy_(part[row])

    def centres(self, device: torch.device, step: int = 1) -> Tensor:
        """[N, 2, h, w] = x, y of every `step`-pixel square's centre."""
        corners = torch.tensor(self.corners, dtype=torch.float32, device=device)
        return pixel_centres((0, 0, self.width, self.height), device, step) + corners[:, :, None, None]

    def _of(self, planes: Tensor, row: int) -> Tensor:
        left, top = self.corners[row]
        return planes[row, ..., top : top + self.height, left : left + self.width]
