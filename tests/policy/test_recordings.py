"""Every kind of recording that people have: it works, or it is refused with the reason."""

from __future__ import annotations

import io
import math
import struct
import wave
from typing import Any

import numpy as np
import pytest
import torch

from policy import media_facts
from policy.marked_clip import CONTROL_RATE, SOUND_RATE, audio_blocks
from policy.media_facts import MAX_AUDIO_S, inspect_audio
from policy.request_rules import RULES

RATES = (8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 88_200, 96_000)


def recording(rate: int, channels: int = 1, seconds: float = 2.5, gain: float = 0.4) -> bytes:
    """A tone of 300 Hz in every channel, 16 bit; beyond full scale it is clipped."""
    tone = np.sin(np.arange(round(seconds * rate)) * (2 * math.pi * 300 / rate)) * gain
    samples = (np.clip(tone, -1, 1) * 32767).astype("<i2")
    sink = io.BytesIO()
    with wave.open(sink, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.repeat(samples[:, None], channels, 1).tobytes())
    return sink.getvalue()


def broken_rules(audio: bytes) -> set[str]:
    """The rules about the sound itself that refuse this recording."""
    asked: Any = {"audio": inspect_audio(audio)}
    sound = [rule for rule in RULES if rule.rule_id.startswith("audio.")]
    assert len(sound) == 3
    return {rule.rule_id for rule in sound if rule.check(**asked) is not None}


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 6])
def test_rates_from_8_to_96_khz_and_layouts_from_mono_to_5_1_work(rate: int, channels: int) -> None:
    audio = recording(rate, channels)
    facts = inspect_audio(audio)
    assert facts.duration_s == pytest.approx(2.5, abs=0.01)
    assert -20 < facts.loudest_dbfs < -5
    control, sound = [], []
    for low, high, _ in audio_blocks(audio):
        control += [] if low is None else [low]
        sound += [] if high is None else [high]
    assert sum(map(len, control)) == pytest.approx(2.5 * CONTROL_RATE, abs=32)
    assert sum(map(len, sound)) == pytest.approx(2.5 * SOUND_RATE, abs=96)
    assert float(torch.cat(sound).abs().max()) <= 1


def test_a_clipped_recording_works() -> None:
    audio = recording(44_100, gain=20.0)
    assert broken_rules(audio) == set()
    assert inspect_audio(audio).loudest_dbfs > -1


@pytest.mark.parametrize(
    ("audio", "rule"),
    [
        (recording(48_000, seconds=0.1), "audio.too_short"),
        (recording(48_000, gain=0.0), "audio.silent"),
        (recording(16_000, 2, gain=0.0005), "audio.silent"),
    ],
    ids=["0.1 s", "digital silence", "far below speech"],
)
def test_what_can_not_carry_speech_is_refused_with_the_reason(audio: bytes, rule: str) -> None:
    assert broken_rules(audio) == {rule}


def test_three_hours_are_refused_by_their_stated_length_without_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def decode(*_: object, **__: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(media_facts, "read_audio", decode)
    samples = 3 * 3600 * 8_000
    head = (
        b"RIFF" + struct.pack("<I", samples + 36) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8_000, 8_000, 1, 8)
    )
    audio = head + b"data" + struct.pack("<I", samples) + b"\x80" * samples
    assert inspect_audio(audio).duration_s == pytest.approx(3 * 3600, rel=1e-3)
    assert broken_rules(audio) == {"audio.too_long"}


def test_a_recording_may_last_an_hour() -> None:
    assert MAX_AUDIO_S == 3600
