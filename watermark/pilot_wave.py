"""The pilot's wave in time, taken out of the pictures of a window.

The pilot changes its sign with every segment, so at the speed at which it was made it is a wave of 3.125 Hz.
Still content holds none of it, and neither do noise and movement more of it than of other frequencies.
"""

from __future__ import annotations

from math import pi

import torch
import torch.nn.functional as F
from torch import Tensor

from watermark.frame_window import SLOTS_PER_SEGMENT
from watermark.lattice import overlap_matrix
from watermark.visibility import blur

PERIOD_SLOTS = 2 * SLOTS_PER_SEGMENT
SEARCH_PX = 128  # short side of the pictures in which the pilot is looked for
STRETCH = 16  # pictures that are levelled together
SMOOTH_PX = 9
LEVEL_PX = 7
WHITE_BINS = 11


def levelled(pictures: Tensor) -> Tensor:
    """What changes in pictures [K, H, W], equally strong everywhere: [K, h, w], at most SEARCH_PX on the short side.

    Each picture less the mean of its neighbours in time, high-passed, divided by its local level: where and
    when the picture moves, the mark is hard to see, and no cut or flash outvotes the rest of the clip.
    """
    small = reduced(pictures)
    small = small - _running_mean(small, PERIOD_SLOTS + 1)
    small -= blur(small, SMOOTH_PX)
    for part in torch.split(small, STRETCH):
        level = blur(part.square().mean(0, keepdim=True), LEVEL_PX).clamp(min=0).sqrt()
        part /= level.clamp(min=0.05 * float(level.mean()) + 1e-6)
    return small.clamp_(-4, 4)


def waves(slots: Tensor, changes: Tensor, speeds: Tensor) -> Tensor:
    """The share of the pilot's wave in levelled pictures [K, h, w], for each speed: complex64 [V, h, w]."""
    angle = speeds.double()[:, None] * slots.double() * (2 * pi / PERIOD_SLOTS)
    flat = changes.flatten(1)
    real, imaginary = angle.cos().float() @ flat, -angle.sin().float() @ flat
    return torch.complex(real, imaginary).reshape(len(speeds), *changes.shape[1:])


def white(waves: Tensor) -> Tensor:
    """Waves complex64 [V, h, w] with every spatial frequency as strong as its surroundings in the spectrum.

    Only then does a sum over the pilot's few frequencies have the spread that chance gives it.
    """
    middle = (waves.shape[1] // 2, waves.shape[2] // 2)
    spectra = torch.roll(torch.fft.fft2(waves), middle, (1, 2))
    level = blur(spectra.abs().square(), WHITE_BINS).clamp(min=0).sqrt()
    flat = spectra / level.clamp(min=1e-3 * float(level.mean()) + 1e-9)
    out: Tensor = torch.fft.ifft2(torch.roll(flat, (-middle[0], -middle[1]), (1, 2)))
    return out


def phase_slots(peak: complex) -> float:
    """Slot number, modulo 8, of the rising edge of the square wave whose fundamental is `peak`."""
    angle = torch.tensor(peak).angle().item()
    # + for 4 slots from slot s on, sampled at whole slots: its centre is s + 1.5, where the angle is 0
    return float((-angle * PERIOD_SLOTS / (2 * pi) - (SLOTS_PER_SEGMENT - 1) / 2) % PERIOD_SLOTS)


def reduced(pictures: Tensor) -> Tensor:
    """Area means of pictures [K, H, W] with at most SEARCH_PX on the short side."""
    height, width = pictures.shape[1:]
    short = min(height, width)
    if short == 2 * SEARCH_PX and height % 2 == width % 2 == 0:
        return F.avg_pool2d(pictures[None], 2)[0]
    sides = [max(1, round(side * min(SEARCH_PX, short) / short)) for side in (height, width)]
    rows, columns = (
        overlap_matrix(torch.arange(n + 1, dtype=torch.float64) * side / n, side)
        for n, side in zip(sides, (height, width), strict=True)
    )
    return torch.cat([rows @ part @ columns.T for part in torch.split(pictures, 64)])


def _running_mean(pictures: Tensor, width: int) -> Tensor:
    """Mean of up to `width` pictures around each."""
    count = len(pictures)
    total = torch.cat([torch.zeros_like(pictures[:1]), pictures.cumsum(0)])
    at = torch.arange(count)
    low, high = (at - width // 2).clamp(min=0), (at + width // 2 + 1).clamp(max=count)
    return (total[high] - total[low]) / (high - low)[:, None, None]
