"""Reads the mark out of sound without the original, its start time, loudness, polarity, speed or tempo."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor
from torchaudio.functional import resample

from watermark.audio_pattern import ANALYSIS_RATE, FRAME, AudioPattern, check_rate, check_samples
from watermark.audio_search import (
    Hypothesis,
    PilotSearch,
    chip_sums,
    coarse_speed_planes,
    folded,
    plane,
    speed_planes,
    tempo_planes,
)
from watermark.detection import Detection, TagCheck
from watermark.errors import TooShortError, WatermarkError
from watermark.key import MarkKey, by_pilot
from watermark.payload import Payload

SHORTEST_S = 1.0
LOOKS_S = (3.0, 6.0, 12.0)  # at the last one other speeds are tried too, and all but OVERLAP_S is let go
OVERLAP_S = 3.0
CHUNK = 5120  # samples at ANALYSIS_RATE taken in at once
AUDIBLE_RMS = 1e-4  # -80 dBFS
Planes = Iterable[tuple[float, Tensor]]
WORTH_DECODING = 3.0  # energy of the soft bits over chance, in standard deviations; a readable word has 7
LIKELIEST = 3  # starts, speeds and tempos that are decoded


def detect_audio(blocks: Iterable[Tensor], keys: Sequence[MarkKey], *, sample_rate: int) -> Detection:
    """Look for a mark of any of `keys` in mono float32 blocks; stop at the first genuine one.

    Memory: 12 s of sound and its time-frequency plane, about 30 MB. `seconds_used` counts audible sound only; if it
    is near 0, there was nothing to hide a mark in. Raises `TooShortError` for less than 1 s of sound,
    `WatermarkError` for a rate below 16 kHz or no key.
    """
    if not keys:
        raise WatermarkError("no key to look with: give at least one MarkKey")
    search = _Search(keys)
    total = 0
    with torch.inference_mode():
        for chunk, length in chunks(blocks, sample_rate):
            search.push(chunk)
            total += length
            if search.ended:
                return search.detection()
        if total < SHORTEST_S * sample_rate:
            raise TooShortError(f"only {total / sample_rate:.2f} s of sound: a mark needs {SHORTEST_S:g} s at least")
        search.finish()
    return search.detection()


def chunks(blocks: Iterable[Tensor], sample_rate: int) -> Iterator[tuple[Tensor, int]]:
    """The sound in pieces of at most CHUNK samples at ANALYSIS_RATE, with the own-rate samples each stands for."""
    check_rate(sample_rate)
    size = CHUNK * sample_rate // ANALYSIS_RATE
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
        length = min(rest, size)
        yield _resampled(buffer[: size + 2 * margin], sample_rate)[: length * ANALYSIS_RATE // sample_rate], length
        buffer, rest = buffer[size:], rest - size


def _resampled(sound: Tensor, sample_rate: int) -> Tensor:
    low: Tensor = resample(sound, sample_rate, ANALYSIS_RATE)
    return low[CHUNK // 8 : CHUNK // 8 + CHUNK]


@dataclass(frozen=True)
class Ranked:
    """A folded plane, the speed or tempo it is for, and its pilot z."""

    z: float
    name: float
    table: Tensor


class _Search:
    """The last seconds of sound, and what was read in them."""

    def __init__(self, keys: Sequence[MarkKey]) -> None:
        self._groups = [(PilotSearch(AudioPattern.of(pilot).pilot), group) for pilot, group in by_pilot(keys)]
        self._check = TagCheck()
        self._sound = torch.zeros(0)
        self._looks = list(LOOKS_S)
        self._unseen = False
        self._audible = 0  # samples
        self._best_z = 0.0
        self._key_id: int | None = None
        self.payload: Payload | None = None

    @property
    def ended(self) -> bool:
        """Whether a payload was read, or as many tags were compared as the bound allows."""
        return self.payload is not None or self._check.exhausted

    def push(self, chunk: Tensor) -> None:
        self._sound = torch.cat([self._sound, chunk])
        self._audible += _audible_samples(chunk)
        self._unseen = True
        if len(self._sound) >= self._looks[0] * ANALYSIS_RATE:
            self._looks.pop(0)
            self._look(thoroughly=not self._looks)
            if not self._looks:
                self._sound = self._sound[-round(OVERLAP_S * ANALYSIS_RATE) :]
                self._looks = [at for at in LOOKS_S if at > OVERLAP_S]

    def finish(self) -> None:
        """The last look, at what has come since the one before."""
        if self._unseen:
            self._look(thoroughly=True)

    def _look(self, *, thoroughly: bool) -> None:
        self._unseen = not thoroughly
        loudness = self._sound.square().mean().sqrt()
        if len(self._sound) < 2 * FRAME or float(loudness) < 1e-7:
            return
        sound = self._sound * (0.05 / loudness)  # no threshold below depends on the loudness
        values = plane(sound)
        sums = chip_sums(values)
        for search, keys in self._groups:
            hypotheses = search.plain(folded(sums), LIKELIEST)
            cut = search.cut(sums, ANALYSIS_RATE)
            if self._read([*hypotheses, *([cut] if cut else [])], keys):
                return
        if thoroughly and not self._tried(tempo_planes(values)):
            likely = {one.name for best in self._ranked(coarse_speed_planes(sound)) for one in best}
            lengths = sorted({int(length) + beside for length in likely for beside in (-2, 0, 2)})
            self._tried(speed_planes(sound, lengths))

    def _tried(self, planes: Planes) -> bool:
        """Whether one of the likeliest planes carries a mark."""
        return any(
            self._read([hypothesis for one in best for hypothesis in search.plain(one.table, 1)], keys)
            for (search, keys), best in zip(self._groups, self._ranked(planes), strict=True)
        )

    def _ranked(self, planes: Planes) -> list[list[Ranked]]:
        """For each pilot the likeliest planes, best first."""
        ranked: list[list[Ranked]] = [[] for _ in self._groups]
        for name, table in planes:
            for (search, _), best in zip(self._groups, ranked, strict=True):
                best.append(Ranked(search.best_z(table), name, table))
                best.sort(key=lambda one: -one.z)
                del best[LIKELIEST:]
        return ranked

    def _read(self, hypotheses: Sequence[Hypothesis], keys: Sequence[MarkKey]) -> bool:
        """Whether the search is over."""
        for hypothesis, key in product(hypotheses, keys):
            self._best_z = max(self._best_z, hypothesis.z)
            excess, word = hypothesis.word(AudioPattern.of(key))
            if excess < WORTH_DECODING:
                continue
            self.payload = self._check.read(word, key)
            if self.payload is not None:
                self._best_z, self._key_id = hypothesis.z, key.key_id
            if self.ended:
                return True
        return False

    def detection(self) -> Detection:
        return Detection(
            medium="audio",
            payload=self.payload,
            key_id=self._key_id,
            log10_false_positive=self._check.log10_false_positive,
            pilot_z=self._best_z,
            seconds_used=self._audible / ANALYSIS_RATE,
        )


def _audible_samples(chunk: Tensor) -> int:
    parts = chunk[: len(chunk) // 320 * 320].reshape(-1, 320)
    return 320 * int((parts.square().mean(1).sqrt() > AUDIBLE_RMS).sum())
