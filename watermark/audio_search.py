"""Where in a window of sound a pattern begins, and how fast it runs: pilot correlation over all hypotheses.

A window is read as a plane of cell values every FINE samples of the original's time. For a recording that was sped up
with its pitch, the frames are shortened so that the same cells fall on the same bins again; for a changed tempo at the
same pitch only their distance changes. A cut is looked for as two pieces of one window with starts of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from watermark.audio_pattern import (
    ANALYSIS_RATE,
    BINS,
    CELLS,
    CHIP,
    FRAME,
    LAST_BIN,
    PERIOD,
    PILOT_CELLS,
    SMOOTH_BINS,
    TELEPHONE_BINS,
    AudioPattern,
    deviation,
    window,
)
from watermark.code import CODED_BITS

FINE = CHIP // 8
FINE_PER_CHIP = CHIP // FINE
FRAMES_IN_CHIP = (CHIP - FRAME // 2) // FINE + 1  # frames summed for a chip: starts 0 to half a chip
PIECE_S = 0.25  # a cut is looked for at multiples of this
SPEED_FRAMES = range(912, 1152, 4)  # frame lengths that undo a speed; those between two are near enough to both
COARSE_HZ = 3700.0
COARSE_IN_CHIP = FRAMES_IN_CHIP // 2 + 1
TEMPOS = tuple(1 + 0.004 * step for step in range(-30, 31) if step)
DEPENDABLE = 1e-6  # power below this share of the window's mean says nothing


@dataclass(frozen=True)
class Hypothesis:
    """Likely starts: pilot z in standard deviations of its null, and the places that are read, in folded planes."""

    z: float
    pieces: tuple[tuple[Tensor, int], ...]

    def word(self, pattern: AudioPattern) -> tuple[float, NDArray[np.float64]]:
        """The soft code word [512] read there, and its energy over what chance gives it, in standard deviations.

        With secret random signs a bit's variance is the sum of its cells' squares, whatever the sound is.
        """
        word = sum((_word(table, place, pattern) for table, place in self.pieces), np.zeros(CODED_BITS))
        energy = sum(float(table[:, place % FINE_PER_CHIP].square().sum()) for table, place in self.pieces)
        variance = max(1e-12, energy * (1 - PILOT_CELLS / CELLS) / CODED_BITS)
        return (float(word @ word) / variance - CODED_BITS) / (2 * CODED_BITS) ** 0.5, word


def _word(table: Tensor, place: int, pattern: AudioPattern) -> NDArray[np.float64]:
    start, fine = divmod(place, FINE_PER_CHIP)
    values = (table[:, fine].roll(-start, 0) * pattern.signs).flatten()
    owner = pattern.owner.flatten()
    data = owner >= 0
    return np.bincount(owner[data].numpy(), values[data].numpy(), CODED_BITS).astype(np.float64)


def plane(sound: Tensor, length: int = FRAME) -> Tensor:
    """Weighted chip values [K, BINS] of `sound` [n] at ANALYSIS_RATE, every FINE samples before it was sped up.

    `length` of the frames is FRAME / speed. Cells are weighted by what is left of them above the window's own steady
    noise.
    """
    hop = FINE * length / FRAME
    count = int((len(sound) - length) // hop) + 1
    if count < FRAMES_IN_CHIP:
        return torch.zeros(0, BINS)
    starts = (torch.arange(count) * hop).round().long()
    power = torch.fft.rfft(sound[starts[:, None] + torch.arange(length)] * window(length)).abs().square()
    return _weighted(F.pad(power, (0, max(0, LAST_BIN + SMOOTH_BINS + 1 - power.shape[1]))), BINS)


def _weighted(power: Tensor, bins: int) -> Tensor:
    value, typical = deviation(power, bins)
    level = typical.square()
    noise = level[::8].quantile(0.1, dim=0, keepdim=True)
    weight = (level - noise).clamp(min=0) / (level + 2 * noise + DEPENDABLE * level.mean() + 1e-20)
    value = value * weight
    return value - weight * (value.sum(0) / weight.sum(0).clamp(min=1e-9))


def chip_sums(values: Tensor, frames: int = FRAMES_IN_CHIP) -> Tensor:
    """The sums of the `frames` that lie within a chip, by its start: [K - frames + 1, bins]."""
    return F.avg_pool1d(values.T[None], frames, stride=1)[0].T * frames


def folded(sums: Tensor, first: int = 0, per_chip: int = FINE_PER_CHIP) -> Tensor:
    """Chip sums added up modulo one period: [PERIOD, per_chip, bins]; the first row is number `first`."""
    table = torch.zeros(PERIOD * per_chip, sums.shape[1])
    table.index_add_(0, (torch.arange(len(sums)) + first) % len(table), sums)
    return table.reshape(PERIOD, per_chip, -1)


class PilotSearch:
    """A pilot [PERIOD, BINS], looked for in planes."""

    def __init__(self, pilot: Tensor) -> None:
        pilots = torch.stack([pilot.roll(start, 0) for start in range(PERIOD)])
        self._pilots = {bins: pilots[:, :, :bins].flatten(1) for bins in (BINS, TELEPHONE_BINS)}

    def plain(self, table: Tensor, count: int) -> list[Hypothesis]:
        """The likeliest starts in a folded plane, best first."""
        correlation, energy = self._correlate(table)
        z = correlation / energy.sqrt().clamp(min=1e-9)
        best = z.flatten().topk(count)
        return [Hypothesis(float(v), ((table, int(i)),)) for v, i in zip(best.values, best.indices, strict=True)]

    def best_z(self, table: Tensor) -> float:
        """The highest pilot z over all starts."""
        correlation, energy = self._correlate(table)
        return float((correlation / energy.sqrt().clamp(min=1e-9)).max())

    def cut(self, sums: Tensor, rate: int) -> Hypothesis | None:
        """The likeliest pair of starts when something was cut out or put in at one place."""
        rows = max(1, round(PIECE_S * rate / FINE))
        tables = [folded(sums[i : i + rows], i) for i in range(0, len(sums), rows)]
        if len(tables) < 4:
            return None
        both = [self._correlate(table) for table in tables]
        correlation = torch.stack([c for c, _ in both]).cumsum(0).flatten(1)  # [pieces, starts]
        energy = torch.stack([e for _, e in both]).sum(0).mean()
        before, after = correlation[:-1].max(1), (correlation[-1] - correlation[:-1]).max(1)
        split = int((before.values + after.values).argmax())
        z = float((before.values + after.values)[split] / energy.sqrt().clamp(min=1e-9))
        left, right = torch.stack(tables[: split + 1]).sum(0), torch.stack(tables[split + 1 :]).sum(0)
        return Hypothesis(z, ((left, int(before.indices[split])), (right, int(after.indices[split]))))

    def _correlate(self, table: Tensor) -> tuple[Tensor, Tensor]:
        """Pilot correlation [PERIOD, FINE_PER_CHIP] of every start, and its variance under the null, likewise."""
        flat = table.transpose(0, 1).flatten(1)  # [starts within a chip, cells]
        variance = flat.square().sum(1) * PILOT_CELLS / CELLS
        return self._pilots[table.shape[2]] @ flat.T, variance.expand(PERIOD, -1)


def speed_planes(sound: Tensor, lengths: Iterable[int]) -> Iterator[tuple[int, Tensor]]:
    """Frame lengths and folded planes for each: pitch and time changed together."""
    for length in lengths:
        yield length, folded(chip_sums(plane(sound, length)))


def coarse_speed_planes(sound: Tensor) -> Iterator[tuple[int, Tensor]]:
    """The same for all SPEED_FRAMES, at half the rate and twice the distance, of the telephone band alone."""
    spectrum = torch.fft.rfft(sound)
    spectrum[round(COARSE_HZ / ANALYSIS_RATE * len(sound)) :] = 0
    low = torch.fft.irfft(spectrum, len(sound))
    taper = window(FRAME // 2)
    for length in SPEED_FRAMES:
        step = 2 * length / FRAME
        places = torch.arange(int((len(low) - 2) / step), dtype=torch.float64) * step
        left, share = places.long(), places.frac().float()
        slowed = low[left] * (1 - share) + low[left + 1] * share
        if len(slowed) < 2 * FRAME:
            return
        power = torch.fft.rfft(slowed.unfold(0, FRAME // 2, FINE) * taper).abs().square()
        yield length, folded(chip_sums(_weighted(power, TELEPHONE_BINS), COARSE_IN_CHIP), per_chip=FINE_PER_CHIP // 2)


def tempo_planes(values: Tensor) -> Iterator[tuple[float, Tensor]]:
    """Tempos and folded planes for each, from the plane at the recording's own: the pitch is unchanged."""
    for tempo in TEMPOS:
        rows = (torch.arange(int(len(values) * tempo)) / tempo).round().long().clamp(max=len(values) - 1)
        yield tempo, folded(chip_sums(values[rows]))
