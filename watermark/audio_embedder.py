"""Marks sound as it streams by."""

from __future__ import annotations

import torch
from torch import Tensor
from torchaudio.functional import resample

from watermark.audio_pattern import (
    ANALYSIS_RATE,
    CHUNK,
    FIRST_BIN,
    FRAME,
    FRAMES_PER_CHIP,
    HOP,
    LAST_BIN,
    PERIOD,
    AudioPattern,
    check_rate,
    check_samples,
    deviation,
    window,
)
from watermark.code import encode
from watermark.errors import WatermarkError
from watermark.key import MarkKey
from watermark.payload import Payload, pack

DEPTH = 0.35  # greatest change of a magnitude, in nepers (3 dB), before the frame's share is set
UNDECIDED = 0.5  # only cells this near the local mean are changed: there a small change turns a sign
TARGET_SNR_DB = 27.0  # of each frame, within the limits of SHARE
SHARE = (0.7, 2.0)  # smallest and greatest factor on DEPTH


class AudioEmbedder:
    """Adds the mark of one payload to a stream of mono sound.

    Magnitudes in time and frequency are raised or lowered a little, so the mark follows the
    loudness and silence stays silent. Only the residual is resampled: the sound itself is passed
    through untouched. Every stretch of 0.32 s is worked out alone from the sound around it, so the
    result does not depend on the blocks. Output lags input by up to 0.8 s; `flush` gives the rest.
    """

    def __init__(self, key: MarkKey, payload: Payload, *, sample_rate: int, strength: float = 1.0) -> None:
        """`sample_rate` 16000..192000 Hz in steps of 25; `strength` in (0, 4] scales the changes."""
        self._chunk = check_rate(sample_rate)
        if not 0 < strength <= 4:
            raise WatermarkError(f"strength must lie in (0, 4], got {strength}")
        self._rate, self._strength = sample_rate, strength
        coded = torch.from_numpy(encode(pack(payload, key))).float() * 2 - 1
        self._chips = AudioPattern.of(key).chips(coded)
        self._margin = self._chunk // 2
        self._buffer = torch.zeros(self._margin)  # begins `margin` samples before the next chunk
        self._chunks_done = 0
        self._waiting = 0  # samples taken in and not yet given out
        self._flushed = False

    def push(self, samples: Tensor) -> Tensor:
        """The marked samples that are ready, float32 [m], m >= 0, on the input's device."""
        check_samples(samples)
        if self._flushed:
            raise WatermarkError("this stream was flushed; make a new AudioEmbedder for a new one")
        self._buffer = torch.cat([self._buffer.to(samples.device), samples])
        self._waiting += len(samples)
        return self._ready()

    def flush(self) -> Tensor:
        """The rest. All outputs together are as long as all inputs."""
        rest = self._waiting
        self._buffer = torch.cat([self._buffer, self._buffer.new_zeros(2 * self._chunk)])
        self._flushed = True
        marked = self._ready()[:rest]
        self._waiting = 0
        return marked

    def _ready(self) -> Tensor:
        out = [self._buffer.new_zeros(0)]
        span = self._chunk + 2 * self._margin
        while len(self._buffer) >= span:
            out.append(self._mark(self._buffer[:span]))
            self._buffer = self._buffer[self._chunk :]
            self._chunks_done += 1
        marked = torch.cat(out)
        self._waiting -= len(marked)
        return marked

    def _mark(self, sound: Tensor) -> Tensor:
        """The middle chunk of `sound` [chunk + 2 margins], marked."""
        middle = slice(self._margin, self._margin + self._chunk)
        low = resample(sound, self._rate, ANALYSIS_RATE)[: 2 * CHUNK]
        taper = window().to(sound.device)
        spectra = torch.fft.rfft(low.unfold(0, FRAME, HOP) * taper)  # [19, 513]
        first = self._chunks_done * (CHUNK // HOP) - CHUNK // 2 // HOP  # frame number of the window's start
        rows = torch.arange(first, first + len(spectra)).div(FRAMES_PER_CHIP, rounding_mode="floor") % PERIOD
        chips = self._chips[rows].to(sound.device)
        value, audible = deviation(spectra)
        step = DEPTH * torch.exp(-value.square() / (2 * UNDECIDED**2)) * audible * chips
        change = torch.zeros_like(spectra)
        inner = slice(FIRST_BIN, LAST_BIN + 1)
        power = spectra.abs().square().sum(1, keepdim=True)
        cost = (spectra[:, inner] * torch.expm1(step)).abs().square().sum(1, keepdim=True)
        share = (power * 10 ** (-TARGET_SNR_DB / 10) / cost.clamp(min=1e-12)).sqrt().clamp(*SHARE)
        change[:, inner] = spectra[:, inner] * torch.expm1(self._strength * share * step)
        frames = torch.fft.irfft(change, FRAME) * taper
        residual = low.new_zeros(2 * CHUNK)
        for index, frame in enumerate(frames):
            residual[index * HOP : index * HOP + FRAME] += frame
        added: Tensor = resample(residual, ANALYSIS_RATE, self._rate)
        return sound[middle] + added[middle]
