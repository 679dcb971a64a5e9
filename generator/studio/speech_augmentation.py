"""Make clean synthetic speech sound like recordings: speed, equaliser, rooms, noise, telephone; and non-speech.

Every function takes and returns float32 samples at 16 kHz and draws from the generator it is given.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy.ndimage
import scipy.signal

from generator.studio.speech_synthesis import RATE, Samples, SpokenSound, Utterance

Rng = np.random.Generator


def change_speed(u: Utterance, factor: float) -> Utterance:
    """Play `factor` times faster: pitch and formants move with it, as if the speaker were smaller or larger."""
    up, down = 100, round(100 * factor)
    samples = scipy.signal.resample_poly(u.samples, up, down)
    scale = up / down
    sounds = tuple(SpokenSound(s.start_s * scale, s.end_s * scale, s.viseme) for s in u.sounds)
    return Utterance(np.asarray(samples, np.float32), sounds)


def equalise(samples: Samples, rng: Rng, *, strength_db: float = 7.0) -> Samples:
    """A random smooth frequency response with a tilt: microphones and mixing desks."""
    points = np.linspace(0, 1, 9)
    gain_db = rng.normal(0, strength_db / 2, 9) + rng.normal(0, strength_db) * (points - 0.5)
    taps = scipy.signal.firwin2(129, points, 10 ** (gain_db / 20))
    return np.asarray(scipy.signal.fftconvolve(samples, taps, "same"), np.float32)


def put_in_room(samples: Samples, rng: Rng) -> Samples:
    """Direct sound plus an exponentially decaying tail (reverberation 0.1 to 0.7 s)."""
    decay_s, ratio_db = rng.uniform(0.1, 0.7), rng.uniform(2, 18)
    t = np.arange(int(decay_s * RATE)) / RATE
    tail = rng.normal(size=len(t)) * np.exp(-6.9 * t / decay_s) * (t > rng.uniform(0.002, 0.02))
    tail = scipy.signal.sosfilt(scipy.signal.butter(1, rng.uniform(2000, 7000), fs=RATE, output="sos"), tail)
    tail *= 10 ** (-ratio_db / 20) / np.sqrt((tail**2).sum() + 1e-12)
    tail[0] += 1.0
    return np.asarray(scipy.signal.fftconvolve(samples, tail)[: len(samples)], np.float32)


def telephone(samples: Samples, rng: Rng) -> Samples:
    """300 to 3,400 Hz and 8 bit mu-law."""
    band = scipy.signal.butter(4, [rng.uniform(150, 350), rng.uniform(3000, 3800)], "bandpass", fs=RATE, output="sos")
    x = scipy.signal.sosfilt(band, samples)
    x = x / (np.abs(x).max() + 1e-9)
    squeezed = np.sign(x) * np.log1p(255 * np.abs(x)) / np.log(256)
    squeezed = np.round(squeezed * 127) / 127
    return np.asarray(np.sign(squeezed) * (256 ** np.abs(squeezed) - 1) / 255, np.float32)


def narrow(samples: Samples, rng: Rng) -> Samples:
    """Only up to 2.5 to 6 kHz: poor microphones, and codecs that spare the treble."""
    band = scipy.signal.butter(6, rng.uniform(2500, 6000), fs=RATE, output="sos")
    return np.asarray(scipy.signal.sosfilt(band, samples), np.float32)


def compress(samples: Samples, rng: Rng) -> Samples:
    """A limiter as in broadcasts and calls: the level of 20 ms is raised to the power 0.3 to 0.8."""
    power = scipy.ndimage.uniform_filter1d(samples.astype(np.float64) ** 2, RATE // 50)
    level = np.sqrt(np.maximum(power, 0)) + 3e-3  # the running sum may round below nothing
    return np.asarray(samples * level ** (rng.uniform(0.3, 0.8) - 1), np.float32)


def coloured_noise(length: int, rng: Rng) -> Samples:
    """Between white and brown, with a slowly changing level, unit RMS."""
    n = 1 << int(np.ceil(np.log2(length)))
    spectrum = np.fft.rfft(rng.normal(size=n))
    spectrum /= np.maximum(1, np.arange(len(spectrum))) ** rng.uniform(0, 0.9)
    noise = np.fft.irfft(spectrum, n)[:length]
    swell = 1 + rng.uniform(0, 0.7) * np.sin(np.arange(length) / RATE * rng.uniform(0.5, 12) + rng.uniform(0, 6.3))
    noise = noise * swell
    return np.asarray(noise / (np.sqrt((noise**2).mean()) + 1e-9), np.float32)


def music(length: int, rng: Rng) -> Samples:
    """Chords of decaying harmonics with drum hits: nobody speaks."""
    out, t = np.zeros(length), np.arange(int(1.5 * RATE)) / RATE
    beat = int(rng.uniform(0.15, 0.6) * RATE)
    root, scale = rng.uniform(80, 400), np.array([0, 2, 4, 5, 7, 9, 11, 12])
    for start in range(0, length, beat):
        for _ in range(rng.integers(1, 4)):
            f = root * 2 ** (rng.choice(scale) / 12)
            k = np.arange(1, rng.integers(3, 12))[:, None]
            note = (np.sin(2 * np.pi * f * k * t) / k ** rng.uniform(0.7, 2)).sum(0) * np.exp(-t * rng.uniform(1, 9))
            part = out[start : start + len(note)]
            part += note[: len(part)]
        if rng.random() < 0.5:
            hit = rng.normal(size=2400) * np.exp(-np.arange(2400) / rng.uniform(150, 700)) * rng.uniform(0.5, 3)
            part = out[start : start + len(hit)]
            part += hit[: len(part)]
    return np.asarray(out / (np.sqrt((out**2).mean()) + 1e-9), np.float32)


def noises_of_people_and_things(length: int, rng: Rng) -> Samples:
    """Breaths (band noise swelling for 0.3 to 0.9 s), clicks, knocks and hum."""
    out: npt.NDArray[np.float64] = np.zeros(length)
    for _ in range(rng.integers(2, 10)):
        n, at = int(rng.uniform(0.02, 0.9) * RATE), int(rng.integers(0, max(1, length - RATE)))
        band = np.sort(rng.uniform(200, 6000, 2)) + np.array([0, 300])
        burst = scipy.signal.sosfilt(
            scipy.signal.butter(1, band, "bandpass", fs=RATE, output="sos"), rng.normal(size=n)
        )
        shape = np.hanning(n) if rng.random() < 0.6 else np.exp(-np.arange(n) / (n * rng.uniform(0.03, 0.3)))
        part = out[at : at + n]
        part += (burst * shape * rng.uniform(0.2, 2))[: len(part)]
    hum = np.sin(2 * np.pi * rng.choice([50, 60, 100, 120]) * np.arange(length) / RATE) * rng.uniform(0, 0.3)
    out = out + hum
    return np.asarray(out / (np.sqrt((out**2).mean()) + 1e-9), np.float32)


def degrade(samples: Samples, rng: Rng) -> Samples:
    """The whole chain on a finished recording: equaliser, room, limiter, band, noise, telephone, gain."""
    if rng.random() < 0.8:
        samples = equalise(samples, rng)
    if rng.random() < 0.5:
        samples = put_in_room(samples, rng)
    if rng.random() < 0.2:
        samples = compress(samples, rng)
    if rng.random() < 0.2:
        samples = narrow(samples, rng)
    level = np.sqrt((samples**2).mean()) + 1e-6
    snr_db = rng.uniform(5, 22) if rng.random() < 0.35 else rng.uniform(22, 65)
    kind = (coloured_noise, music, noises_of_people_and_things)[rng.choice(3, p=[0.8, 0.08, 0.12])]
    samples = samples + kind(len(samples), rng) * level * 10 ** (-snr_db / 20)
    if rng.random() < 0.1:
        samples = telephone(np.asarray(samples, np.float32), rng)
    peak = np.abs(samples).max() + 1e-9
    gain = 10 ** (rng.uniform(-30, -1) / 20) / peak
    if rng.random() < 0.06:
        gain *= 3
    return np.asarray(np.clip(samples * gain, -1, 1), np.float32)
