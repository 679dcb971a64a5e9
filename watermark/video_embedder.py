"""Marks video frames as they stream by."""

from __future__ import annotations

from fractions import Fraction
from math import floor

import torch
from torch import Tensor

from watermark.code import encode
from watermark.errors import WatermarkError
from watermark.key import MarkKey
from watermark.lattice import GRID, LONGEST_ASPECT, SMALLEST_SIDE_PX, shrink_matrix, spread_matrix
from watermark.payload import Payload, pack
from watermark.video_pattern import SEGMENT_S, SEGMENTS, VideoPattern
from watermark.visibility import luma_of, visibility_mask

GREATEST_RMS = 255 / 10 ** (46.75 / 20)  # grey levels, at strength 1, before rounding (which costs 0.5 dB)
CUDA_BATCH = 16


class VideoEmbedder:
    """Adds the mark of one payload to a stream of frames of one size and rate.

    The result does not depend on how the stream is cut into blocks: frames are worked on in
    batches of one fixed shape. State is one frame counter. Time starts at 0 with the first frame;
    frame i lies at i / fps.
    """

    def __init__(
        self,
        key: MarkKey,
        payload: Payload,
        *,
        width: int,
        height: int,
        fps: Fraction,
        strength: float = 1.0,
    ) -> None:
        """`strength` multiplies the amplitude, 0 < strength <= 4; 1 gives about 46.3 dB PSNR of luma."""
        check_frame_size(width, height)
        if not 1 <= fps <= 240:
            raise WatermarkError(f"the frame rate must lie in 1..240 frames/s, got {fps}")
        if not 0 < strength <= 4:
            raise WatermarkError(f"strength must lie in (0, 4], got {strength}")
        self._height, self._width, self._fps = height, width, Fraction(fps)
        self._strength = strength
        self._coded = torch.from_numpy(encode(pack(payload, key))).float() * 2 - 1
        self._pattern = VideoPattern.of(key)
        self._next_frame = 0
        self._chips: dict[tuple[int, torch.device], Tensor] = {}
        self._matrices: dict[torch.device, tuple[Tensor, Tensor, Tensor, Tensor]] = {}
        self._dither: dict[torch.device, Tensor] = {}

    def push(self, frames: Tensor) -> Tensor:
        """Marked copies of frames uint8 [N, 3, H, W], same shape, type and device."""
        if frames.dtype != torch.uint8 or frames.ndim != 4 or frames.shape[1] != 3:
            raise WatermarkError(f"frames must be uint8 [N, 3, H, W], got {frames.dtype} {list(frames.shape)}")
        if frames.shape[2:] != (self._height, self._width):
            came = f"{frames.shape[3]}x{frames.shape[2]}"
            raise WatermarkError(f"this embedder was made for {self._width}x{self._height} frames, got {came}")
        batch = CUDA_BATCH if frames.is_cuda else 1
        marked = torch.empty_like(frames)
        for start in range(0, len(frames), batch):
            part = frames[start : start + batch]
            short = batch - len(part)
            padded = torch.cat([part, part[-1:].expand(short, -1, -1, -1)]) if short else part
            marked[start : start + batch] = self._mark(padded)[: len(part)]
            self._next_frame += len(part)
        return marked

    def _mark(self, frames: Tensor) -> Tensor:
        rows, columns, spread_rows, spread_columns = self._resizers(frames.device)
        luma = luma_of(frames)
        mean = rows @ luma @ columns.T  # [B, h, w]
        variance = (rows @ luma.square_() @ columns.T - mean * mean).clamp_(min=0)
        mask = visibility_mask(mean, variance)
        chips = torch.stack([self._frame_chips(i, frames.device) for i in range(len(frames))])
        residual = spread_rows @ (chips * mask) @ spread_columns.T  # [B, H, W]
        rms = residual.square().mean((1, 2), keepdim=True).sqrt()
        scale = self._strength * (GREATEST_RMS / rms).clamp(max=1)
        residual = (residual * scale).add_(self._thresholds(frames.device)).floor_().to(torch.int16)
        return (frames.to(torch.int16) + residual[:, None]).clamp_(0, 255).to(torch.uint8)

    def _frame_chips(self, ahead: int, device: torch.device) -> Tensor:
        """Chips of the frame `ahead` of the next one, [h, w] with the torus unrolled over the frame."""
        segment = floor((self._next_frame + ahead) / self._fps / SEGMENT_S) % SEGMENTS
        if (segment, device) not in self._chips:
            chips = self._pattern.chips(segment, self._coded)
            h, w = (m.shape[0] for m in self._resizers(device)[:2])
            tiled = chips.repeat(-(-h // GRID), -(-w // GRID))[:h, :w]
            self._chips[segment, device] = tiled.contiguous().to(device)
        return self._chips[segment, device]

    def _thresholds(self, device: torch.device) -> Tensor:
        """What is added before rounding down: of a fraction of a grey level comes that share of the pixels."""
        if device not in self._dither:
            self._dither[device] = dither(self._height, self._width).to(device)
        return self._dither[device]

    def _resizers(self, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        if device not in self._matrices:
            short = min(self._height, self._width)
            made = [
                make(side, short) for make in (shrink_matrix, spread_matrix) for side in (self._height, self._width)
            ]
            self._matrices[device] = (
                made[0].to(device),
                made[1].to(device),
                made[2].to(device),
                made[3].to(device),
            )
        return self._matrices[device]


def dither(height: int, width: int) -> Tensor:
    """Thresholds [height, width] in 0..1 whose every neighbourhood holds low and high ones (Jimenez 2014)."""
    x, y = torch.arange(width, dtype=torch.float64), torch.arange(height, dtype=torch.float64)
    return (52.9829189 * (0.06711056 * x + 0.00583715 * y[:, None]).frac()).frac().float()


def check_frame_size(width: int, height: int) -> None:
    """Raise `WatermarkError` for frames that are too small or too long for the lattice."""
    short, long = sorted((width, height))
    if short < SMALLEST_SIDE_PX:
        raise WatermarkError(f"frames must be at least {SMALLEST_SIDE_PX} px on each side, got {width}x{height}")
    if long > LONGEST_ASPECT * short:
        raise WatermarkError(f"frames may be {LONGEST_ASPECT:g} times as long as wide at most, got {width}x{height}")
