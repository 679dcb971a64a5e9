"""One marked talking head and one marked recording, made once for all tests of the package."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import pytest
import torch
from torch import Tensor

from benchmarks.watermark_clips import speech, talking_head
from media import audio_round_trip, codec_round_trip
from watermark import AudioEmbedder, MarkKey, Payload, VideoEmbedder

KEY = MarkKey(bytes(range(32)), 0x7A5)
OTHER_KEY = MarkKey(bytes(range(1, 33)), 0x7A5)  # the same number, another secret
SITE_KEYS = tuple(MarkKey(bytes([number]) * 32, number, b"\x55" * 32) for number in range(1, 41))  # share a pilot
PAYLOAD = Payload(0x0123_4567_89AB_CDEF)
FPS = Fraction(25)
SOUND_RATE = 48_000


@dataclass(frozen=True)
class Block:
    frames: Tensor
    times: Sequence[Fraction]


def blocks(frames: Tensor, *, fps: Fraction = FPS, start_s: Fraction = Fraction(0), size: int = 16) -> list[Block]:
    """`frames` as a reader of files would hand them out."""
    times = [start_s + i / fps for i in range(len(frames))]
    return [Block(frames[i : i + size], times[i : i + size]) for i in range(0, len(frames), size)]


def mark_video(frames: Tensor, *, fps: Fraction = FPS, key: MarkKey = KEY) -> Tensor:
    height, width = frames.shape[2:]
    return VideoEmbedder(key, PAYLOAD, width=width, height=height, fps=fps).push(frames)


def mark_sound(samples: Tensor, *, sample_rate: int = SOUND_RATE, key: MarkKey = KEY) -> Tensor:
    embedder = AudioEmbedder(key, PAYLOAD, sample_rate=sample_rate)
    return torch.cat([embedder.push(samples), embedder.flush()])


@pytest.fixture(scope="session")
def head() -> Tensor:
    return talking_head(75, side=384, seed=5)


@pytest.fixture(scope="session")
def marked_head(head: Tensor) -> Tensor:
    return mark_video(head)


@pytest.fixture(scope="session")
def compressed_head(marked_head: Tensor) -> Tensor:
    return codec_round_trip(marked_head, fps=FPS, crf=28)


@pytest.fixture(scope="session")
def voice() -> Tensor:
    return speech(6.0, sample_rate=SOUND_RATE, seed=1)


@pytest.fixture(scope="session")
def marked_voice(voice: Tensor) -> Tensor:
    return mark_sound(voice)


@pytest.fixture(scope="session")
def compressed_voice(marked_voice: Tensor) -> Tensor:
    return audio_round_trip(marked_voice, sample_rate=SOUND_RATE, bit_rate=64_000)
