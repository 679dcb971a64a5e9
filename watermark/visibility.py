"""How much residual each cell of a picture can hide."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

FLAT_RMS = 0.45  # grey levels where nothing hides the mark
HIDDEN = 0.95  # grey levels more for each grey level of texture ...
TEXTURE_POWER = 0.8  # ... to this power
MOST_HIDDEN = 3.0  # grey levels more, at most
SMOOTH = 0.25  # deviation within a cell that a plain gradient has, grey levels
LUMA = (0.299, 0.587, 0.114)  # BT.601 weights, full range


def blur(picture: Tensor, width: int) -> Tensor:
    """Box mean of odd `width`, run twice (nearly a Gaussian), borders mirrored: [N, H, W] -> same."""
    out = F.pad(picture, (width - 1,) * 4, mode="reflect")
    for axis in (1, 2, 1, 2):
        length = out.shape[axis] - width + 1
        total = out.narrow(axis, 0, length) + out.narrow(axis, 1, length)
        for shift in range(2, width):
            total += out.narrow(axis, shift, length)
        out = total
    return out.mul_(width**-4)


def visibility_mask(mean: Tensor, variance: Tensor) -> Tensor:
    """Greatest rms of a residual [N, h, w], in grey levels, from each cell's mean luma (0..255) and its variance.

    Nothing hides it on flat places, where it is FLAT_RMS. Texture hides noise, and so do dark and bright areas
    (luminance masking). The variance is eroded by a cell: what lies beside an outline, on the flat side of it,
    hides nothing.
    """
    eroded = -F.max_pool2d(-variance[:, None], 3, stride=1, padding=1)[:, 0]
    texture = (blur(eroded, 3).clamp(min=0).sqrt() - SMOOTH).clamp(min=0) ** TEXTURE_POWER
    wide = blur(mean, 5)
    dark, bright = ((60 - wide) / 60).clamp(min=0), ((wide - 180) / 75).clamp(min=0)
    hidden = HIDDEN * texture * (1 + 0.6 * dark + 0.3 * bright)
    return FLAT_RMS + hidden.clamp(max=MOST_HIDDEN)


def received_mask(luma: Tensor) -> Tensor:
    """The mask as well as it can be told from cell lumas [N, h, w] (0..255) alone."""
    mean = blur(luma, 3)
    return visibility_mask(luma, (blur(luma * luma, 3) - mean * mean).clamp(min=0))


def luma_of(frames: Tensor) -> Tensor:
    """Luma [N, H, W] float32 0..255 of frames uint8 [N, 3, H, W]."""
    red, green, blue = (frames[:, channel].float() for channel in range(3))
    return torch.add(torch.add(red * LUMA[0], green, alpha=LUMA[1]), blue, alpha=LUMA[2])
