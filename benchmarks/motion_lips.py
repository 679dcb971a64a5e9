"""Lips from real speech against real talkers: bilabial closure, opening, offset, silence.

The LJSpeech reader was never trained on. Phone times are in `ljspeech_phones.csv` (pocketsphinx 5.1.1; 26 sentences
whose words are all in its dictionary). GRID's lips are tracked. Each talker of GRID is left out: the last step of the
lips, fitted on all ten to be shipped, is here the one fitted without the talker (`lip_folds/`). The shipped encoder
never heard the talkers C, F, H, I; they are measured with it. All ten talkers are measured with an encoder that never
heard GRID (rows `*_all_talkers`); it learnt from less and hears worse than the shipped one. Nothing else moves the
opening of the lips.

bilabial_closure_rate   share of p, b, m within which the lips close, of LJSpeech (of GRID: `_grid`)
open_vowel_closed_rate, other_sound_closed_rate   share of sounds in whose middle they wrongly close
opening_correlation     Pearson r per clip of made and real lip distance while speaking; `_gain`: above the baseline's,
                        whose mouth opens with the loudness
av_offset_frames_max    offset at which made and real lips agree best, worst clip
silent_lip_mad          median absolute deviation of the opening in pauses, in inter-ocular distances
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file

from benchmarks.interval import share_interval
from benchmarks.motion_lips_ceiling import known_clip, known_opening, tracked_again
from generator import Controls
from generator.controls import FPS
from generator.lip_opening import LipOpening
from generator.motion import MotionModel
from generator.motion_mouth import LIP_GAP_CM, REST_GAP_CM, columns
from generator.rig import EXPRESSION_NAMES
from generator.training.fit_lip_opening import load_encoder
from generator.training.motion_dataset import GRID_FACE_CM, HELD_OUT_TALKERS, grid_talkers, read_sound

Rows = dict[str, dict[str, Any]]
Curve = npt.NDArray[np.float64]

FOLDS = Path(__file__).with_name("lip_folds")
LJSPEECH_PHONES = Path(__file__).with_name("ljspeech_phones.csv")
BILABIAL = {"P", "B", "M"}
OPEN = {"AA", "AE", "AH", "AO", "AW", "AY", "EH", "EY", "OW"}
LIP_SOUNDS = BILABIAL | {"F", "V", "W", "SIL"}
CLOSED_CM = 0.1  # 0.009 of the face height; the real talkers come within 0.000 to 0.003
INTER_OCULAR_CM = 6.2
LONG_SILENCE_S = 0.3


@dataclass(frozen=True)
class Phone:
    start_s: float
    end_s: float
    name: str


@dataclass(frozen=True)
class Recording:
    """A test recording: sound at 16 kHz, phones, and the real lip gap in cm where there is a film."""

    name: str
    sound: npt.NDArray[np.float32]
    phones: tuple[Phone, ...]
    gap_cm: Curve | None
    talker: str


def grid(folder: Path) -> Iterator[Recording]:
    for name, talker in sorted(grid_talkers(folder).items()):
        with (folder / f"{name}_phones.csv").open(newline="", encoding="utf-8") as file:
            phones = tuple(_phone(row) for row in csv.DictReader(file))
        gap = np.load(folder / f"{name}_motion.npz")["lip_gap"] * GRID_FACE_CM
        yield Recording(name, read_sound(folder / f"{name}.mpg"), phones, gap, talker)


def ljspeech(folder: Path) -> Iterator[Recording]:
    phones: dict[str, list[Phone]] = {}
    with LJSPEECH_PHONES.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            phones.setdefault(row["file"], []).append(_phone(row))
    for name, timed in phones.items():
        yield Recording(name, read_sound(folder / f"{name}.flac"), tuple(timed), None, "LJSpeech")


def _phone(row: dict[str, str]) -> Phone:
    return Phone(float(row["start_s"]), float(row["end_s"]), row["phone"])


def lip_gap_cm(expression: torch.Tensor) -> Curve:
    """[T, 53] -> [T] inner lip distance of the rig in cm."""
    gains = torch.zeros(len(EXPRESSION_NAMES))
    for axis, gap in LIP_GAP_CM.items():
        gains[list(columns(axis))] = gap / len(columns(axis))
    return np.asarray((expression @ gains + REST_GAP_CM).double().numpy())


def driven_gap(model: MotionModel, sound: npt.NDArray[np.float32]) -> Curve:
    still = Controls(head_motion=0.0, blink_rate_per_min=0.0)
    block, _ = model.step(torch.from_numpy(sound), model.start(still, 1), final=True)
    return lip_gap_cm(block.expression)


def loudness_gap(sound: npt.NDArray[np.float32], frames: int) -> Curve:
    """Baseline: opening follows the log level of 80 ms around the frame, 0 to 1 cm over the upper 35 dB."""
    padded = np.pad(sound, (320, 640 * frames + 1280))
    windows = np.stack([padded[i * 640 : i * 640 + 1280] for i in range(frames)])
    level_db = 10 * np.log10((windows.astype(np.float64) ** 2).mean(1) + 1e-9)
    return np.asarray(np.clip(1 + (level_db - np.percentile(level_db, 95)) / 35, 0, 1))


def frames_of(phone: Phone, count: int) -> slice:
    first = min(round(phone.start_s * FPS), count - 1)
    return slice(first, max(first + 1, min(round(phone.end_s * FPS) + 1, count)))


def closures(recording: Recording, gap: Curve) -> tuple[list[bool], list[bool], list[bool]]:
    """Per p, b, m: did the lips close; per open vowel, and per sound made without the lips: did they wrongly close."""
    shut = [bool(gap[frames_of(p, len(gap))].min() <= CLOSED_CM) for p in recording.phones if p.name in BILABIAL]
    wrong: list[bool] = []
    other: list[bool] = []
    for p in recording.phones:
        middle = min(round((p.start_s + p.end_s) / 2 * FPS), len(gap) - 1)
        if p.name in OPEN and p.end_s - p.start_s >= 0.06:
            wrong.append(bool(gap[middle] <= CLOSED_CM))
        if p.name not in LIP_SOUNDS and p.end_s - p.start_s >= 0.06:
            other.append(bool(gap[middle] <= CLOSED_CM))
    return shut, wrong, other


def speech_span(recording: Recording, frames: int) -> slice:
    spoken = [p for p in recording.phones if p.name != "SIL"]
    return slice(max(0, round((spoken[0].start_s - 0.1) * FPS)), min(frames, round((spoken[-1].end_s + 0.1) * FPS)))


def correlation(a: Curve, b: Curve) -> float:
    return float(np.corrcoef(a, b)[0, 1])


def best_offset(made: Curve, real: Curve, span: slice, reach: int = 5) -> int:
    """Frames by which the made lips come late (positive) or early where they agree best."""
    scores = {}
    for offset in range(-reach, reach + 1):
        at = np.arange(span.start, span.stop)
        at = at[(at + offset >= 0) & (at + offset < len(made))]
        scores[offset] = correlation(made[at + offset], real[at])
    return max(scores, key=lambda offset: scores[offset])


def silent_deviation(recording: Recording, gap: Curve) -> list[float]:
    """Median absolute deviation of opening / inter-ocular distance in each pause of 0.3 s or more, 80 ms in."""
    out = []
    for p in recording.phones:
        part = gap[round((p.start_s + 0.08) * FPS) : round((p.end_s - 0.08) * FPS)] / INTER_OCULAR_CM
        if p.name == "SIL" and p.end_s - p.start_s >= LONG_SILENCE_S and len(part) >= 4:
            out.append(float(np.median(np.abs(part - np.median(part)))))
    return out


def bootstrap(values: list[float] | list[bool], seed: int = 0) -> list[float]:
    """95 % interval of the mean over 2,000 resamples."""
    x, rng = np.asarray(values, np.float64), np.random.default_rng(seed)
    means = x[rng.integers(0, len(x), (2000, len(x)))].mean(1)
    return [float(v) for v in np.percentile(means, [2.5, 97.5])]


def mean_row(values: list[float] | list[bool], unit: str) -> dict[str, Any]:
    """Mean with its interval: exact for shares, bootstrap for measurements."""
    shares = all(isinstance(value, bool | np.bool_) for value in values)
    return {
        "value": float(np.mean(values)),
        "unit": unit,
        "n": len(values),
        "ci95": share_interval(int(sum(values)), len(values)) if shares else bootstrap(values),
    }


def without(model: MotionModel, folds: Path) -> Callable[[str], MotionModel]:
    """Talker of GRID -> the model with lips that were fitted without the talker."""

    def model_for(talker: str) -> MotionModel:
        lips = LipOpening()
        lips.load_state_dict(load_file(str(folds / f"without_{talker}.safetensors")))
        return MotionModel(model.encoder, model.flow, lips)

    return model_for


def measure_lips(model: MotionModel, data: Path, folds: Path = FOLDS, plots: Path | None = None) -> Rows:
    """`folds`: what `generator.training.fit_lip_opening` wrote, beside its encoder as encoder.safetensors, .json."""
    talkers = list(grid(data / "grid"))
    unheard = [recording for recording in talkers if recording.talker in HELD_OUT_TALKERS]
    never_heard_grid = MotionModel(load_encoder(folds / "encoder"), model.flow, model.lips)
    silent: list[float] = []
    rows = _measure(ljspeech(data / "speech"), lambda _: model, "", silent, plots)
    rows |= _measure(unheard, without(model, folds), "_grid", silent, plots)
    everybody = _measure(talkers, without(never_heard_grid, folds), "_grid", [], None)
    rows |= {f"{name}_all_talkers": row for name, row in everybody.items()}
    rows |= measure_ceiling(talkers, data / "grid")
    rows["silent_lip_mad"] = mean_row(silent, "inter-ocular distances")
    return rows


def measure_ceiling(talkers: list[Recording], folder: Path) -> Rows:
    """How far `opening_correlation` could rise, see `motion_lips_ceiling`."""
    known, again = [], []
    for recording in talkers:
        assert recording.gap_cm is not None
        span = speech_span(recording, len(recording.gap_cm))
        known.append((known_clip(folder, recording.name, len(recording.gap_cm)), recording.gap_cm, span))
        again.append(correlation(tracked_again(folder / f"{recording.name}.mpg")[span], recording.gap_cm[span]))
    reached = [correlation(known_opening(clip, known)[span], real[span]) for clip, real, span in known]
    unheard = [r for r, (clip, _, _) in zip(reached, known, strict=True) if clip.talker in HELD_OUT_TALKERS]
    return {
        "opening_correlation_known_phones": mean_row(unheard, "Pearson r per clip, speech"),
        "opening_correlation_known_phones_all_talkers": mean_row(reached, "Pearson r per clip, speech"),
        "lip_tracking_agreement": mean_row(again, "Pearson r per clip, speech"),
    }


def _measure(
    recordings: Iterable[Recording],
    model_for: Callable[[str], MotionModel],
    end: str,
    silent: list[float],
    plots: Path | None,
) -> Rows:
    """Rows of one set; deviations in its pauses go into `silent`."""
    shut: list[bool] = []
    wrong: list[bool] = []
    other: list[bool] = []
    base_shut: list[bool] = []
    made_r, base_r, whole_r, offsets = [], [], [], []
    for recording in recordings:
        gap = driven_gap(model_for(recording.talker), recording.sound)
        base = loudness_gap(recording.sound, len(gap))
        found = closures(recording, gap)
        shut, wrong, other = shut + found[0], wrong + found[1], other + found[2]
        base_shut += closures(recording, base)[0]
        silent += silent_deviation(recording, gap)
        if recording.gap_cm is not None:
            frames = min(len(gap), len(recording.gap_cm))
            span, real = speech_span(recording, frames), recording.gap_cm
            made_r.append(correlation(gap[span], real[span]))
            base_r.append(correlation(base[span], real[span]))
            whole_r.append(correlation(gap[:frames], real[:frames]))
            offsets.append(abs(best_offset(gap, real, span)))
        if plots:
            plot(recording, gap, base, plots)
    rows = {
        f"bilabial_closure_rate{end}": mean_row(shut, "of p, b, m"),
        f"bilabial_closure_rate{end}_loudness_baseline": mean_row(base_shut, "of p, b, m"),
        f"open_vowel_closed_rate{end}": mean_row(wrong, "of open vowels"),
        f"other_sound_closed_rate{end}": mean_row(other, "of sounds made without the lips"),
    }
    if made_r:
        gain = [a - b for a, b in zip(made_r, base_r, strict=True)]
        rows |= {
            "opening_correlation": mean_row(made_r, "Pearson r per clip, speech"),
            "opening_correlation_loudness_baseline": mean_row(base_r, "Pearson r per clip, speech"),
            "opening_correlation_gain": mean_row(gain, "Pearson r per clip, speech"),
            "opening_correlation_whole_clip": mean_row(whole_r, "Pearson r per clip"),
            "av_offset_frames_max": {"value": max(offsets), "unit": "frames", "n": len(offsets)},
        }
    return rows


def plot(recording: Recording, gap: Curve, base: Curve, folder: Path) -> None:
    """Made, real and baseline lip gap over the phones."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    figure, axes = plt.subplots(figsize=(max(8, 4 * len(gap) / FPS), 4))
    times = np.arange(len(gap)) / FPS
    axes.plot(times, gap, "o-", ms=3, label="made")
    axes.plot(times, base, ":", label="loudness")
    if recording.gap_cm is not None:
        axes.plot(np.arange(len(recording.gap_cm)) / FPS, recording.gap_cm, "k-", label="real")
    for p in recording.phones:
        axes.axvspan(p.start_s, p.end_s, color="r" if p.name in BILABIAL else "w", alpha=0.2)
        axes.text(p.start_s, 1.25, p.name, fontsize=7)
    axes.plot(np.arange(len(recording.sound)) / 16000, recording.sound * 0.3 - 0.4, lw=0.2, color="g")
    axes.legend(loc="lower right")
    axes.set_ylabel("lip gap, cm")
    figure.tight_layout()
    figure.savefig(folder / f"{recording.name}.png", dpi=60)
    plt.close(figure)
