"""Round trips do to frames and sound what the codec does, and nothing else."""

from typing import Literal

import pytest
import torch

from media import audio_round_trip, codec_round_trip
from tests.media.recordings import moving_picture, tone
from tests.media.test_audio_reader import lag, speech_like


@pytest.mark.parametrize("codec", ["h264", "hevc", "vp9"])
@pytest.mark.parametrize("count", [1, 2, 9])
def test_frames_come_back_in_number_size_and_order(codec: Literal["h264", "hevc", "vp9"], count: int) -> None:
    frames = moving_picture(count, 63, 95)
    decoded = codec_round_trip(frames, crf=12, codec=codec)
    assert decoded.shape == frames.shape
    assert decoded.dtype == torch.uint8
    assert (decoded.float() - frames.float()).abs().mean() < 4


@pytest.mark.parametrize("codec", ["h264", "hevc", "vp9"])
def test_a_coarser_quality_loses_more(codec: Literal["h264", "hevc", "vp9"]) -> None:
    noise = torch.randint(64, 192, (6, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))
    losses = [(codec_round_trip(noise, crf=crf, codec=codec).float() - noise.float()).pow(2).mean() for crf in (10, 45)]
    assert losses[1] > 1.2 * losses[0]


def test_equal_frames_give_equal_results() -> None:
    frames = moving_picture(8)
    first = codec_round_trip(frames, crf=28)
    assert all(torch.equal(codec_round_trip(frames, crf=28), first) for _ in range(12))


@pytest.mark.parametrize("codec", ["aac", "opus", "mp3"])
@pytest.mark.parametrize("rate", [16000, 48000])
def test_sound_comes_back_in_length_and_in_step(codec: Literal["aac", "opus", "mp3"], rate: int) -> None:
    samples = speech_like(1.3, rate)
    decoded = audio_round_trip(samples, sample_rate=rate, codec=codec)
    assert decoded.shape == samples.shape
    assert abs(lag(samples, decoded)) <= 1
    assert 0.0001 < (decoded - samples).pow(2).mean().sqrt() < 0.05


def test_wrong_tensors_and_codecs_are_refused() -> None:
    with pytest.raises(ValueError, match="uint8"):
        codec_round_trip(torch.zeros(1, 3, 8, 8), crf=20)
    with pytest.raises(ValueError, match="codec is one of"):
        codec_round_trip(moving_picture(1), crf=20, codec="mpeg1")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="codec is one of"):
        audio_round_trip(tone(0.1), sample_rate=48000, codec="speex")  # type: ignore[arg-type]
