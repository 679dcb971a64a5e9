"""The time-frequency plane of the sound mark, at ANALYSIS_RATE whatever the sound's own rate.

Frames of FRAME samples, HOP apart; BINS between about 310 Hz and 6 kHz. A chip is one bin for two
frames. A keyed share-out gives an eighth of the chips to the pilot and the rest to the 512 coded
bits; after PERIOD chip times (2 s) the pattern starts again.
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
HOP = 512
FRAMES_PER_CHIP = 2
FIRST_BIN, LAST_BIN = 20, 384
BINS = LAST_BIN - FIRST_BIN + 1
PERIOD = 32
CELLS = PERIOD * BINS
PILOT_CELLS = CELLS // 8
AUDIBLE = 5e-4  # smallest magnitude that carries a chip; about -90 dBFS noise
SMOOTH_BINS = 16
CHUNK = 5120  # samples at ANALYSIS_RATE worked on at once; ten hops, 0.32 s
RATE_STEP = 25  # so that a chunk is a whole number of samples at the sound's own rate


@dataclass(frozen=True)
class AudioPattern:
    """`pilot` float32 [PERIOD, BINS] in {-1, 0, 1}; cell numbers of the `data`, `signs`, `owner` bits."""

    pilot: Tensor
    data: Tensor
    signs: Tensor
    owner: Tensor

    @classmethod
    def of(cls, key: MarkKey) -> AudioPattern:
        """The pattern of a key; the last few are kept."""
        return _pattern(key)

    def chips(self, coded: Tensor) -> Tensor:
        """The whole period [PERIOD, BINS] for coded bits float32 [512] in {-1, +1}."""
        chips = self.pilot.flatten().clone()
        chips[self.data] = self.signs * coded[self.owner]
        return chips.reshape(PERIOD, BINS)


@lru_cache(maxsize=16)
def _pattern(key: MarkKey) -> AudioPattern:
    order = prf.permutation(key, "audio/cells", CELLS)
    signs = torch.from_numpy(prf.signs(key, "audio/chips", CELLS).astype(np.float32))
    pilot = torch.zeros(CELLS)
    marked = torch.from_numpy(order[:PILOT_CELLS])
    pilot[marked] = signs[marked]
    data = torch.from_numpy(order[PILOT_CELLS:])
    owner = torch.arange(CELLS - PILOT_CELLS) % CODED_BITS
    return AudioPattern(pilot=pilot.reshape(PERIOD, BINS), data=data, signs=signs[data], owner=owner)


def deviation(spectrum: Tensor) -> tuple[Tensor, Tensor]:
    """Log magnitude less its mean over 33 bins, and which cells are audible: both [..., BINS].

    `spectrum` complex [K, FRAME / 2 + 1]. The first is free of loudness and of the slow shape of
    the spectrum; this is what chips are written to and read from.
    """
    wide = spectrum[:, FIRST_BIN - SMOOTH_BINS : LAST_BIN + 1 + SMOOTH_BINS].abs()
    log = torch.log(wide + 1e-5)
    smooth = F.avg_pool1d(log[:, None], 2 * SMOOTH_BINS + 1, stride=1)[:, 0]
    inner = slice(SMOOTH_BINS, SMOOTH_BINS + BINS)
    return log[:, inner] - smooth, wide[:, inner] > AUDIBLE


def window() -> Tensor:
    """Square root of the periodic Hann window; analysis times synthesis adds up to 1 at half overlap."""
    return torch.hann_window(FRAME).sqrt()


def check_rate(sample_rate: int) -> int:
    """Samples per chunk at `sample_rate`; raises `WatermarkError` for a rate that can't be worked with."""
    if not ANALYSIS_RATE <= sample_rate <= 192_000 or sample_rate % RATE_STEP:
        raise WatermarkError(
            f"the sample rate must be a multiple of {RATE_STEP} Hz in 16000..192000, got {sample_rate};"
            " resample first (48000 is a good choice)"
        )
    return CHUNK * sample_rate // ANALYSIS_RATE


def check_samples(samples: Tensor) -> None:
    """Raise `WatermarkError` unless `samples` is finite mono float32 [n]."""
    if samples.dtype != torch.float32 or samples.ndim != 1:
        raise WatermarkError(f"sound must be float32 [n] (mono), got {samples.dtype} {list(samples.shape)}")
    if not bool(torch.isfinite(samples).all()):
        raise WatermarkError("the sound holds values that are not finite numbers")
