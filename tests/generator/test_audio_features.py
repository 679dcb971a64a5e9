"""Features of sound: exact streaming, indifference to gain and to the colour of the microphone."""

import torch
from torch import Tensor

from generator.audio_features import CHANNELS, MEL_BANDS, UNIT, AudioFeatures, mel_bank


def features_of(sound: Tensor) -> Tensor:
    """[n] -> [units, 4, 42]."""
    extractor = AudioFeatures()
    state, units = extractor.start(), []
    for start in range(0, len(sound) - UNIT + 1, UNIT):
        unit, state = extractor.step(sound[None, start : start + UNIT], state)
        units.append(unit[0])
    return torch.stack(units)


def syllables(seconds: float) -> Tensor:
    """Harmonics of 120 Hz that come and go five times a second."""
    t = torch.arange(int(seconds * 16_000)) / 16_000
    tone = torch.stack([torch.sin(2 * torch.pi * 120 * k * t) / k for k in range(1, 30)]).sum(0)
    return 0.1 * tone * torch.sin(2 * torch.pi * 2.5 * t).abs()


def test_one_unit_gives_four_spectra() -> None:
    assert features_of(torch.zeros(UNIT * 3)).shape == (3, 4, CHANNELS)


def test_gain_is_forgotten_after_some_seconds() -> None:
    sound = syllables(12)
    loud, soft = features_of(sound), features_of(sound * 0.05)
    late = slice(250, None)
    assert (loud[late, :, :MEL_BANDS] - soft[late, :, :MEL_BANDS]).abs().mean() < 0.1


def test_a_microphones_colour_is_mostly_forgotten() -> None:
    sound = syllables(8)
    dull = torch.nn.functional.avg_pool1d(sound[None], 4, 1, padding=2)[0, : len(sound)]
    a, b = features_of(sound)[150:, :, :MEL_BANDS], features_of(dull)[150:, :, :MEL_BANDS]
    power = lambda x: torch.stft(x, 512, window=torch.hann_window(512), return_complex=True).abs() ** 2  # noqa: E731
    raw_a, raw_b = (10 * torch.log10(power(x).T @ mel_bank() + 1e-9) / 14 for x in (sound, dull))
    assert (a - b).abs().mean() < 0.5 * (raw_a - raw_b).abs().mean()


def test_quiet_noise_is_not_blown_up_to_speech() -> None:
    noise = torch.randn(16_000 * 4, generator=torch.Generator().manual_seed(0)) * 1e-3  # -60 dB of full scale
    level = features_of(noise)[50:, :, MEL_BANDS]
    speech = features_of(syllables(4))[50:, :, MEL_BANDS]
    assert level.mean() < speech.max() - 0.4


def test_features_are_finite_and_bounded_for_silence_and_clipping() -> None:
    for sound in (torch.zeros(UNIT * 20), torch.ones(UNIT * 20), torch.sign(syllables(2)), syllables(2) * 1e-6):
        found = features_of(sound)
        assert bool(torch.isfinite(found).all())
        assert float(found.abs().max()) < 6


def test_a_batch_equals_its_recordings_one_by_one() -> None:
    sounds = torch.stack([syllables(1), torch.randn(16_000, generator=torch.Generator().manual_seed(2)) * 0.1])
    extractor = AudioFeatures()
    state, units = extractor.start(2), []
    for start in range(0, 16_000, UNIT):
        unit, state = extractor.step(sounds[:, start : start + UNIT], state)
        units.append(unit)
    batch = torch.stack(units, 1)
    for row, sound in zip(batch, sounds, strict=True):
        torch.testing.assert_close(row, features_of(sound), atol=1e-4, rtol=1e-4)
