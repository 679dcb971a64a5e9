"""Which way a received picture was moved: searched in the strengths of the pilot's plane waves.

A plane wave stays one whatever a picture's turn, scale, stretch or mirror; only its place in the spectrum
moves, and a shift does not even move that. So one spectrum answers for every hypothesis with a look at
16 of its points. What a whole picture can't show, because perspective smears its lines, shows in the
spectra of its windows.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import pi

import torch
import torch.nn.functional as F
from torch import Tensor

from watermark.lattice import GRID
from watermark.pilot import PILOT_WAVES, Pilot
from watermark.visibility import blur

SPECTRUM = 256  # points along each axis, in pixels of the search
WINDOW_PX = 64
STRONGEST = 24.0  # a line's power over its surroundings counts up to here
SMALLEST_SHOWN, LARGEST_SHOWN = 0.4, 2.4  # short sides of the original along the received short side
SCALE_STEP, TURN_STEP_DEG = 1.02, 1.5
STRETCHES = (0.82, 0.88, 0.94, 1.0, 1.064, 1.136, 1.22)
SLANT_DEG = 9.0  # turn up to which stretched pictures are looked for
KEPT = 12
CLIMBS = ((0.02, 3), (0.007, 3), (0.0025, 2))  # spread of the tries around the best, and how often


@dataclass(frozen=True)
class Hypothesis:
    """`linear` float64 [2, 2] takes picture positions (short sides) to cells; `score` is in deviations of chance."""

    linear: Tensor
    speed: float
    score: float

    def matrix(self, sign: int) -> Tensor:
        """As a homography [3, 3], upright (1) or upside down (-1), the lattice's origin at the centre."""
        matrix = torch.eye(3, dtype=torch.float64)
        matrix[:2, :2] = sign * self.linear
        return matrix


@dataclass(frozen=True)
class Spectra:
    """What every pilot is looked for in: `waves` complex64 [V, h, w], one for each of `speeds`, and their spectra.

    Of each wave the spectrum of the whole picture and that of its windows, [256, 256].
    """

    waves: Tensor
    speeds: tuple[float, ...]
    powers: tuple[tuple[Tensor, Tensor], ...]

    @classmethod
    def of(cls, waves: Tensor, speeds: tuple[float, ...]) -> Spectra:
        return cls(waves, speeds, tuple((_whole_spectrum(wave), _window_spectrum(wave)) for wave in waves))


def search_linear(spectra: Spectra, pilot: Pilot, *, best: int = 3) -> list[Hypothesis]:
    """The most likely turns, scales, stretches and mirrors, most likely first.

    Each is given up to half a turn: a plane wave looks the same upside down.
    """
    short = min(spectra.waves.shape[1:])
    found: list[tuple[Hypothesis, Tensor]] = []
    for both, speed in zip(spectra.powers, spectra.speeds, strict=True):
        for spectrum in both:
            stretched = speed == 1.0
            scores = _looked_up(spectrum, _places(pilot, short, stretched))
            top = scores.topk(KEPT)
            grid = _grid(stretched)
            found += [
                (Hypothesis(grid[at], speed, score), spectrum)
                for at, score in zip(top.indices.tolist(), top.values.tolist(), strict=True)
            ]
    found.sort(key=lambda entry: -entry[0].score)
    distinct: list[Hypothesis] = []
    for one, spectrum in found:
        if not any(_same(one.linear, other.linear) for other in distinct):
            distinct.append(_climbed(spectrum, one, pilot, short))
        if len(distinct) == best:
            break
    return sorted(distinct, key=lambda h: -h.score)


def _same(linear: Tensor, other: Tensor) -> bool:
    return any(float((linear * sign - other).abs().max()) < 0.05 * GRID for sign in (1, -1))


def _climbed(spectrum: Tensor, start: Hypothesis, pilot: Pilot, short: int) -> Hypothesis:
    """The best of many small changes of a hypothesis; the draws are fixed."""
    generator = torch.Generator().manual_seed(1)
    linear, score = start.linear, start.score
    for spread, rounds in CLIMBS:
        for _ in range(rounds):
            change = torch.randn(96, 2, 2, generator=generator, dtype=torch.float64) * spread
            tries = torch.cat([linear[None], linear @ (torch.eye(2, dtype=torch.float64) + change)])
            scores = _scores(spectrum, tries, pilot, short)
            at = int(scores.argmax())
            linear, score = tries[at], float(scores[at])
    return Hypothesis(linear, start.speed, score)


def _scores(spectrum: Tensor, linear: Tensor, pilot: Pilot, short: int) -> Tensor:
    """Sum of the powers at the pilot's places under hypotheses [N, 2, 2], in deviations of chance: [N]."""
    return _looked_up(spectrum, _placed(linear, pilot, short))


def _placed(linear: Tensor, pilot: Pilot, short: int) -> Tensor:
    """Where the pilot's waves stand in the flat spectrum under hypotheses [N, 2, 2]: int64 [N, 16].

    Waves too short for the pixels stand in an extra point behind the spectrum.
    """
    k = pilot.waves.double() / GRID
    turns = torch.einsum("ic,ncx->nix", k, linear) / short  # waves a pixel
    at = (turns * SPECTRUM).round().long() % SPECTRUM
    inside = (turns.abs() < 0.5).all(-1)
    return torch.where(inside, at[..., 1] * SPECTRUM + at[..., 0], SPECTRUM * SPECTRUM)


def _looked_up(spectrum: Tensor, places: Tensor) -> Tensor:
    flat = torch.cat([spectrum.flatten() - 1, torch.zeros(1)])
    scores: Tensor = torch.take(flat, places).sum(1) / (PILOT_WAVES / 2) ** 0.5
    return scores


@lru_cache(maxsize=8)
def _places(pilot: Pilot, short: int, stretched: bool) -> Tensor:
    return _placed(_grid(stretched), pilot, short)


def _whole_spectrum(wave: Tensor) -> Tensor:
    return _relative(_power(wave))


def _window_spectrum(wave: Tensor) -> Tensor:
    height, width = wave.shape
    line = torch.hann_window(WINDOW_PX)
    shade = line[:, None] * line
    total = torch.zeros(SPECTRUM, SPECTRUM)
    for y in range(0, max(1, height - WINDOW_PX + 1), WINDOW_PX // 2):
        for x in range(0, max(1, width - WINDOW_PX + 1), WINDOW_PX // 2):
            part = wave[y : y + WINDOW_PX, x : x + WINDOW_PX]
            part = part * shade[: part.shape[0], : part.shape[1]]
            total += _power(part / part.abs().square().mean().sqrt().clamp(min=1e-6))
    return _relative(total)


def _power(wave: Tensor) -> Tensor:
    """Power at +k and -k together, [256, 256]; longer sides are folded, which moves no wave."""
    height, width = wave.shape
    padded = F.pad(wave, (0, -width % SPECTRUM, 0, -height % SPECTRUM))
    folded = padded.reshape(-(-height // SPECTRUM), SPECTRUM, -(-width // SPECTRUM), SPECTRUM).sum((0, 2))
    power: Tensor = torch.fft.fft2(folded).abs().square()
    return power + torch.roll(power.flip((0, 1)), (1, 1), (0, 1))


def _relative(power: Tensor) -> Tensor:
    """Power over that of its surroundings: 1 on average."""
    around = torch.roll(power, (SPECTRUM // 2, SPECTRUM // 2), (0, 1))
    around = torch.roll(blur(around[None], 15)[0], (SPECTRUM // 2, SPECTRUM // 2), (0, 1))
    return (power / around.clamp(min=1e-6 * float(around.mean()) + 1e-12)).clamp(max=STRONGEST)


@lru_cache(maxsize=2)
def _grid(stretched: bool) -> Tensor:
    """Every turn below 180 degrees at every scale, straight and mirrored: [N, 2, 2].

    `stretched`: also with other proportions, nearly upright or on the side.
    """
    plain = _hypotheses(torch.arange(0, 180, TURN_STEP_DEG, dtype=torch.float64), 1.0)
    if not stretched:
        return plain
    slants = torch.arange(-SLANT_DEG, SLANT_DEG + 1e-6, TURN_STEP_DEG, dtype=torch.float64)
    turns = torch.cat([slants, slants + 90])
    return torch.cat([plain, *(_hypotheses(turns, s) for s in STRETCHES if s != 1.0)])


def _hypotheses(turns_deg: Tensor, stretch: float) -> Tensor:
    count = int(torch.tensor(LARGEST_SHOWN / SMALLEST_SHOWN).log() / torch.tensor(SCALE_STEP).log())
    shown = GRID * SMALLEST_SHOWN * SCALE_STEP ** torch.arange(count + 1, dtype=torch.float64)
    angle = turns_deg * pi / 180
    turned = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], -1).reshape(-1, 2, 2)
    stretched = turned @ torch.diag(torch.tensor([stretch**-0.5, stretch**0.5], dtype=torch.float64))
    both = torch.cat([stretched, torch.tensor([[-1.0], [1.0]], dtype=torch.float64) * stretched])
    return (shown[:, None, None, None] * both).reshape(-1, 2, 2)
