"""Sound from a pipe: the same samples as from a file, whatever pieces it comes in; bad senders are refused."""

import io
import wave
from collections.abc import Callable

import numpy as np
import pytest
import torch

from media import LiveSound, MediaError, PcmFormat, read_audio
from media.live_sound import LAYOUTS

RATES = (16_000, 48_000)


def tone(rate: int, seconds: float, channels: int) -> bytes:
    samples = (np.sin(np.arange(round(rate * seconds)) * (2 * np.pi * 220 / rate)) * 12_000).astype("<i2")
    return np.repeat(samples[:, None], channels, 1).tobytes()


def wav(data: bytes, rate: int, channels: int) -> bytes:
    sink = io.BytesIO()
    with wave.open(sink, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(data)
    return sink.getvalue()


def in_pieces(data: bytes, size: int) -> Callable[[int], bytes]:
    source = io.BytesIO(data)
    return lambda most: source.read(min(most, size))


def heard(live: LiveSound, most_s: float = 60) -> list[torch.Tensor]:
    pairs = list(live.blocks(RATES, most_s=most_s))
    return [torch.cat([pair[index] for pair in pairs]) for index in (0, 1)]


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("channels", LAYOUTS)
def test_every_rate_and_layout_comes_out_as_from_a_file(rate: int, channels: int) -> None:
    data = tone(rate, 1.0, channels)
    for live in (
        LiveSound(in_pieces(data, 4_001), PcmFormat(rate, channels)),
        LiveSound(in_pieces(wav(data, rate, channels), 777), None),
    ):
        for sound, wanted in zip(heard(live), RATES, strict=True):
            assert len(sound) == pytest.approx(wanted, abs=wanted / 500)
            assert sound.dtype == torch.float32
        assert live.seconds == pytest.approx(1.0)
    of_file = torch.cat(
        list(read_audio(io.BytesIO(wav(data, rate, 1 if channels == 1 else channels)), sample_rate=48_000))
    )
    count = min(len(of_file), len(sound))
    assert float((of_file[:count] - sound[:count]).abs().max()) < 0.02


def test_pieces_of_any_size_give_the_same_samples() -> None:
    data = tone(44_100, 0.7, 2)
    one, other = (heard(LiveSound(in_pieces(data, size), PcmFormat(44_100, 2))) for size in (1 << 20, 16_384))
    assert torch.equal(one[0], other[0])
    assert torch.equal(one[1], other[1])


def test_sound_ends_at_the_most_that_is_wanted() -> None:
    live = LiveSound(in_pieces(tone(48_000, 3.0, 1), 10_000), PcmFormat(48_000, 1))
    assert len(heard(live, most_s=1.0)[0]) == 16_000


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "header ends"),
        (b"OggS" + bytes(40), "no RIFF header"),
        (wav(bytes(8), 4_000, 1), "4000 Hz"),
        (wav(bytes(28), 48_000, 7), "7 channels"),
        (wav(bytes(8), 48_000, 1).replace(b"\x01\x00\x01\x00", b"\x07\x00\x01\x00"), "format 7"),
        (b"RIFF\0\0\0\0WAVELIST\xff\xff\xff\x00", "longer than 64 KiB"),
        (b"RIFF\0\0\0\0WAVEdata\0\0\0\0", "no format before"),
    ],
)
def test_a_header_that_is_none_is_refused(data: bytes, told: str) -> None:
    with pytest.raises(MediaError, match=told):
        LiveSound(in_pieces(data, 100), None)


@pytest.mark.parametrize(("data", "told"), [(b"", "no sound"), (bytes(48_001), "1 bytes of a sample")])
def test_no_sound_and_half_a_sample_are_refused(data: bytes, told: str) -> None:
    with pytest.raises(MediaError, match=told):
        heard(LiveSound(in_pieces(data, 1 << 20), PcmFormat(48_000, 1)))
