"""Portraits and recordings that nothing can be made of are refused, logged, and leave no clip and no use behind."""

from __future__ import annotations

import numpy as np
import pytest

from tests.policy.conftest import (
    GateSimulator,
    Refusals,
    demo_pixels,
    png,
    tone_burst_wav,
    wav,
)

# Portrait and recording


def refused_with_portrait(simulator: GateSimulator, refused: Refusals, portrait: bytes, rules: set[str]) -> None:
    consent = simulator.consent() if "portrait.unreadable" in rules else simulator.consent(portrait=portrait)
    refused(simulator.request(consent, portrait=portrait), rules, consent)


def test_a_portrait_without_a_face(simulator: GateSimulator, refused: Refusals) -> None:
    grey = np.full((512, 512, 3), 128, np.uint8)
    refused_with_portrait(simulator, refused, png(grey), {"portrait.no_face", "consent.no_face_bound"})


def test_a_portrait_with_two_faces(simulator: GateSimulator, refused: Refusals) -> None:
    pixels = demo_pixels()
    expected = {"portrait.several_faces", "consent.no_face_bound"}
    refused_with_portrait(simulator, refused, png(np.concatenate([pixels, pixels], axis=1)), expected)


def test_a_portrait_of_twenty_pixels(simulator: GateSimulator, refused: Refusals) -> None:
    small = demo_pixels()[:: max(1, demo_pixels().shape[0] // 20), :: max(1, demo_pixels().shape[1] // 20)][:20, :20]
    refused_with_portrait(
        simulator, refused, png(small), {"portrait.too_small", "portrait.no_face", "consent.no_face_bound"}
    )


@pytest.mark.parametrize("portrait", [b"", b"no picture", tone_burst_wav()], ids=["empty", "text", "sound"])
def test_a_portrait_that_is_no_picture(simulator: GateSimulator, refused: Refusals, portrait: bytes) -> None:
    refused_with_portrait(simulator, refused, portrait, {"portrait.unreadable", "consent.other_portrait"})


@pytest.mark.parametrize(
    ("audio", "rule"),
    [
        (wav([0] * 40_000), "audio.silent"),
        (tone_burst_wav(2.5, 0.001), "audio.silent"),
        (tone_burst_wav(1.5), "audio.too_short"),
        (b"", "audio.unreadable"),
        (wav([]), "audio.unreadable"),
        (b"no sound at all", "audio.unreadable"),
    ],
    ids=["digital silence", "hiss", "short", "empty file", "no samples", "not audio"],
)
def test_a_recording_that_cannot_be_spoken(
    simulator: GateSimulator, refused: Refusals, audio: bytes, rule: str
) -> None:
    consent = simulator.consent()
    refused(simulator.request(consent, audio=audio), {rule}, consent)
