"""Reads the mark out of sound without the original, its start time, loudness or polarity."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchaudio.functional import resample

from watermark.audio_pattern import (
    ANALYSIS_RATE,
    BINS,
    CELLS,
    CHUNK,
    FRAME,
    FRAMES_PER_CHIP,
    HOP,
    PERIOD,
    PILOT_CELLS,
    AudioPattern,
    check_rate,
    check_samples,
    deviation,
    window,
)
from watermark.code import CODED_BITS
from watermark.detection import Detection, TagCheck
from watermark.errors import TooShortError, WatermarkError
from watermark.key import MarkKey
from watermark.payload import Payload

SHORTEST_S = 1.0
LOOKS_S = (3.0, 5.0, 8.0, 12.0, 20.0)  # the last one ends the window
ALIGNMENTS = 4  # frame starts tried within one hop, 8 ms apart
CLIP = 0.6
CANDIDATES = 6


def detect_audio(blocks: Iterable[Tensor], keys: Sequence[MarkKey], *, sample_rate: int) -> Detection:
    """Look for a mark of any of `keys` in mono float32 blocks; stop at the first genuine one.

    Memory: one table of 0.4 MB, started afresh every 20 s. `seconds_used` counts audible sound
    only; if it is near 0, there was nothing to hide a mark in. Raises `WatermarkError` for less
    than 1 s of sound, a rate below 16 kHz, or no key.
    """
    if not keys:
        raise WatermarkError("no key to look with: give at least one MarkKey")
    search = _Search(keys)
    total = 0
    for chunk, length in _chunks(blocks, sample_rate):
        search.push(chunk)
        total += length
        if search.payload is not None:
            return search.detection()
    if total < SHORTEST_S * sample_rate:
        raise TooShortError(f"only {total / sample_rate:.2f} s of sound: a mark needs {SHORTEST_S:g} s at least")
    search.look()
    return search.detection()


def _chunks(blocks: Iterable[Tensor], sample_rate: int) -> Iterator[tuple[Tensor, int]]:
    """The sound in pieces of CHUNK samples at ANALYSIS_RATE, with the own-rate samples each stands for."""
    size = check_rate(sample_rate)
    margin = size // 8
    buffer = torch.zeros(margin)
    for block in blocks:
        check_samples(block)
        buffer = torch.cat([buffer, block.cpu()])
        while len(buffer) >= size + 2 * margin:
            yield _resampled(buffer[: size + 2 * margin], sample_rate), size
            buffer = buffer[size:]
    rest = len(buffer) - margin
    buffer = torch.cat([buffer, torch.zeros(2 * size + margin)])
    while rest > 0:
        yield _resampled(buffer[: size + 2 * margin], sample_rate), min(rest, size)
        buffer, rest = buffer[size:], rest - size


def _resampled(sound: Tensor, sample_rate: int) -> Tensor:
    low: Tensor = resample(sound, sample_rate, ANALYSIS_RATE)
    return low[CHUNK // 8 : CHUNK // 8 + CHUNK]


class _Search:
    """The sound folded onto one period of the pattern, for each alignment; and what was read in it."""

    def __init__(self, keys: Sequence[MarkKey]) -> None:
        self._keys = keys
        self._check = TagCheck()
        self._best_z = 0.0
        self._key_id: int | None = None
        self._tail = torch.zeros(0)
        self._steps = 0  # frame starts so far, HOP / ALIGNMENTS apart
        self._audible = 0.0  # frames worth of audible sound, this window
        self._earlier_s = 0.0
        self._clear()
        self.payload: Payload | None = None

    def _clear(self) -> None:
        self._folded = torch.zeros(ALIGNMENTS * PERIOD * FRAMES_PER_CHIP, BINS)
        self._audible, self._samples, self._looks = 0.0, 0, list(LOOKS_S)

    def push(self, chunk: Tensor) -> None:
        sound = torch.cat([self._tail, chunk])
        step = HOP // ALIGNMENTS
        frames = sound.unfold(0, FRAME, step)
        self._tail = sound[len(frames) * step :]
        value, audible = deviation(torch.fft.rfft(frames * window()))
        rows = (torch.arange(len(frames)) + self._steps) % len(self._folded)
        self._folded.index_add_(0, rows, value.clamp(-CLIP, CLIP) * audible)
        self._steps += len(frames)
        self._audible += float((audible.float().mean(1) > 0.2).sum()) / ALIGNMENTS
        self._samples += len(chunk)
        if self._samples >= self._looks[0] * ANALYSIS_RATE:
            self._looks.pop(0)
            self.look()
            if not self._looks and self.payload is None:
                self._earlier_s += self._audible * HOP / ANALYSIS_RATE
                self._clear()

    def look(self) -> None:
        """Decode the likeliest time phases of every key."""
        for key in self._keys:
            for z, word in soft_words(self._folded, key):
                self._best_z = max(self._best_z, z)
                self.payload = self._check.read(word, key)
                if self.payload is not None:
                    self._best_z, self._key_id = z, key.key_id
                    return

    def detection(self) -> Detection:
        return Detection(
            medium="audio",
            payload=self.payload,
            key_id=self._key_id,
            log10_false_positive=self._check.log10_false_positive,
            pilot_z=self._best_z,
            seconds_used=self._earlier_s + self._audible * HOP / ANALYSIS_RATE,
        )


def soft_words(folded: Tensor, key: MarkKey) -> list[tuple[float, NDArray[np.float64]]]:
    """Pilot z and soft code word [512] of the likeliest starts, best first.

    `folded` [ALIGNMENTS * 64, BINS]: sums of chip values by frame start, modulo one period.
    """
    pattern = AudioPattern.of(key)
    tables = _tables(folded)  # [ALIGNMENTS * 2, PERIOD, BINS]
    energy = tables.square().sum((1, 2))
    if float(energy.max()) == 0:
        return []
    pilots = torch.stack([pattern.pilot.roll(-start, 0) for start in range(PERIOD)])
    chance = (energy * PILOT_CELLS / CELLS).sqrt().clamp(min=1e-9)
    z = (tables.flatten(1) @ pilots.flatten(1).T) / chance[:, None]  # [alignments, starts]
    words = []
    for place in z.flatten().topk(CANDIDATES).indices.tolist():
        table, start = divmod(place, PERIOD)
        values = tables[table].roll(start, 0).flatten()[pattern.data] * pattern.signs
        word = np.bincount(pattern.owner.numpy(), values.numpy(), CODED_BITS).astype(np.float64)
        words.append((float(z[table, start]), word))
    return words


def _tables(folded: Tensor) -> Tensor:
    """Chip sums [ALIGNMENTS * 2, PERIOD, BINS]: for each frame start within a chip, its two frames added up.

    Constant tones and the recording's own spectrum are taken out: they say nothing about chips.
    """
    by_frame = folded.reshape(PERIOD * FRAMES_PER_CHIP, ALIGNMENTS, BINS).transpose(0, 1)
    by_frame = by_frame - by_frame.mean(1, keepdim=True)
    both = by_frame + by_frame.roll(-1, 1)
    return torch.cat([both[:, 0::2], both[:, 1::2]])
