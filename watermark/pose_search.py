"""Where the lattice lies in a received picture, and which frames share a segment: found by the pilot.

The pilot changes its sign with every segment, so it is a wave of PILOT_HZ in time. One complex
picture, the wave's share of all frames, carries it: still content cancels out, the pilot stays,
and the angle of its correlation tells the segment borders. Space is searched on that one picture:
for each scale one circular FFT correlation gives all shifts at once (the lattice is a torus).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import pi

import torch
from torch import Tensor

from watermark.frame_window import SLOTS_PER_SEGMENT
from watermark.key import MarkKey
from watermark.lattice import GRID, overlap_matrix
from watermark.video_pattern import VideoPattern
from watermark.visibility import blur

SMALLEST_CELLS = GRID // 2  # a crop to half the side
SIDE = 2 * GRID  # the search works on half cells
PERIOD_SLOTS = 2 * SLOTS_PER_SEGMENT
WAVE_SLOTS = 2 * PERIOD_SLOTS
WHITE_PX = 7  # at two stored pixels a cell


@dataclass(frozen=True)
class Pose:
    """Scale and place: the short side shows `cells` cells; its corner lies at (`y`, `x`) on the torus."""

    cells: float = float(GRID)
    y: float = 0.0
    x: float = 0.0
    z: float = 0.0  # pilot peak in standard deviations of chance
    phase_slots: float = 0.0  # slot number, modulo 8, at which an even segment begins


def lattice_edges(pixels: int, cell_px: float, offset: float) -> tuple[int, Tensor]:
    """First whole visible cell and the pixel edges [n + 1] of all whole visible cells of a side."""
    first = int(-(-(offset - 1e-3) // 1))
    last = int((offset + pixels / cell_px + 1e-3) // 1)
    return first, ((torch.arange(first, last + 1, dtype=torch.float64) - offset) * cell_px).clamp(0, pixels)


def on_lattice(pictures: Tensor, pose: Pose) -> tuple[int, int, Tensor]:
    """Cell means [K, h, w] of pictures [K, H, W] in a pose, with the first cell's row and column."""
    height, width = pictures.shape[1:]
    cell_px = min(height, width) / pose.cells
    top, row_edges = lattice_edges(height, cell_px, pose.y)
    left, column_edges = lattice_edges(width, cell_px, pose.x)
    rows, columns = overlap_matrix(row_edges, height), overlap_matrix(column_edges, width)
    return top, left, rows @ pictures @ columns.T


def fold(cells: Tensor, top: int, left: int) -> Tensor:
    """Sum of cells [..., h, w] on the torus [..., G, G]; the first lies at row `top`, column `left`."""
    return torch.roll(_summed_tiles(cells, GRID), (top % GRID, left % GRID), (-2, -1))


def _summed_tiles(cells: Tensor, side: int) -> Tensor:
    """Sum of the tiles of [..., h, w] that repeat every `side`: [..., side, side]."""
    torus = cells.new_zeros((*cells.shape[:-2], side, side))
    h, w = cells.shape[-2:]
    for y in range(0, h, side):
        for x in range(0, w, side):
            tile = cells[..., y : y + side, x : x + side]
            torus[..., : tile.shape[-2], : tile.shape[-1]] += tile
    return torus


def pilot_wave(slots: Tensor, pictures: Tensor) -> Tensor:
    """The pictures' share of the pilot's wave, whitened: float32 [2, h, w] (real, imaginary).

    `pictures` [K, h, w] at slot numbers `slots` [K]. Each stretch of WAVE_SLOTS is whitened by itself
    (high-passed, divided by its local level) and has one vote: where and when the picture moves, the
    mark is hard to see, and no cut or flash outvotes the rest of the clip.
    """
    angle = slots.double() * (2 * pi / PERIOD_SLOTS)
    basis = torch.stack([angle.cos(), -angle.sin()]).float()
    total = torch.zeros(2, *pictures.shape[1:])
    for start in range(0, len(slots), WAVE_SLOTS):
        part = basis[:, start : start + WAVE_SLOTS]
        part = part - part.mean(1, keepdim=True)
        wave = (part @ pictures[start : start + WAVE_SLOTS].flatten(1)).reshape(total.shape)
        wave = wave - blur(wave, WHITE_PX)
        level = blur(wave.square().sum(0, keepdim=True), WHITE_PX).clamp(min=0).sqrt()
        total += wave / level.clamp(min=0.05 * float(level.mean()) + 1e-6)
    return total


def identity_pose(wave: Tensor, key: MarkKey) -> Pose:
    """The pose of an uncropped picture, with its pilot z and phase."""
    top, left, cells = on_lattice(wave, Pose())
    pilot = VideoPattern.of(key).pilot
    real, imaginary = (fold(cells, top, left) * pilot).sum((1, 2)).tolist()
    peak = complex(real, imaginary) / max(1e-9, (float(cells.square().sum()) / 2) ** 0.5)
    return Pose(z=abs(peak), phase_slots=_phase(peak))


def search_pose(wave: Tensor, key: MarkKey, *, best: int = 3) -> list[Pose]:
    """The `best` most likely poses over all scales and shifts, most likely first."""
    spectrum = _pilot_spectrum(key)
    coarse = [_correlate(wave, spectrum, float(cells)) for cells in range(GRID, SMALLEST_CELLS - 1, -1)]
    chosen: list[Pose] = []
    for pose in sorted(coarse, key=lambda p: -p.z):
        if all(abs(pose.cells - other.cells) > 1.5 for other in chosen):
            chosen.append(pose)
        if len(chosen) == best:
            break
    fine = [
        max((_correlate(wave, spectrum, pose.cells + step / 4) for step in range(-3, 4)), key=lambda p: p.z)
        for pose in chosen
    ]
    return sorted(fine, key=lambda p: -p.z)


def _correlate(wave: Tensor, spectrum: Tensor, cells: float) -> Pose:
    """Best shift at one scale.

    Against random signs the correlation's variance is at most 4 * sum(|wave|^2) / 2 for each of
    the two components, whatever the picture shows; hence the scale of `z`.
    """
    height, width = wave.shape[1:]
    half_cell = min(height, width) / cells / 2
    rows, columns = (_half_cells(side, half_cell) for side in (height, width))
    sampled = rows @ wave @ columns.T
    torus = _summed_tiles(sampled, SIDE)
    conjugate = torch.complex(torus[0], -torus[1])
    surface = torch.fft.ifft2(spectrum * torch.fft.fft2(conjugate).conj())
    power = surface.real.square() + surface.imag.square()
    y, x = divmod(int(power.argmax()), SIDE)
    chance = float(2 * sampled.square().sum()) ** 0.5
    peak = complex(surface[y, x].item()) / max(1e-9, chance)
    return Pose(
        cells=cells,
        y=(y + _vertex(power[:, x], y)) / 2,
        x=(x + _vertex(power[y], x)) / 2,
        z=abs(peak),
        phase_slots=_phase(peak),
    )


def _half_cells(pixels: int, half_cell_px: float) -> Tensor:
    count = int(pixels / half_cell_px + 1e-3)
    edges = torch.arange(count + 1, dtype=torch.float64) * half_cell_px
    return overlap_matrix(edges.clamp(max=pixels), pixels)


def _vertex(line: Tensor, at: int) -> float:
    """Offset (-0.5..0.5) of the parabola through a maximum and its two neighbours on a circle."""
    before, here, after = (float(line[(at + d) % len(line)]) ** 0.5 for d in (-1, 0, 1))
    curvature = before - 2 * here + after
    return 0.0 if curvature >= 0 else max(-0.5, min(0.5, 0.5 * (before - after) / curvature))


def _phase(peak: complex) -> float:
    """Slot number, modulo 8, of the rising edge of the square wave whose fundamental is `peak`."""
    angle = torch.tensor(peak).angle().item()
    # + for 4 slots from slot s on, sampled at whole slots: its centre is s + 1.5, where the angle is 0
    return (-angle * PERIOD_SLOTS / (2 * pi) - (SLOTS_PER_SEGMENT - 1) / 2) % PERIOD_SLOTS


@lru_cache(maxsize=16)
def _pilot_spectrum(key: MarkKey) -> Tensor:
    pilot = VideoPattern.of(key).pilot.repeat_interleave(2, 0).repeat_interleave(2, 1)
    spectrum: Tensor = torch.fft.fft2(pilot.to(torch.complex64))
    return spectrum
