"""Make the demo voice: a synthetic speaker says what Vasari does (no real person is imitated).

    python -m generator.studio.make_demo_voice [--out vasari/demo/voice.flac]

Needs the Debian package `flite` (2.2; BSD-like licence) for its statistical voice `slt`, and
`soundfile`. The same text and settings give the same samples on every run.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import scipy.signal
import soundfile

Samples = npt.NDArray[np.float64]

RATE = 48_000
VOICE = "slt"
PHRASES = (
    "Vasari moves a portrait's lips to a voice, but only if the person approved.",
    "Every film we make bears a mark, and proof of who made it.",
)
LEAD_S, PAUSE_S, TAIL_S = 0.25, 0.6, 0.45
STRETCH = 0.97
LEVEL_RMS = 0.09


def speak(text: str, *, voice: str = VOICE, stretch: float = STRETCH) -> Samples:
    """[n] samples in -1..1 at 48 kHz, silence at both ends removed."""
    with tempfile.TemporaryDirectory() as folder:
        wav = Path(folder) / "speech.wav"
        command = ["flite", "-voice", voice, "--setf", f"duration_stretch={stretch}", "-t", text, "-o", str(wav)]
        subprocess.run(command, check=True, capture_output=True)
        samples, rate = soundfile.read(wav)
    samples = scipy.signal.resample_poly(samples, RATE, rate)
    loud = np.flatnonzero(np.abs(samples) > 0.01 * np.abs(samples).max())
    margin = RATE // 50
    return np.asarray(samples[max(0, loud[0] - margin) : loud[-1] + margin], np.float64)


def soften(samples: Samples) -> Samples:
    """Take the buzz out of a vocoded voice: no rumble, a gentle shelf above 4 kHz, a little warmth and room."""
    samples = scipy.signal.sosfilt(scipy.signal.butter(2, 70, "highpass", fs=RATE, output="sos"), samples)
    bright = scipy.signal.sosfilt(scipy.signal.butter(1, 4000, "highpass", fs=RATE, output="sos"), samples)
    warm = scipy.signal.sosfilt(scipy.signal.butter(1, [150, 450], "bandpass", fs=RATE, output="sos"), samples)
    samples = samples - 0.35 * bright + 0.15 * warm
    return samples + 0.12 * room_tail(samples)


def room_tail(samples: Samples, *, decay_s: float = 0.12) -> Samples:
    """The sound of a small furnished room: decaying noise, always the same."""
    t = np.arange(int(0.3 * RATE)) / RATE
    impulse = np.random.default_rng(1511).normal(size=len(t)) * np.exp(-t * 6.9 / decay_s) * (t > 0.004)
    impulse /= np.sqrt((impulse**2).sum())
    return np.asarray(scipy.signal.fftconvolve(samples, impulse)[: len(samples)], np.float64)


def demo_voice() -> Samples:
    """[n] the whole recording at 48 kHz: lead, phrase, pause, phrase, tail."""
    silence = [np.zeros(int(seconds * RATE)) for seconds in (LEAD_S, PAUSE_S, TAIL_S)]
    first, second = (speak(text) for text in PHRASES)
    samples = soften(np.concatenate([silence[0], first, silence[1], second, silence[2]]))
    samples *= LEVEL_RMS / np.sqrt((samples**2).mean())
    return np.asarray(np.tanh(samples * 1.1) / 1.1, np.float64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("vasari/demo/voice.flac"))
    args = parser.parse_args()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    samples = demo_voice()
    soundfile.write(args.out, samples, RATE, subtype="PCM_16", format="FLAC")
    print(f"{args.out}: {len(samples) / RATE:.2f} s, peak {np.abs(samples).max():.2f}")


if __name__ == "__main__":
    main()
