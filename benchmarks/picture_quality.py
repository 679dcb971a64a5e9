"""How much a picture was changed: PSNR and SSIM of luma, and a sheet that shows the change enlarged."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from watermark.visibility import luma_of

GAIN = 20


def psnr_db(before: Tensor, after: Tensor) -> float:
    """Mean over frames uint8 [N, 3, H, W] of the luma's PSNR, dB."""
    error = (luma_of(before) - luma_of(after)).square().mean((1, 2)).clamp(min=1e-9)
    return float((10 * torch.log10(255**2 / error)).mean())


def ssim(before: Tensor, after: Tensor) -> float:
    """Mean SSIM (Wang et al. 2004, Gaussian window of deviation 1.5) of the luma of frames uint8 [N, 3, H, W]."""
    x = torch.arange(11) - 5.0
    line = torch.exp(-x.square() / 4.5)
    line = line / line.sum()

    def mean(picture: Tensor) -> Tensor:
        rows = F.conv2d(picture[:, None], line[None, None, :, None])
        return F.conv2d(rows, line[None, None, None])[:, 0]

    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    values = []
    for one, other in zip(before.split(5), after.split(5), strict=True):
        a, b = luma_of(one), luma_of(other)
        mean_a, mean_b = mean(a), mean(b)
        var_a, var_b = mean(a * a) - mean_a**2, mean(b * b) - mean_b**2
        cov = mean(a * b) - mean_a * mean_b
        values.append(
            ((2 * mean_a * mean_b + c1) * (2 * cov + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))).mean(
                (1, 2)
            )
        )
    return float(torch.cat(values).mean())


def difference_sheet(pairs: Sequence[tuple[str, Tensor, Tensor]], out: Path) -> None:
    """Rows of before, after and 20 times the difference around grey, as PNG; frames uint8 [3, H, W] of one size."""
    strips = []
    for title, before, after in pairs:
        change = ((after.float() - before.float()) * GAIN + 128).clamp(0, 255).to(torch.uint8)
        strip = torch.cat([before, after, change], 2).permute(1, 2, 0).numpy()
        bgr = cv2.cvtColor(np.ascontiguousarray(strip), cv2.COLOR_RGB2BGR)
        cv2.putText(bgr, title, (6, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 255), 1, cv2.LINE_AA)
        strips.append(bgr)
    part = out.with_suffix(".part.png")
    if not cv2.imwrite(str(part), np.concatenate(strips)):
        raise OSError(f"{part} can't be written")
    part.replace(out)
