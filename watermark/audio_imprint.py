"""Finds the smallest change of sound that makes the detector read the wanted bits: descent on the detector's own sums.

For each coded bit (and each of 64 parts of the pilot) the detector adds up the deviations of the cells that belong to
it. The sound itself contributes to those sums, mostly at random; the residual is shaped to put every sum safely on the
right side, with the sound's own contribution counted in (informed embedding; Malvar and Florencio 2003 take the host
out of one correlation in closed form). It is done for the sound as it is and for the sound under noise, and for the
whole band and for that of a telephone, so that no bit depends on cells that are easily lost.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from watermark.audio_pattern import AUDIBLE, BINS, CHIP, FIRST_BIN, FRAME, LAST_BIN, TELEPHONE_BINS, deviation, window
from watermark.code import CODED_BITS

HOP = FRAME // 2
PILOT_PARTS = 64
SUMS = CODED_BITS + PILOT_PARTS
SNR_DB = 28.5  # of each block
STEPS = 6
MOMENTUM = 0.8
SAFE = 4.0  # a sum this far on the right side is pushed on only a little
PEAK = 3.0  # greatest amplitude of a cell's change over the mean, both relative to the mask
MASK_EXPONENT = 0.6  # of the typical magnitude; 1 follows the sound, 0 is flat
MASK_BINS = 8
MEMORY = 0.7  # weight of the blocks before in a bit's sum
NOISE_DB = 20.0
EVALUATED = (0, CHIP // 4, CHIP // 2)  # frame starts within a chip


@dataclass(frozen=True)
class Sums:
    """The detector's sums so far, decayed: float32 [2, SUMS], without and with noise."""

    values: Tensor

    @classmethod
    def none(cls) -> Sums:
        return cls(torch.zeros(2, SUMS))


def parts_of(owner: Tensor) -> Tensor:
    """Which sum each chip belongs to: its coded bit's, or one of the pilot's parts."""
    pilot = owner < 0
    parts = owner.clone()
    parts[pilot] = CODED_BITS + torch.arange(int(pilot.sum())) % PILOT_PARTS
    return parts


def residual(
    sound: Tensor, before: Tensor, chips: Tensor, parts: Tensor, sums: Sums, strength: float
) -> tuple[Tensor, Sums]:
    """What to add to `sound` [C * CHIP + HOP] at ANALYSIS_RATE, same length, and the sums after it.

    `before` is what the last block already adds here; `chips` in {-1, 1} and `parts` are [C, BINS]. Silence stays
    silent: the residual is zero where no cell is audible.
    """
    mask = _mask(sound)
    if float(mask.max()) == 0:
        return torch.zeros_like(sound), Sums(MEMORY * sums.values)
    budget = sound.square().sum() * 10 ** (-SNR_DB / 10)
    starts = (torch.arange(len(chips))[:, None] * CHIP + torch.tensor(EVALUATED)).flatten()
    places = starts[:, None] + torch.arange(FRAME)
    taper = window()
    host = (sound + before)[places] * taper
    noise = 10 ** (-NOISE_DB / 10) * sound.square().mean() * taper.square().sum()
    wanted, into = chips.repeat_interleave(len(EVALUATED), 0), parts.repeat_interleave(len(EVALUATED), 0)

    def read(change: Tensor) -> tuple[Tensor, Tensor]:
        power = torch.fft.rfft(host + _synthesis(change, mask)[places] * taper).abs().square()
        loss, after = change.new_zeros(()), []
        for before_sums, extra in zip(sums.values, (0.0, noise), strict=True):
            value, typical = deviation(power + extra)
            right = value * wanted * (typical > AUDIBLE)
            whole = before_sums.scatter_add(0, into.flatten(), right.flatten())
            low = (before_sums * TELEPHONE_BINS / BINS).scatter_add(
                0, into[:, :TELEPHONE_BINS].flatten(), right[:, :TELEPHONE_BINS].flatten()
            )
            loss = loss + F.softplus(-whole / SAFE).sum() + 0.5 * F.softplus(-low / SAFE).sum()
            after.append(whole)
        return loss, torch.stack(after)

    change = torch.zeros(*mask.shape, 2)
    with torch.enable_grad():
        for _ in range(STEPS):
            change.requires_grad_(True)
            (slope,) = torch.autograd.grad(read(change)[0], change)
            change = _step(change.detach(), slope, mask)
            change = change * (budget / _synthesis(change, mask).square().sum().clamp(min=1e-20)).sqrt()
    added = strength * _synthesis(change, mask)
    _, after = read(strength * change)
    return added, Sums(MEMORY * after)


def _step(change: Tensor, slope: Tensor, mask: Tensor) -> Tensor:
    """One step down the slope, of the size of a whole change; no cell far above the others."""
    size = change.square().mean().sqrt()
    change = MOMENTUM * change / size.clamp(min=1e-12) - slope / slope.square().mean().sqrt().clamp(min=1e-20)
    amplitude = change.square().sum(-1, keepdim=True).sqrt()
    mean = change[mask > 0].square().sum(-1).mean().sqrt()
    return change * (PEAK * mean / amplitude.clamp(min=1e-12)).clamp(max=1)


def _mask(sound: Tensor) -> Tensor:
    """Amplitude [frames, FRAME / 2 + 1] of a change that is equally hard to hear everywhere, up to a factor."""
    frames = sound.unfold(0, FRAME, HOP) * window()
    log = torch.log(torch.fft.rfft(frames).abs() + 1e-5)
    padded = F.pad(log[:, None], (MASK_BINS, MASK_BINS), mode="replicate")
    typical = torch.exp(F.avg_pool1d(padded, 2 * MASK_BINS + 1, stride=1)[:, 0])
    mask = typical**MASK_EXPONENT * (typical > AUDIBLE)
    mask[:, :FIRST_BIN] = 0
    mask[:, LAST_BIN + 1 :] = 0
    return mask


def _synthesis(change: Tensor, mask: Tensor) -> Tensor:
    """The waveform [(frames + 1) * HOP] of `change` [frames, bins, 2] (real, imaginary) times `mask`."""
    frames = torch.fft.irfft(torch.view_as_complex(change) * mask, FRAME) * window()
    length = (len(frames) + 1) * HOP
    return F.fold(frames.T[None], (1, length), (1, FRAME), stride=(1, HOP)).reshape(-1)
