"""Small pictures of the recent past: all that the video detector remembers.

Frames are reduced to at most STORED_PX on the short side and averaged over slots of SLOT_S seconds,
by presentation time, so that frame rate and dropped frames don't matter. A window of 20 s of square
video takes 65 MB.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from math import floor

import torch
import torch.nn.functional as F
from torch import Tensor

from watermark.errors import TooSmallError, WatermarkError
from watermark.lattice import LONGEST_ASPECT, overlap_matrix
from watermark.video_pattern import SEGMENT_S
from watermark.visibility import luma_of

SLOTS_PER_SEGMENT = 4
SLOT_S = SEGMENT_S / SLOTS_PER_SEGMENT
STORED_PX = 256
SMALLEST_RECEIVED_PX = 64


class FrameWindow:
    """Luma pictures by time slot. `push` frames, read `pictures`, `clear` to begin a new window."""

    def __init__(self) -> None:
        self._size: tuple[int, int] | None = None
        self._sums: dict[int, Tensor] = {}
        self._counts: dict[int, int] = {}
        self._first_slot: int | None = None
        self._last_slot = 0

    def push(self, frames: Tensor, times: Sequence[Fraction]) -> None:
        """Add frames uint8 [N, 3, H, W] shown at `times` seconds, ascending."""
        if frames.dtype != torch.uint8 or frames.ndim != 4 or frames.shape[1] != 3:
            raise WatermarkError(f"frames must be uint8 [N, 3, H, W], got {frames.dtype} {list(frames.shape)}")
        if len(times) != len(frames):
            raise WatermarkError(f"every frame needs a time: {len(frames)} frames, {len(times)} times")
        size = (int(frames.shape[2]), int(frames.shape[3]))
        self._size = self._size or _checked(size)
        if size != self._size:
            raise WatermarkError(f"the frame size changed from {self._size} to {size} (height, width) on the way")
        for frame, time in zip(frames, times, strict=True):
            small = _small_luma(frame).cpu()
            self._add(floor(Fraction(time) / SLOT_S), small)

    def _add(self, slot: int, small: Tensor) -> None:
        if self._first_slot is None:
            self._first_slot = slot
        elif slot < self._last_slot:
            raise WatermarkError("frames must come in the order of their times")
        self._last_slot = slot
        if slot in self._sums:
            self._sums[slot] = (self._sums[slot].float() + small).half()
            self._counts[slot] += 1
        else:
            self._sums[slot], self._counts[slot] = small.half(), 1

    @property
    def seconds(self) -> float:
        """Time from the first to the last slot of this window."""
        if self._first_slot is None:
            return 0.0
        return float((self._last_slot + 1 - self._first_slot) * SLOT_S)

    def pictures(self) -> tuple[Tensor, Tensor]:
        """Slot numbers int64 [K], ascending, and mean lumas float32 [K, h, w] (-128..127)."""
        slots = sorted(self._sums)
        stacked = torch.stack([self._sums[slot].float() / self._counts[slot] for slot in slots])
        return torch.tensor(slots), stacked

    def clear(self) -> None:
        """Forget the pictures; the frame size stays."""
        self._sums, self._counts, self._first_slot = {}, {}, None


def reduced_luma(frame: Tensor) -> Tensor:
    """Luma [h, w] (-128..127) of one frame uint8 [3, H, W], at most STORED_PX on the short side."""
    _checked((int(frame.shape[1]), int(frame.shape[2])))
    return _small_luma(frame).cpu()


def _small_luma(frame: Tensor) -> Tensor:
    """Luma [h, w] (-128..127) of a frame uint8 [3, H, W]; large ones are halved in whole numbers first."""
    sums, shares = frame, 1
    while min(sums.shape[1:]) >= 4 * STORED_PX and sums.shape[1] % 2 == sums.shape[2] % 2 == 0 and shares < 64:
        rows = sums[:, ::2].to(torch.int16) + sums[:, 1::2]
        sums, shares = rows[..., ::2] + rows[..., 1::2], shares * 4
    return _reduced(luma_of(sums[None])[0] / shares - 128)


def _reduced(luma: Tensor) -> Tensor:
    """Mean lumas with at most STORED_PX on the short side, of a picture [H, W]."""
    height, width = luma.shape
    short = min(height, width)
    factor = short // STORED_PX
    if short == factor * STORED_PX and height % factor == width % factor == 0:
        return F.avg_pool2d(luma[None, None], factor)[0, 0]
    rows, columns = (_reduce_matrix(side, short).to(luma.device) for side in (height, width))
    return rows @ luma @ columns.T


@lru_cache(maxsize=32)
def _reduce_matrix(side_px: int, short_px: int) -> Tensor:
    stored = max(1, round(side_px * min(STORED_PX, short_px) / short_px))
    return overlap_matrix(torch.arange(stored + 1, dtype=torch.float64) * side_px / stored, side_px)


def _checked(size: tuple[int, int]) -> tuple[int, int]:
    short, long = sorted(size)
    if short < SMALLEST_RECEIVED_PX or long > LONGEST_ASPECT * short:
        limits = f"at least {SMALLEST_RECEIVED_PX} px and at most {LONGEST_ASPECT:g} : 1"
        raise TooSmallError(f"can't look for a mark in {size[1]}x{size[0]} frames: they must be {limits}")
    return size
