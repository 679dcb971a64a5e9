"""Sound comes out mono, at the wanted rate, in step with the picture."""

import gc
import weakref

import numpy as np
import pytest
import torch
from torch import Tensor

from media import MediaError, load_audio, read_audio, read_frames
from tests.media.recordings import encoded, moving_picture, recorded, tone


def lag(a: Tensor, b: Tensor) -> int:
    """Samples by which b comes later than a."""
    size = 2 * max(len(a), len(b))
    correlation = torch.fft.irfft(torch.fft.rfft(a, size).conj() * torch.fft.rfft(b, size))
    best = int(correlation.argmax())
    return best if best < size // 2 else best - size


def speech_like(seconds: float, rate: int) -> Tensor:
    """Noise bursts below 3 kHz: their correlation has one peak."""
    generator = torch.Generator().manual_seed(7)
    spectrum = torch.fft.rfft(torch.randn(round(seconds * rate), generator=generator))
    spectrum[int(3000 * seconds) :] = 0
    spectrum[: int(100 * seconds)] = 0
    noise = torch.fft.irfft(spectrum, round(seconds * rate))
    return noise / noise.abs().max() * 0.7


@pytest.mark.parametrize(
    ("container", "codec", "tolerance"),
    [("wav", "pcm_s16le", 1e-4), ("flac", "flac", 1e-4), ("mp3", "libmp3lame", 0.05), ("ogg", "libopus", 0.12)],
)
def test_every_common_sound_file_gives_the_samples_that_went_in(container: str, codec: str, tolerance: float) -> None:
    samples = speech_like(1.0, 48000)
    data = recorded(samples[None].numpy(), 48000, layout="mono", container=container, codec=codec)
    read = load_audio(data, sample_rate=48000, max_s=2)
    assert abs(len(read) - 48000) <= 1152
    assert lag(samples, read) == 0
    assert (read[2000:40000] - samples[2000:40000]).abs().max() < tolerance


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100])
def test_sound_is_resampled_to_the_wanted_rate(rate: int) -> None:
    data = recorded(tone(2.0)[None].numpy(), 48000, layout="mono")
    read = load_audio(data, sample_rate=rate, max_s=3)
    assert abs(len(read) - 2 * rate) <= 2
    assert (read[1000 : rate // 2] - tone(2.0, rate)[1000 : rate // 2]).abs().max() < 0.01


@pytest.mark.parametrize(("layout", "channels"), [("stereo", 2), ("5.1", 6)])
def test_equal_full_scale_channels_mix_to_no_more_than_full_scale(layout: str, channels: int) -> None:
    loud = (tone(0.5) * 1.98).repeat(channels, 1)
    loud[3:4] = 0.0  # the subwoofer where there is one
    mixed = load_audio(recorded(loud.numpy(), 48000, layout=layout), sample_rate=48000, max_s=1)
    assert 0.9 < mixed.abs().max() <= 1.0


def test_both_stereo_sides_are_heard() -> None:
    for side in (0, 1):
        stereo = torch.zeros(2, 24000)
        stereo[side] = tone(0.5)
        mixed = load_audio(recorded(stereo.numpy(), 48000, layout="stereo"), sample_rate=48000, max_s=1)
        assert mixed.abs().max() == pytest.approx(0.25, abs=0.01)


def test_blocks_are_full_but_the_last() -> None:
    data = recorded(tone(2.3)[None].numpy(), 48000, layout="mono")
    blocks = list(read_audio(data, sample_rate=16000, block_s=0.5))
    assert [len(block) for block in blocks[:-1]] == [8000] * 4
    assert 0 < len(blocks[-1]) <= 8000
    assert all(block.dtype == torch.float32 for block in blocks)


def test_sound_of_a_clip_is_in_step_with_its_picture() -> None:
    samples = speech_like(2.0, 48000)
    for container in ("mp4", "matroska", "mpegts"):
        data = encoded(moving_picture(50), container=container, sound=samples)
        picture_start = next(iter(read_frames(data))).times[0]
        sound_start = lag(samples, load_audio(data, sample_rate=48000, max_s=3)) / 48000
        assert abs(sound_start - picture_start) < 0.002


def test_sound_that_starts_late_begins_with_silence() -> None:
    data = encoded(moving_picture(50), sound=tone(1.0), sound_starts_s=1.0, container="matroska")
    read = load_audio(data, sample_rate=16000, max_s=3)
    assert read[:15000].abs().max() < 0.01
    assert read[17000:30000].abs().max() > 0.4


def test_a_gap_in_the_sound_is_filled_with_silence() -> None:
    data = recorded(tone(2.0)[None].numpy(), 48000, layout="mono", container="matroska", pause_s=0.5)
    read = load_audio(data, sample_rate=16000, max_s=3)
    assert abs(len(read) - 40000) < 100
    assert read[17500:23000].abs().max() < 0.01
    assert min(read[8000:15000].abs().max(), read[26000:].abs().max()) > 0.4


def test_longer_than_allowed_is_refused() -> None:
    data = recorded(tone(2.0)[None].numpy(), 48000, layout="mono")
    assert len(load_audio(data, max_s=2.0)) == 32000
    with pytest.raises(MediaError, match=r"at most 1\.9 s"):
        load_audio(data, max_s=1.9)


def test_an_hour_is_read_in_bounded_memory() -> None:
    data = recorded(np.zeros((1, 3600 * 1000), np.float32), 1000, layout="mono", container="matroska")
    alive: list[weakref.ref[Tensor]] = []
    most = count = 0
    for block in read_audio(data, sample_rate=1000, block_s=10.0):
        alive = [ref for ref in alive if ref() is not None] + [weakref.ref(block)]
        most = max(most, len(alive))
        count += len(block)
    gc.collect()
    assert count == 3600 * 1000
    assert most <= 2


def test_broken_float_samples_become_finite_and_within_range() -> None:
    wild = np.array([[np.nan, np.inf, -np.inf, 5.0, -5.0, 0.5] * 100], np.float32)
    data = recorded(wild, 16000, layout="mono", codec="pcm_f32le")
    read = load_audio(data, sample_rate=16000, max_s=1)
    assert torch.isfinite(read).all()
    assert read.abs().max() <= 1.0


def test_a_silent_film_has_no_sound() -> None:
    with pytest.raises(MediaError, match="no sound track"):
        load_audio(encoded(moving_picture(3)), max_s=10)


def test_senseless_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="sample_rate"):
        next(read_audio(b"x", sample_rate=0))
