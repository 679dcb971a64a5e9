"""How much residual each cell of a picture can hide."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

STRUCTURE_C2 = (0.03 * 255) ** 2  # of SSIM (Wang et al. 2004)
TEXTURE_POWER = 0.5
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
    """Mask [N, h, w] from each cell's mean luma (0..255) and the variance of the luma around it.

    Texture hides noise: what structural similarity loses by a residual of given power goes with
    1 / (2 variance + C2). Dark and bright areas hide it too (luminance masking). The variance is eroded
    by a cell: what lies beside an outline, on the flat side of it, hides nothing.
    """
    eroded = -F.max_pool2d(-variance[:, None], 3, stride=1, padding=1)[:, 0]
    texture = (2 * blur(eroded, 3).clamp(min=0) + STRUCTURE_C2) ** (TEXTURE_POWER / 2)
    wide = blur(mean, 5)
    dark, bright = ((60 - wide) / 60).clamp(min=0), ((wide - 180) / 75).clamp(min=0)
    return texture * (1 + 0.6 * dark + 0.3 * bright)


def received_mask(luma: Tensor) -> Tensor:
    """The mask as well as it can be told from cell lumas [N, h, w] (0..255) alone."""
    mean = blur(luma, 3)
    return visibility_mask(luma, (blur(luma * luma, 3) - mean * mean).clamp(min=0))


def luma_of(frames: Tensor) -> Tensor:
    """Luma [N, H, W] float32 0..255 of frames uint8 [N, 3, H, W]."""
    red, green, blue = (frames[:, channel].float() for channel in range(3))
    return torch.add(torch.add(red * LUMA[0], green, alpha=LUMA[1]), blue, alpha=LUMA[2])
