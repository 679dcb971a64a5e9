"""What the gate finds out about portrait and recording, within bounds."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from policy import media_facts
from policy.media_facts import inspect_audio, inspect_media, inspect_portrait, pixels_digest
from policy.media_types import audio_media_type, portrait_media_type
from tests.policy.conftest import DEMO, demo_pixels, demo_portrait, png, speech_wav, tone_burst_wav, wav


def test_loudness_is_that_of_the_loudest_tenth_of_a_second() -> None:
    burst = [0] * 16_000 + [16_384] * 1600 + [0] * 16_000
    facts = inspect_audio(wav(burst))
    assert facts.duration_s == pytest.approx(2.1)
    assert facts.loudest_dbfs == pytest.approx(20 * math.log10(0.5), abs=0.6)
    assert inspect_audio(wav([0] * 16_000)).loudest_dbfs == -math.inf


def test_a_recording_is_read_only_a_little_past_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the container states no length, or a shorter one, decoding still ends soon after the limit."""
    monkeypatch.setattr(media_facts, "MAX_AUDIO_S", 1.0)
    monkeypatch.setattr(media_facts, "probe", lambda _: SimpleNamespace(duration_s=0.0))
    assert inspect_audio(tone_burst_wav(30.0)).duration_s <= 3.0


def test_files_that_are_too_large_are_not_even_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media_facts, "MAX_PORTRAIT_BYTES", 10)
    monkeypatch.setattr(media_facts, "MAX_AUDIO_BYTES", 10)
    facts = inspect_media(demo_portrait(), tone_burst_wav())
    assert (facts.portrait, facts.audio) == (None, None)
    assert {denial.rule_id for denial in facts.unreadable.values()} == {"portrait.unreadable", "audio.unreadable"}


def test_what_cannot_be_read_is_named_by_its_part_in_the_request() -> None:
    facts = inspect_media(b"no picture", b"no sound at all")
    said = {name: denial.fact for name, denial in facts.unreadable.items()}
    assert said["portrait"].startswith("The portrait: expected ")
    assert said["audio"].startswith("The recording: expected ")


def test_the_pixel_digest_tells_one_bit_and_the_shape() -> None:
    pixels = demo_pixels()
    same = inspect_portrait(png(pixels))[0].pixels_sha256
    assert same == inspect_portrait(png(pixels))[0].pixels_sha256
    changed = pixels.copy()
    changed[-1, -1, -1] ^= 1
    assert inspect_portrait(png(changed))[0].pixels_sha256 != same
    wide, tall = torch.zeros(3, 2, 8, dtype=torch.uint8), torch.zeros(3, 8, 2, dtype=torch.uint8)
    assert pixels_digest(wide) != pixels_digest(tall)


def test_the_demo_portrait_shows_one_large_face() -> None:
    facts, embeddings = inspect_portrait(demo_portrait())
    assert facts.faces == len(embeddings) == 1
    assert facts.face_heights_px[0] > 128


def test_media_types_are_told_by_content() -> None:
    assert portrait_media_type(demo_portrait()) == "image/png"
    assert portrait_media_type(b"\xff\xd8\xff\xe0rest") == "image/jpeg"
    assert portrait_media_type(b"RIFF1234WEBPVP8 ") == "image/webp"
    assert portrait_media_type(b"BM") == "image/octet-stream"
    assert audio_media_type(speech_wav()) == "audio/wav"
    assert audio_media_type((DEMO / "voice.flac").read_bytes()) == "audio/flac"
    assert audio_media_type(np.zeros(9, np.uint8).tobytes()) == "audio/octet-stream"
