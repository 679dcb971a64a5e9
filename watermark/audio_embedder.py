"""Marks sound as it streams by."""

from __future__ import annotations

import torch
from torch import Tensor
from torchaudio.functional import resample

from watermark.audio_imprint import HOP, Sums, parts_of, residual
from watermark.audio_pattern import ANALYSIS_RATE, CHIP, PERIOD, AudioPattern, check_rate, check_samples
from watermark.code import encode
from watermark.errors import WatermarkError
from watermark.key import MarkKey
from watermark.payload import Payload, pack

BLOCK_CHIPS = 15
BLOCK = BLOCK_CHIPS * CHIP  # samples at ANALYSIS_RATE worked on at once, 0.96 s
MARGIN = 640  # samples at ANALYSIS_RATE on both sides of what is resampled


class AudioEmbedder:
    """Adds the mark of one payload to a stream of mono sound.

    Only the residual is resampled: the sound itself is passed through untouched. Blocks of 0.96 s are worked out one
    after the other, counted from the stream's start, so the result does not depend on how it comes in. Output lags
    input by at most 1.1 s; `flush` gives the rest.
    """

    def __init__(self, key: MarkKey, payload: Payload, *, sample_rate: int, strength: float = 1.0) -> None:
        """`sample_rate` 16000..192000 Hz in steps of 25; `strength` in (0, 4] scales the residual."""
        check_rate(sample_rate)
        if not 0 < strength <= 4:
            raise WatermarkError(f"strength must lie in (0, 4], got {strength}")
        self._rate, self._strength = sample_rate, strength
        pattern = AudioPattern.of(key)
        self._chips = pattern.chips(torch.from_numpy(encode(pack(payload, key))).float() * 2 - 1)
        self._parts = parts_of(pattern.owner)
        self._margin = MARGIN * sample_rate // ANALYSIS_RATE
        self._block = BLOCK * sample_rate // ANALYSIS_RATE
        self._sound = torch.zeros(self._margin)  # from `margin` before the next block on
        self._waiting = torch.zeros(0)  # taken in, not given out
        self._added = torch.zeros(2 * MARGIN + HOP)  # residual at ANALYSIS_RATE from 2 MARGIN before the next block on
        self._sums = Sums.none()
        self._blocks_done = 0
        self._flushed = False

    def push(self, samples: Tensor) -> Tensor:
        """The marked samples that are ready, float32 [m], m >= 0, on the input's device."""
        check_samples(samples)
        if self._flushed:
            raise WatermarkError("this stream was flushed; make a new AudioEmbedder for a new one")
        with torch.inference_mode(False):
            marked: Tensor = self._take(samples.detach().cpu().clone()).to(samples.device)
            return marked

    def flush(self) -> Tensor:
        """The rest. All outputs together are as long as all inputs."""
        self._flushed = True
        rest = len(self._waiting)
        with torch.inference_mode(False):
            return self._take(torch.zeros(2 * self._block + 2 * self._margin))[:rest]

    def _take(self, samples: Tensor) -> Tensor:
        self._sound = torch.cat([self._sound, samples])
        self._waiting = torch.cat([self._waiting, samples])
        out = [torch.zeros(0)]
        ahead = HOP * self._rate // ANALYSIS_RATE
        while len(self._sound) >= self._block + ahead + 2 * self._margin:
            out.append(self._mark_block(self._sound[: self._block + ahead + 2 * self._margin]))
            self._sound = self._sound[self._block :]
        return torch.cat(out)

    def _mark_block(self, around: Tensor) -> Tensor:
        """Works out one block; gives the samples up to MARGIN before its end."""
        sound = resample(around, self._rate, ANALYSIS_RATE)[MARGIN : MARGIN + BLOCK + HOP]
        rows = (torch.arange(BLOCK_CHIPS) + self._blocks_done * BLOCK_CHIPS) % PERIOD
        before = torch.cat([self._added[2 * MARGIN :], torch.zeros(BLOCK)])
        new, self._sums = residual(sound, before, self._chips[rows], self._parts[rows], self._sums, self._strength)
        added = torch.cat([self._added[: 2 * MARGIN], before + new])
        ready: Tensor = resample(added[: 2 * MARGIN + BLOCK], ANALYSIS_RATE, self._rate)[self._margin :][: self._block]
        self._added = added[BLOCK:]
        # The first block's ready samples begin MARGIN before the stream does.
        skip = self._margin if self._blocks_done == 0 else 0
        self._blocks_done += 1
        marked = self._waiting[: self._block - skip] + ready[skip:]
        self._waiting = self._waiting[self._block - skip :]
        return marked
