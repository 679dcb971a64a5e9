"""Log-mel features of speech, computed causally and bit-equal for any chunking of the sound.

Sound is taken in units of one video frame (40 ms = 640 samples). Each unit yields four spectra (25 ms window,
10 ms hop), normalised by a running level and a running mean spectrum, so that gain, microphone and room matter
little. All shapes are fixed per unit: the numbers can't depend on how the caller cut the sound.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

AUDIO_RATE = 16_000
UNIT = 640  # samples of one video frame at 25 frames per second
HOP, WINDOW, FFT = 160, 400, 512
MEL_BANDS = 40
FRAMES_PER_UNIT = UNIT // HOP
CHANNELS = MEL_BANDS + 2  # plus level relative to the running level, and absolute level

_FLOOR_DB, _NOMINAL_DB, _QUIETEST_DB = -80.0, -30.0, -52.0
_LEVEL_DECAY_DB, _LEVEL_ATTACK = 0.2, 0.35  # per unit: 5 dB a second down, about 100 ms up
_MEAN_PRIOR_DB, _MEAN_PRIOR_UNITS, _MEAN_UNITS = -18.0, 15.0, 75.0  # before any speech; its weight; the most
_ACTIVE_DB = 22.0  # a unit counts as speech for the mean when it is less than this below the running level


@dataclass(frozen=True)
class FeatureState:
    """What the features remember between units, for a batch of B recordings."""

    tail: Tensor  # [B, 240] last samples
    level_db: Tensor  # [B, 1] running level
    mean_db: Tensor  # [B, 40] running mean spectrum relative to the level
    count: Tensor  # [B, 1] units seen by the mean


def mel_bank(bands: int = MEL_BANDS, low_hz: float = 60.0, high_hz: float = 7600.0) -> Tensor:
    """[257, bands] triangular filters, HTK mel scale, unit sum."""
    to_mel = torch.tensor([low_hz, high_hz], dtype=torch.float64)
    ends = 2595 * torch.log10(1 + to_mel / 700)
    mels = torch.linspace(float(ends[0]), float(ends[1]), bands + 2, dtype=torch.float64)
    edges = 700 * (10 ** (mels / 2595) - 1)
    hz = torch.linspace(0, AUDIO_RATE / 2, FFT // 2 + 1, dtype=torch.float64)[:, None]
    rising = (hz - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - hz) / (edges[2:] - edges[1:-1])
    bank = torch.minimum(rising, falling).clamp_min(0)
    return (bank / bank.sum(0, keepdim=True).clamp_min(1e-9)).float()


class AudioFeatures:
    """640 samples in, [4, 42] features out."""

    def __init__(self) -> None:
        self.bank = mel_bank()
        self.window = torch.hann_window(WINDOW)
        self.gain = float(1 / self.window.square().sum())

    def start(self, batch: int = 1) -> FeatureState:
        return FeatureState(
            torch.zeros(batch, WINDOW - HOP),
            torch.full((batch, 1), _NOMINAL_DB),
            torch.full((batch, MEL_BANDS), _MEAN_PRIOR_DB),
            torch.full((batch, 1), _MEAN_PRIOR_UNITS),
        )

    def step(self, unit: Tensor, state: FeatureState) -> tuple[Tensor, FeatureState]:
        """`unit` [B, 640] in -1..1 -> features [B, 4, 42] (about -2..2) and the next state."""
        assert unit.shape[1] == UNIT
        samples = torch.cat([state.tail, unit], 1)  # [B, 880]
        frames = samples.unfold(1, WINDOW, HOP) * self.window  # [B, 4, 400]
        power = torch.fft.rfft(frames, FFT).abs().square() * self.gain  # [B, 4, 257]
        mel_db = 10 * torch.log10(power @ self.bank + 1e-9)  # [B, 4, 40]
        total_db = 10 * torch.log10(frames.square().sum(-1, keepdim=True) * self.gain + 1e-9)  # [B, 4, 1]
        peak_db = total_db.amax(1)  # [B, 1]
        rise = state.level_db + _LEVEL_ATTACK * (peak_db - state.level_db)
        level = torch.where(peak_db > state.level_db, rise, state.level_db - _LEVEL_DECAY_DB)
        level = level.clamp_min(_QUIETEST_DB)
        relative = (mel_db - level[:, None]).clamp(_FLOOR_DB, 20.0)  # [B, 4, 40]
        active = (peak_db > level - _ACTIVE_DB).float()  # [B, 1]
        count = (state.count + active).clamp_max(_MEAN_UNITS)
        mean = state.mean_db + active / count * (relative.mean(1) - state.mean_db)
        features = torch.cat(
            [
                (relative - mean[:, None]).clamp(-40.0, 40.0) / 14,
                (total_db - level[:, None]).clamp(-60.0, 12.0) / 15 + 1,
                (total_db.clamp_min(-90.0) + 40) / 20,
            ],
            -1,
        )
        return features, FeatureState(samples[:, -(WINDOW - HOP) :], level, mean, count)
