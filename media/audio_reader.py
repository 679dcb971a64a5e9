"""Streaming sound decode: mono float32 blocks at the rate the caller wants, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any, cast

import av
import av.container
import numpy as np
import torch
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from torch import Tensor

from media.errors import MediaError
from media.guarded_input import DECODER_OPTIONS, Source, opened_container, reading, source_name
from media.limits import MAX_AUDIO_CHANNELS, MAX_AUDIO_RATE, MAX_EMPTY_PACKETS, MAX_SAMPLES_PER_PACKET
from media.timeline import Completeness, check_time, container_origin

Samples = np.ndarray[Any, np.dtype[np.float32]]

_PAUSE_S = 0.1
"""A gap between two sound frames from this length on, in seconds, is filled with silence."""

_SILENCE_PIECE = 65536

_MIX_OPTIONS = {"rematrix_maxval": "1.0"}
"""Full-scale channels mix down to full scale; FFmpeg leaves float mixes up to 3 dB over."""


def read_audio(source: Source, *, sample_rate: int = 16000, block_s: float = 1.0) -> Iterator[Tensor]:
    """Decodes the first sound track of `source` in blocks of `block_s` seconds, the last one shorter.

    Blocks are float32 [n] mono within [-1, 1] at `sample_rate` hertz; channels are mixed down by their
    layout (the centre counts most, subwoofers don't). Sample k lies at k / sample_rate on the clock of
    `FrameBlock.times`: a track that starts later than its video begins with silence, and gaps are silent.

    Raises MediaError when there is no sound or the file is beyond a limit of `media.limits`. Of a file
    that is damaged or cut off every whole block before the damage is given, then MediaError is raised.
    """
    if not 1000 <= sample_rate <= MAX_AUDIO_RATE or block_s <= 0:
        raise ValueError(f"sample_rate is 1000 to {MAX_AUDIO_RATE} Hz and block_s is above 0")
    block = max(1, round(block_s * sample_rate))
    waiting: list[Samples] = []
    held = 0
    for samples in _samples(source, sample_rate):
        waiting.append(samples)
        held += len(samples)
        if held >= block:
            joined = np.concatenate(waiting)
            whole = held - held % block
            yield from (_sound(joined[start : start + block]) for start in range(0, whole, block))
            waiting, held = [joined[whole:].copy()], held - whole
    if held:
        yield _sound(np.concatenate(waiting))


def load_audio(source: Source, *, sample_rate: int = 16000, max_s: float) -> Tensor:
    """All sound of `source` as float32 [n] mono at `sample_rate`. Longer than `max_s` is a MediaError."""
    blocks: list[Tensor] = []
    held = 0
    for block in read_audio(source, sample_rate=sample_rate):
        blocks.append(block)
        held += block.numel()
        if held > max_s * sample_rate:
            raise MediaError(
                source_name(source),
                expected=f"at most {max_s:g} s of sound",
                came="it is longer",
                remedy="Cut the recording to the part that is needed.",
            )
    return torch.cat(blocks)


def _samples(source: Source, sample_rate: int) -> Iterator[Samples]:
    """Resampled mono samples in pieces of whatever length the decoder gives."""
    with opened_container(source) as media:
        container, name = media.container, media.name
        stream = _audio_stream(container, name)
        completeness = Completeness(media)
        mixer = _Mixer(sample_rate)
        clock = _SoundClock(stream, container_origin(container), name)
        with reading(name):
            for frame in _decoded_audio(stream, name, completeness):
                pause_s = clock.pause_before(frame)
                if pause_s:
                    yield from mixer.flush()
                    yield from _silence(round(pause_s * sample_rate))
                yield from mixer.push(frame)
            yield from mixer.flush()
        if not mixer.started:
            raise _no_sound(name, "its sound track holds no samples")
        completeness.check(stream)


def _audio_stream(container: av.container.InputContainer, name: str) -> AudioStream:
    for stream in container.streams.audio:
        if stream.codec_context is not None:
            stream.codec_context.options = dict(DECODER_OPTIONS)
            return stream
    raise _no_sound(name, f"it has no sound track (container {container.format.name})")


def _decoded_audio(stream: AudioStream, name: str, completeness: Completeness) -> Iterator[AudioFrame]:
    """Every decoded sound frame of a stream, checked against the limits."""
    empty = 0
    for packet in completeness.packets(stream):
        frames = stream.decode(packet)
        empty = 0 if frames else empty + 1
        if empty > MAX_EMPTY_PACKETS or sum(frame.samples for frame in frames) > MAX_SAMPLES_PER_PACKET:
            raise _no_sound(name, "its packets hold no sensible amount of sound")
        for frame in frames:
            if not 0 < frame.sample_rate <= MAX_AUDIO_RATE or len(frame.layout.channels) > MAX_AUDIO_CHANNELS:
                raise _no_sound(name, f"its sound has {frame.sample_rate} Hz, {len(frame.layout.channels)} channels")
            if frame.samples:
                yield frame


def _silence(samples: int) -> Iterator[Samples]:
    """Zeros, in pieces of bounded size."""
    for start in range(0, samples, _SILENCE_PIECE):
        yield np.zeros(min(_SILENCE_PIECE, samples - start), dtype=np.float32)


def _no_sound(name: str, came: str) -> MediaError:
    return MediaError(
        name,
        expected="a file with a sound track that can be decoded",
        came=came,
        remedy="Give a recording such as WAV, FLAC, MP3, M4A or Ogg, or a video with sound.",
    )


class _SoundClock:
    """Tells where a sound track pauses: before its first frame, and where packets were lost or left out."""

    def __init__(self, stream: AudioStream, origin: Fraction, name: str) -> None:
        self._tick = float(stream.time_base or 0)
        self._origin_s = float(origin)
        self._name = name
        self._due_s: float | None = None

    def pause_before(self, frame: AudioFrame) -> float:
        """Seconds of silence between the sound so far and this frame. Raises MediaError beyond the limit."""
        due_s = self._due_s or 0.0
        starts_s = due_s if frame.pts is None else frame.pts * self._tick - self._origin_s
        check_time(starts_s, self._name)
        threshold_s = 0.0 if self._due_s is None else _PAUSE_S
        pause_s = starts_s - due_s if starts_s - due_s > threshold_s else 0.0
        self._due_s = due_s + pause_s + frame.samples / frame.sample_rate
        return pause_s


class _Mixer:
    """Mixes to mono and resamples; starts over when the format changes in mid-stream."""

    def __init__(self, sample_rate: int) -> None:
        self._rate = sample_rate
        self._resampler: AudioResampler | None = None
        self._format: tuple[str, str, int] | None = None

    @property
    def started(self) -> bool:
        return self._format is not None

    def push(self, frame: AudioFrame) -> Iterator[Samples]:
        kind = (frame.format.name, frame.layout.name, frame.sample_rate)
        if kind != self._format or self._resampler is None:
            yield from self.flush()
            self._format = kind
            self._resampler = AudioResampler("flt", "mono", self._rate, options=dict(_MIX_OPTIONS))
        frame.pts = None
        yield from map(_values, self._resampler.resample(frame))

    def flush(self) -> Iterator[Samples]:
        if self._resampler is not None:
            yield from map(_values, self._resampler.resample(None))
        self._resampler = None


def _values(frame: AudioFrame) -> Samples:
    return cast(Samples, frame.to_ndarray().reshape(-1))


def _sound(samples: Samples) -> Tensor:
    """Finite float32 [n] within [-1, 1]; broken float files may hold anything."""
    return torch.from_numpy(np.clip(np.nan_to_num(samples, nan=0.0, posinf=1.0, neginf=-1.0), -1.0, 1.0))
