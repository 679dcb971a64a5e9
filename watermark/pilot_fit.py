"""Puts a hypothesis of turn and scale in its place: shift, perspective, and the pilot's phase in time.

The picture's wave is multiplied by the pilot's plane waves as the hypothesis has them and summed by blocks.
A wrong pose leaves a phase that turns from block to block, so that a few thousand numbers tell how good any
nearby homography is. Shift and perspective are tried on a grid, then all eight numbers climb together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import pi

import torch
import torch.nn.functional as F
from torch import Tensor

from watermark.lattice import GRID
from watermark.pilot import PILOT_WAVES, Pilot
from watermark.pilot_wave import phase_slots
from watermark.pose import Pose, as_matrix, pixel_positions, project

BLOCK_PX = 16
TILTS = (-0.16, -0.12, -0.08, -0.04, 0.0, 0.04, 0.08, 0.12, 0.16)  # change of scale over half a short side
SHIFTS = 80  # tried along each axis of the torus
ROUNDS = 2
CLIMB_STEPS = 40
CLIMB_RATE = 0.003


@dataclass(frozen=True)
class _Blocks:
    """Sums of a picture's wave times the pilot's, for +k and -k: complex64 [16, B] each, blocks at `places` [B, 2]."""

    plus: Tensor
    minus: Tensor
    places: Tensor


def fit(waves: Tensor, starts: Sequence[Sequence[Tensor]], speeds: Sequence[float], pilot: Pilot) -> list[Pose]:
    """For each wave complex64 [h, w] of `waves`, taken at its speed, the pose that fits the pilot best.

    It is looked for near one of the homographies [3, 3] of its `starts`, which are right up to a shift and a tilt.
    """
    found = [
        max((_placed(_demodulated(wave, s, pilot), s, pilot) for s in near), key=lambda placed: placed[0])[1]
        for wave, near in zip(waves, starts, strict=True)
    ]
    for _ in range(ROUNDS if found else 0):
        blocks = [_demodulated(wave, matrix, pilot) for wave, matrix in zip(waves, found, strict=True)]
        found = list(_climbed(blocks, torch.stack(found), pilot))
    return [strength(wave, matrix, speed, pilot) for wave, matrix, speed in zip(waves, found, speeds, strict=True)]


def strength(wave: Tensor, matrix: Tensor, speed: float, pilot: Pilot) -> Pose:
    """The pose of exactly this homography.

    Against random phases the sum's variance is 2 * 16 * sum(|wave|^2), whatever the picture shows.
    """
    blocks = _demodulated(wave, matrix, pilot)
    total = complex((blocks.plus.sum() + blocks.minus.sum()).item())
    chance = (2 * PILOT_WAVES * float(wave.abs().square().sum())) ** 0.5
    peak = total / max(1e-9, chance)
    return Pose(as_matrix(matrix), z=abs(peak), speed=speed, phase_slots=phase_slots(peak))


def _demodulated(wave: Tensor, matrix: Tensor, pilot: Pilot) -> _Blocks:
    height, width = (side // BLOCK_PX * BLOCK_PX or side for side in wave.shape)
    positions = pixel_positions(*wave.shape)[:height, :width]
    cells = project(matrix, positions) - 0.5  # a cell's chip stands at its middle
    angle = torch.einsum("ic,yxc->iyx", pilot.waves, (cells * (2 * pi / GRID)).float())
    angle += pilot.phases[:, None, None]
    turning = torch.polar(torch.ones_like(angle), -angle)
    part = wave[:height, :width]
    plus, minus = _blocked(part * turning), _blocked(part * turning.conj())
    places = _blocked(positions.permute(2, 0, 1)) / _blocked(torch.ones(1, height, width, dtype=torch.float64))
    return _Blocks(plus, minus, places.T)


def _blocked(values: Tensor) -> Tensor:
    """Sums over blocks of [C, h, w]: [C, B]."""
    count, height, width = values.shape
    y, x = min(BLOCK_PX, height), min(BLOCK_PX, width)
    return values.reshape(count, height // y, y, width // x, x).sum((2, 4)).flatten(1)


def _placed(blocks: _Blocks, matrix: Tensor, pilot: Pilot) -> tuple[float, Tensor]:
    """The pilot's sum under the best shift on the torus and the best tilt, and the homography with these."""
    k = pilot.waves
    tilts = torch.tensor([(a, b) for a in TILTS for b in TILTS], dtype=torch.float64)
    tilted = torch.eye(3, dtype=torch.float64).repeat(len(tilts), 1, 1)
    tilted[:, 2, :2] = tilts
    here = project(matrix, blocks.places)
    moved = torch.stack([project(matrix @ tilt, blocks.places) for tilt in tilted]) - here  # [P, B, 2]
    turning = _turning(k, moved)  # [P, 16, B]
    sums = torch.cat([(blocks.plus * turning).sum(2), (blocks.minus * turning.conj()).sum(2)], 1)
    step = torch.arange(SHIFTS) * (GRID / SHIFTS)
    shifts = torch.stack(torch.meshgrid(step, step, indexing="xy"), -1).reshape(-1, 2).double()
    spread = _turning(k, shifts)  # [16, S^2]
    surface = (sums @ torch.cat([spread, spread.conj()])).abs()
    best = int(surface.argmax())
    tilt, shift = divmod(best, len(shifts))
    to = torch.eye(3, dtype=torch.float64)
    to[:2, 2] = shifts[shift]
    return float(surface.flatten()[best]), to @ matrix @ tilted[tilt]


def _turning(k: Tensor, moved: Tensor) -> Tensor:
    """exp(-2 pi i k d / G) for displacements d [..., N, 2] in cells: complex64 [..., 16, N]."""
    angle = torch.einsum("ic,...nc->...in", k, moved.float() * (2 * pi / GRID))
    return torch.polar(torch.ones_like(angle), -angle)


def _climbed(blocks: Sequence[_Blocks], start: Tensor, pilot: Pilot) -> Tensor:
    """All eight numbers of each homography [N, 3, 3], uphill."""
    plus, minus = (torch.stack([getattr(one, side) for one in blocks]) for side in ("plus", "minus"))  # [N, 16, B]
    places = blocks[0].places
    points = F.pad(places, (0, 1), value=1.0)  # [B, 3]
    waves = pilot.waves.double() * (2 * pi / GRID)
    here = project(start, places.expand(len(start), -1, -1))
    limit = (plus.abs() + minus.abs()).sum((1, 2)).double() + 1e-9
    change = torch.zeros_like(start)
    mean, power = torch.zeros_like(start), torch.zeros_like(start)
    kept, best = start, torch.full_like(limit, -1.0)
    for step in range(1, CLIMB_STEPS + 1):
        now = start @ (torch.eye(3, dtype=torch.float64) + change)
        homogeneous = points @ now.mT  # [N, B, 3]
        at = homogeneous[..., :2] / homogeneous[..., 2:]
        angle = torch.einsum("ic,nbc->nib", waves, at - here).float()
        turning = torch.polar(torch.ones_like(angle), -angle)
        one, other = plus * turning, minus * turning.conj()
        total = (one + other).sum((1, 2))
        value = total.abs().double() / limit
        better = value > best
        kept, best = torch.where(better[:, None, None], now, kept), torch.maximum(value, best)
        # d|total| / d angle, then down the chain to the matrix
        direction = (total.conj() / total.abs().clamp(min=1e-9))[:, None, None]
        by_angle = (direction * (other - one)).imag.double().neg() / limit[:, None, None]
        by_place = torch.einsum("nib,ic->nbc", by_angle, waves) / homogeneous[..., 2:]
        by_row = torch.cat([by_place, -(by_place * at).sum(-1, keepdim=True)], -1)  # [N, B, 3]
        slope = start.mT @ (by_row.mT @ points)
        slope[:, 2, 2] = 0
        # Adam (Kingma and Ba 2015), uphill
        mean, power = 0.9 * mean + 0.1 * slope, 0.99 * power + 0.01 * slope.square()
        ahead = (mean / (1 - 0.9**step)) / ((power / (1 - 0.99**step)).sqrt() + 1e-12)
        change = change + CLIMB_RATE * ahead
    return kept / kept[:, 2:, 2:]


def rendered(pose: Pose, pilot: Pilot, height: int, width: int) -> Tensor:
    """The pilot as a picture [height, width] in a pose shows it."""
    matrix = torch.tensor(pose.to_cells, dtype=torch.float64)
    cells = project(matrix, pixel_positions(height, width)) - 0.5
    angle = torch.einsum("ic,yxc->iyx", pilot.waves, (cells * (2 * pi / GRID)).float())
    return (angle + pilot.phases[:, None, None]).cos().sum(0)
