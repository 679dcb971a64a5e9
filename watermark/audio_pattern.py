"""The time-frequency plane of the sound mark, at ANALYSIS_RATE whatever the sound's own rate.

Frames of FRAME samples; BINS between about 310 Hz and 6 kHz. A chip is one bin for CHIP samples (64 ms). A keyed
share-out gives a sixth of the chips to the pilot and the rest to the 512 coded bits; after PERIOD chips (2 s) the
pattern starts again. A chip of +1 is a cell above the typical magnitude around it, one of -1 a cell below.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from watermark import prf
from watermark.code import CODED_BITS
from watermark.errors import WatermarkError
from watermark.key import MarkKey

ANALYSIS_RATE = 16_000
FRAME = 1024
CHIP = 1024
FIRST_BIN, LAST_BIN = 20, 384
BINS = LAST_BIN - FIRST_BIN + 1
TELEPHONE_BINS = 198  # up to 3.4 kHz
PERIOD = 32
CELLS = PERIOD * BINS
PILOT_CELLS = CELLS // 6
SMOOTH_BINS = 16
AUDIBLE = 2e-4  # smallest typical magnitude that carries a chip; about -100 dBFS of noise
FLOOR = 0.15  # share of the typical magnitude below which a cell counts as empty: codecs fill such cells
LIMIT = 0.7  # nepers; a cell further from the typical magnitude says no more than one at it
RATE_STEP = 25


@dataclass(frozen=True)
class AudioPattern:
    """`pilot` float32 [PERIOD, BINS] in {-1, 0, 1}; `signs` [PERIOD, BINS] of all chips; `owner` int64 [PERIOD, BINS]:
    the coded bit a chip belongs to, -1 for the pilot."""

    pilot: Tensor
    signs: Tensor
    owner: Tensor

    @classmethod
    def of(cls, key: MarkKey) -> AudioPattern:
        """The pattern of a key; the last few are kept."""
        return _pattern(key)

    def chips(self, coded: Tensor) -> Tensor:
        """The whole period [PERIOD, BINS] for coded bits float32 [512] in {-1, +1}."""
        return self.signs * torch.where(self.owner >= 0, coded[self.owner], 1.0)


@lru_cache(maxsize=128)
def _pattern(key: MarkKey) -> AudioPattern:
    held = np.zeros(CELLS, np.bool_)  # by the pilot, which keys of one site share
    held[prf.permutation(key.pilot, "audio/cells", CELLS)[:PILOT_CELLS]] = True
    order = prf.permutation(key, "audio/cells", CELLS)
    chips = np.where(held, prf.signs(key.pilot, "audio/chips", CELLS), prf.signs(key, "audio/chips", CELLS))
    signs = torch.from_numpy(chips.astype(np.float32))
    owner = torch.full((CELLS,), -1)
    owner[torch.from_numpy(order[~held[order]])] = torch.arange(CELLS - PILOT_CELLS) % CODED_BITS
    pilot = torch.where(owner < 0, signs, 0.0)
    return AudioPattern(*(plane.reshape(PERIOD, BINS) for plane in (pilot, signs, owner)))


def deviation(power: Tensor, bins: int = BINS) -> tuple[Tensor, Tensor]:
    """How far the first `bins` cells lie above or below what is typical around them, and the typical magnitude.

    Both [K, bins]; `power` [K, >= FIRST_BIN + bins + SMOOTH_BINS] of the spectrum. Typical is the geometric mean over
    33 bins, so the deviation, in nepers within ±LIMIT, is free of loudness and of the slow shape of the spectrum.
    Differentiable.
    """
    wide = (power[:, FIRST_BIN - SMOOTH_BINS : FIRST_BIN + bins + SMOOTH_BINS] + 1e-12).sqrt()
    typical = torch.exp(F.avg_pool1d(torch.log(wide + 1e-5)[:, None], 2 * SMOOTH_BINS + 1, stride=1)[:, 0])
    cell = wide[:, SMOOTH_BINS : SMOOTH_BINS + bins]
    value = torch.log((cell + FLOOR * typical) / ((1 + FLOOR) * typical))
    return LIMIT * torch.tanh(value / LIMIT), typical


def window(length: int = FRAME) -> Tensor:
    """Square root of the periodic Hann window; analysis times synthesis adds up to 1 at half overlap."""
    return torch.hann_window(length).sqrt()


def check_rate(sample_rate: int) -> None:
    """Raise `WatermarkError` for a rate that can't be worked with."""
    if not ANALYSIS_RATE <= sample_rate <= 192_000 or sample_rate % RATE_STEP:
        raise WatermarkError(
            f"the sample rate must be a multiple of {RATE_STEP} Hz in 16000..192000, got {sample_rate};"
            " resample first (48000 is a good choice)"
        )


def check_samples(samples: Tensor) -> None:
    """Raise `WatermarkError` unless `samples` is finite mono float32 [n]."""
    if samples.dtype != torch.float32 or samples.ndim != 1:
        raise WatermarkError(f"sound must be float32 [n] (mono), got {samples.dtype} {list(samples.shape)}")
    if not bool(torch.isfinite(samples).all()):
        raise WatermarkError("the sound holds values that are not finite numbers")
