"""What platforms and people do to sound, as data: one line of `ATTACKS` is one attack: a name, a function, parameters.

Every function takes and gives mono float32 [n] at RATE; codecs are real ones, in memory, and the tempo is changed by
FFmpeg's `atempo` filter (overlap-add of similar waveforms), which keeps the pitch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from fractions import Fraction
from typing import Any, cast

import av
import numpy as np
import torch
from av.audio.frame import AudioFrame
from scipy.signal import butter, fftconvolve, resample_poly, sosfiltfilt
from torch import Tensor

from media import audio_round_trip

RATE = 48_000


@dataclass(frozen=True)
class Attack:
    """A named operation on sound, with its parameters."""

    name: str
    operation: Callable[..., Tensor]
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, sound: Tensor) -> Tensor:
        return self.operation(sound, **self.parameters)

    def __str__(self) -> str:
        return f"{self.name}: {self.operation.__name__}({dict(self.parameters)})"


def _tensor(sound: Any) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(sound, np.float32))


def untouched(sound: Tensor) -> Tensor:
    return sound


def codec(sound: Tensor, *, name: str, bit_rate: int) -> Tensor:
    return audio_round_trip(sound, sample_rate=RATE, codec=name, bit_rate=bit_rate)  # type: ignore[arg-type]


def through_rate(sound: Tensor, *, rate: int) -> Tensor:
    """Down to `rate` and back, as a telephone or a messenger does."""
    ratio = Fraction(rate, RATE)
    low = resample_poly(sound.numpy(), ratio.numerator, ratio.denominator)
    return _tensor(resample_poly(low, ratio.denominator, ratio.numerator))


def band_pass(sound: Tensor, *, low_hz: float, high_hz: float) -> Tensor:
    sections = butter(4, [low_hz, high_hz], "bandpass", fs=RATE, output="sos")
    return _tensor(sosfiltfilt(sections, sound.numpy()))


def noise(sound: Tensor, *, snr_db: float) -> Tensor:
    """White noise; the ratio holds over the whole excerpt."""
    hiss = torch.randn(len(sound), generator=torch.Generator().manual_seed(7))
    return sound + hiss * (sound.square().mean() * 10 ** (-snr_db / 10)).sqrt()


def reverb(sound: Tensor, *, rt60_s: float, direct_to_reverberant_db: float) -> Tensor:
    """A room: the direct sound, and noise that decays by 60 dB in `rt60_s` (Moorer 1979)."""
    t = np.arange(round(rt60_s * RATE)) / RATE
    tail = np.random.default_rng(3).standard_normal(len(t)) * 10 ** (-3 * t / rt60_s)
    tail[: RATE // 200] = 0
    tail *= 10 ** (-direct_to_reverberant_db / 20) / np.sqrt(np.square(tail).sum())
    tail[0] = 1.0
    return _tensor(fftconvolve(sound.numpy(), tail)[: len(sound)])


def echo(sound: Tensor, *, delay_s: float, gain: float) -> Tensor:
    late = torch.zeros_like(sound)
    late[round(delay_s * RATE) :] = sound[: -round(delay_s * RATE)]
    return sound + gain * late


def gain(sound: Tensor, *, factor: float) -> Tensor:
    return sound * factor


def speed(sound: Tensor, *, factor: float) -> Tensor:
    """Faster and higher, or slower and lower."""
    ratio = Fraction(factor).limit_denominator(1000)
    return _tensor(resample_poly(sound.numpy(), ratio.denominator, ratio.numerator))


def tempo(sound: Tensor, *, factor: float) -> Tensor:
    """Faster or slower at the same pitch."""
    graph = av.filter.Graph()
    source = graph.add_abuffer(sample_rate=RATE, format="flt", layout="mono", channels=1, time_base=Fraction(1, RATE))
    stretch, sink = graph.add("atempo", str(factor)), graph.add("abuffersink")
    source.link_to(stretch)
    stretch.link_to(sink)
    graph.configure()
    frame = AudioFrame.from_ndarray(sound.numpy()[None], format="flt", layout="mono")
    frame.sample_rate, frame.time_base, frame.pts = RATE, Fraction(1, RATE), 0
    source.push(frame)
    source.push(None)
    parts = []
    while True:
        try:
            parts.append(cast(AudioFrame, sink.pull()).to_ndarray().reshape(-1))
        except (av.error.EOFError, av.error.BlockingIOError):
            break
    return _tensor(np.concatenate(parts))


def cut_middle(sound: Tensor, *, seconds: float) -> Tensor:
    """A stretch in the middle is taken out and the ends are joined."""
    middle, half = len(sound) // 2, round(seconds * RATE / 2)
    return torch.cat([sound[: middle - half], sound[middle + half :]])


ATTACKS = (
    Attack("clean", untouched),
    Attack("mp3_64k", codec, {"name": "mp3", "bit_rate": 64_000}),
    Attack("aac_64k", codec, {"name": "aac", "bit_rate": 64_000}),
    Attack("opus_32k", codec, {"name": "opus", "bit_rate": 32_000}),
    Attack("opus_16k", codec, {"name": "opus", "bit_rate": 16_000}),
    Attack("resample_8k", through_rate, {"rate": 8_000}),
    Attack("band_300_3400", band_pass, {"low_hz": 300, "high_hz": 3400}),
    Attack("noise_20db", noise, {"snr_db": 20}),
    Attack("noise_10db", noise, {"snr_db": 10}),
    Attack("reverb", reverb, {"rt60_s": 0.4, "direct_to_reverberant_db": 3}),
    Attack("echo", echo, {"delay_s": 0.2, "gain": 0.4}),
    Attack("polarity", gain, {"factor": -1.0}),
    Attack("quiet", gain, {"factor": 0.1}),
    Attack("speed_90", speed, {"factor": 0.9}),
    Attack("speed_105", speed, {"factor": 1.05}),
    Attack("speed_110", speed, {"factor": 1.1}),
    Attack("tempo_90", tempo, {"factor": 0.9}),
    Attack("tempo_105", tempo, {"factor": 1.05}),
    Attack("tempo_110", tempo, {"factor": 1.1}),
    Attack("cut_middle", cut_middle, {"seconds": 0.7}),
)


def chosen(names: str) -> Sequence[Attack]:
    """The attacks whose names are given, by comma; a name may end in *; all if empty."""
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    picked = [a for a in ATTACKS if not wanted or any(fnmatch(a.name, name) for name in wanted)]
    unmatched = [name for name in wanted if not any(fnmatch(a.name, name) for a in ATTACKS)]
    if unmatched:
        raise ValueError(f"no attack is called {', '.join(unmatched)}; there are {', '.join(a.name for a in ATTACKS)}")
    return picked
