"""Between stored video colour (YUV of some matrix and range) and 8-bit full-range RGB.

Matrix and range are taken from the frame's tags (ITU-T H.273). An untagged frame is read as most players
do: BT.709 from 720 lines on, BT.601 below, limited range. Transfer curves stay as stored: no tone mapping.
"""

from __future__ import annotations

from typing import Any

import av
import numpy as np
import torch
from av.video.plane import VideoPlane
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from torch import Tensor

HD_HEIGHT_PX = 720
"""Untagged frames from this height on are taken as BT.709."""

_MATRIX_BY_TAG = {
    1: Colorspace.ITU709,
    4: Colorspace.FCC,
    5: Colorspace.ITU601,
    6: Colorspace.ITU601,
    7: Colorspace.SMPTE240M,
    9: Colorspace.BT2020,
    10: Colorspace.BT2020,
}
"""H.273 matrix coefficients -> swscale's. 5 (625 lines) and 6 (525 lines) are the same BT.601 numbers."""

_RGB_PLANES = (2, 0, 1)
"""Where planar "gbrp" keeps red, green and blue. Planar is as exact as packed RGB and over twice as fast."""

# Without ACCURATE_RND swscale takes shortcuts that are off by 9 levels (RMS) on colourful pictures.
_EXACT = Interpolation.ACCURATE_RND | Interpolation.BITEXACT
_TO_RGB = Interpolation.BILINEAR | Interpolation.FULL_CHR_H_INT | _EXACT
_TO_RGB_SMALLER = Interpolation.AREA | Interpolation.FULL_CHR_H_INT | _EXACT
_TO_YUV = Interpolation.BICUBIC | Interpolation.FULL_CHR_H_INP | _EXACT


class RgbConverter:
    """Turns decoded frames into RGB of one fixed size; keeps the scaler's tables between frames."""

    def __init__(self, width: int, height: int) -> None:
        self._width = width
        self._height = height
        self._scaler = VideoReformatter()

    def convert(self, frame: av.VideoFrame) -> Tensor:
        """The frame as uint8 [3, H, W] RGB."""
        smaller = frame.width > self._width or frame.height > self._height
        rgb = self._scaler.reformat(
            frame,
            self._width,
            self._height,
            "gbrp",
            src_colorspace=_matrix(frame),
            src_color_range=_range(frame),
            dst_color_range=ColorRange.JPEG,
            interpolation=_TO_RGB_SMALLER if smaller else _TO_RGB,
            threads=1,
        )
        return torch.from_numpy(np.stack([_pixels(rgb.planes[index]) for index in _RGB_PLANES]))


class Bt709Converter:
    """Turns RGB into the yuv420p, BT.709, limited-range frames that an encoder is given."""

    def __init__(self) -> None:
        self._scaler = VideoReformatter()

    def convert(self, frame: Tensor) -> av.VideoFrame:
        """A video frame from uint8 [3, H, W] RGB."""
        rgb = av.VideoFrame(frame.shape[2], frame.shape[1], "gbrp")
        for channel, index in zip(frame.cpu().numpy(), _RGB_PLANES, strict=True):
            _pixels(rgb.planes[index])[:] = channel
        return self._scaler.reformat(
            rgb,
            format="yuv420p",
            dst_colorspace=Colorspace.ITU709,
            src_color_range=ColorRange.JPEG,
            dst_color_range=ColorRange.MPEG,
            interpolation=_TO_YUV,
            threads=1,
        )


def _pixels(plane: VideoPlane) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A view [H, W] on one 8-bit plane, without the padding of its rows."""
    return np.asarray(memoryview(plane)).reshape(-1, plane.line_size)[: plane.height, : plane.width]


def _matrix(frame: av.VideoFrame) -> Colorspace:
    guess = Colorspace.ITU709 if frame.height >= HD_HEIGHT_PX else Colorspace.ITU601
    return _MATRIX_BY_TAG.get(frame.colorspace, guess)


def _range(frame: av.VideoFrame) -> ColorRange:
    full = frame.color_range == ColorRange.JPEG or frame.format.name.startswith("yuvj") or frame.format.is_rgb
    return ColorRange.JPEG if full else ColorRange.MPEG
