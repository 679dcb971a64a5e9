"""Which seconds of a recording carry a mark that was read: a second pass, with the payload known.

As in `localise`: one number for every chip of 64 ms says whether its cells are as the code word wants them, normal
with deviation 1 where the mark is not; the likeliest sequence of marked and unmarked chips draws the borders.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

from watermark.audio_detector import chunks
from watermark.audio_pattern import ANALYSIS_RATE, CHIP, FRAME, PERIOD, AudioPattern
from watermark.audio_search import FINE_PER_CHIP, chip_sums, plane
from watermark.code import encode
from watermark.detection import Detection
from watermark.errors import WatermarkError
from watermark.key import MarkKey
from watermark.localise import MarkedStretch, likely_states, runs_of
from watermark.payload import pack

WINDOW_S = 4.0  # with one start of the pattern each, so that a cut costs no more than the window that it lies in

STRONG = 3.0
PAUSE = 0.3  # share of the median chip's norm


def locate_sound_mark(
    blocks: Iterable[Tensor], found: Detection, keys: Sequence[MarkKey], *, sample_rate: int
) -> tuple[MarkedStretch, ...]:
    """Where in the recording the mark of `found` lies; `blocks` are mono float32, read from the start.

    Only what runs at the speed at which it was made can be placed; of a recording that doesn't, nothing is told.
    Raises `WatermarkError` when nothing was found, or its key is not among `keys`.
    """
    key = next((one for one in keys if one.key_id == found.key_id), None)
    if found.payload is None or key is None:
        raise WatermarkError("only a mark that was read can be located, with the key that read it")
    chips = AudioPattern.of(key).chips(torch.from_numpy(encode(pack(found.payload, key))).float() * 2 - 1)
    starts, strengths = [], []
    with torch.inference_mode():
        for begin, sound in _windows(blocks, sample_rate):
            at, z = _chip_strengths(sound, chips)
            starts.append((begin + at) / ANALYSIS_RATE)
            strengths.append(z)
    if not starts:
        return ()
    at_s, z = torch.cat(starts), torch.cat(strengths)
    return tuple(
        MarkedStretch(float(at_s[first]), float(at_s[last]) + CHIP / ANALYSIS_RATE, found.payload)
        for first, last in runs_of(likely_states(z))
    )


def _windows(blocks: Iterable[Tensor], sample_rate: int) -> Iterator[tuple[int, Tensor]]:
    """Stretches of sound at ANALYSIS_RATE with the sample at which each begins."""
    size = round(WINDOW_S * ANALYSIS_RATE)
    sound, begin = torch.zeros(0), 0
    for chunk, _ in chunks(blocks, sample_rate):
        sound = torch.cat([sound, chunk])
        while len(sound) >= size + CHIP:
            yield begin, sound[: size + CHIP]
            sound, begin = sound[size:], begin + size
    if len(sound) >= CHIP + FRAME:
        yield begin, sound


def _chip_strengths(sound: Tensor, chips: Tensor) -> tuple[Tensor, Tensor]:
    """Samples at which chips begin [T], and how strongly each shows what it ought to, in deviations of chance [T].

    Loud chips show it far better than others: more than STRONG counts as STRONG. Pauses say nothing, nan.
    """
    loudness = sound.square().mean().sqrt()
    sums = chip_sums(plane(sound * (0.05 / loudness.clamp(min=1e-7))))
    audible = PAUSE * float(sums.norm(dim=1).median()) if len(sums) else 0.0
    best, likeliest = -1.0, (torch.zeros(0), torch.zeros(0))
    for fine in range(min(FINE_PER_CHIP, len(sums))):
        rows = sums[fine::FINE_PER_CHIP]
        z = rows @ chips.T / rows.norm(dim=1, keepdim=True).clamp(min=1e-9)  # [T, PERIOD]
        number = torch.arange(len(rows))
        by_start = z[number, (number + torch.arange(PERIOD)[:, None]) % PERIOD]  # [PERIOD, T]
        strength = by_start.clamp(min=0).square().sum(1)
        if float(strength.max()) > best:
            best = float(strength.max())
            z = by_start[int(strength.argmax())].clamp(max=STRONG)
            z[rows.norm(dim=1) <= audible] = torch.nan
            likeliest = (number * CHIP + fine * (CHIP // FINE_PER_CHIP), z)
    return likeliest
