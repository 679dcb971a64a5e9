"""Head motion, blinks and gaze shifts of the model beside published or tracked human ranges.

The model plays 10 minutes of sound: LJSpeech sentences with pauses where the data is there, else the demo voice, over
and over with new seeds. Each statistic has a row `naturalness.<id>` with the human range and its source in the unit.

blink_rate            per minute in conversation, 10.5 to 32.5 (Doughty, Optometry and Vision Science 78, 2001)
blink_duration        seconds from open to open again, 0.1 to 0.4 (Stern, Walrath and Goldstein 1984; Schiffman 2001)
blink_interval_skew   mean over median of the intervals, above 1 (Bentivoglio et al. 1997: skewed to the right)
saccade_rate          gaze shifts per second, 0.3 to 3 (Lee, Badler and Badler 2002; Rayner 1998: fixations of a scene
                      last 0.33 s, towards a partner over a second)
saccade_amplitude     degrees, mean below 15: 86 % of natural saccades are smaller (Bahill, Adler and Stark 1975)
head_*_deg            deviation over 3 s of speech, filmed and tracked, against GRID's talkers, tracked so too: their
                      smallest to largest (`head_tracking` says how)
head_speed            mean turn in degrees a second below 3 Hz, where most movement is, against the same
head_speed_fast       the same from 3 to 6 Hz
*_still               what the same tracker sees of a head that is held still while it speaks
*_made                the same statistic of the poses themselves, over the 10 minutes
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import scipy.signal
import torch

from benchmarks.head_tracking import TrackedClip, track_clips
from benchmarks.interval import mean_interval
from benchmarks.results_page import Row, Rows
from generator import Controls
from generator.controls import FPS
from generator.motion import MotionModel
from generator.motion_block import MotionBlock
from generator.rig import EXPRESSION_INDEX
from media import load_audio

Array = npt.NDArray[np.float64]
DEMO_VOICE = Path(__file__).resolve().parents[1] / "vasari" / "demo" / "voice.flac"
WINDOW = 75  # frames: GRID's clips last 3 s
CONVERSATION = Controls(blink_rate_per_min=20.0)
SLOW_HZ, FAST_HZ = 3.0, 6.0
HEAD_AXES = ("head_yaw_deg", "head_pitch_deg", "head_roll_deg")
HEAD_UNITS = dict.fromkeys(HEAD_AXES, "degrees over 3 s") | dict.fromkeys(
    ("head_speed", "head_speed_fast"), "degrees a second"
)
SHIFT_DEG = 0.2  # a smaller change of gaze within a frame is no saccade


def performances(model: MotionModel, speech: Path | None, minutes: float) -> Iterator[MotionBlock]:
    """Motion of recordings joined to about half a minute each, every one with another seed."""
    paths = sorted(speech.glob("*.flac")) if speech else [DEMO_VOICE]
    voices = [load_audio(path, max_s=60.0) for path in paths]
    seconds, seed, index = 0.0, 0, 0
    while seconds < 60 * minutes:
        parts: list[torch.Tensor] = []
        while sum(len(part) for part in parts) < 28 * 16_000:
            parts += [voices[index % len(voices)], torch.zeros(9_600)]
            index += 1
        seed += 1
        block, _ = model.step(torch.cat(parts), model.start(CONVERSATION, seed), final=True)
        seconds += len(block) / FPS
        yield block


def blink_spans(block: MotionBlock) -> list[tuple[int, int]]:
    """First and end frame of each blink of the left eye."""
    shut = block.expression[:, EXPRESSION_INDEX["eyeBlink_L"]].numpy() > 0.05
    edges = np.flatnonzero(np.diff(np.concatenate([[0], shut.astype(int), [0]])))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def shifts_deg(block: MotionBlock) -> Array:
    """Amplitudes of gaze shifts; a shift over two frames counts once."""
    steps = np.linalg.norm(np.diff(block.gaze.double().numpy(), axis=0), axis=1)
    out, running = [], 0.0
    for step in [*steps, 0.0]:
        running += step
        if step <= 1e-6 and running > 0:
            out.append(running)
            running = 0.0
    return np.array([size for size in out if size >= SHIFT_DEG])


def head_windows(angles_deg: Array) -> dict[str, Array]:
    """[T, 3] degrees -> by name one number for each window of 3 s."""
    windows = [angles_deg[i : i + WINDOW] for i in range(0, len(angles_deg) - WINDOW + 1, WINDOW)]
    deviations = np.array([_filtered(window, "lowpass", SLOW_HZ).std(0) for window in windows])
    return {name: deviations[:, axis] for axis, name in enumerate(HEAD_AXES)} | {
        "head_speed": np.array([_speed(_filtered(window, "lowpass", SLOW_HZ)) for window in windows]),
        "head_speed_fast": np.array([_speed(_filtered(window, "bandpass", (SLOW_HZ, FAST_HZ))) for window in windows]),
    }


def _filtered(angles_deg: Array, kind: str, edges_hz: float | tuple[float, float]) -> Array:
    how = scipy.signal.butter(2, edges_hz, btype=kind, fs=FPS, output="sos")
    return np.asarray(scipy.signal.sosfiltfilt(how, angles_deg, axis=0))


def _speed(angles_deg: Array) -> float:
    return float(np.linalg.norm(np.diff(angles_deg, axis=0), axis=1).mean() * FPS)


def measure_naturalness(
    model: MotionModel, data: Path | None, plots: Path | None = None, minutes: float = 10.0
) -> Rows:
    """Rows `naturalness.*`; the head is compared only where GRID is. `plots` gets naturalness.svg."""
    blocks = list(performances(model, data / "speech" if data else None, minutes))
    eyes = _eyes(blocks)
    rows = {name: found.row() for name, found in eyes.items()} | {"blink_interval_skew": _skew(blocks)}
    made = [head_windows(block.pose[:, :3].double().numpy()) for block in blocks]
    rows |= {f"{name}_made": _mean_row([one[name] for one in made], unit) for name, unit in HEAD_UNITS.items()}
    head: dict[str, Compared] = {}
    if data is not None:
        clips = track_clips(model, data / "grid")
        head = compared_heads(clips)
        still = [head_windows(clip.still[:WINDOW]) for clip in clips]
        rows |= {name: found.row() for name, found in head.items()}
        rows |= {f"{name}_still": _mean_row([one[name] for one in still], unit) for name, unit in HEAD_UNITS.items()}
    if plots:
        plot_side_by_side(eyes | head, plots / "naturalness.svg")
    return {f"naturalness.{key}": row for key, row in rows.items()}


def compared_heads(clips: list[TrackedClip]) -> dict[str, Compared]:
    """By statistic: ours and the talkers', both tracked; a clip of GRID lasts one window."""
    ours = [head_windows(clip.ours[:WINDOW]) for clip in clips]
    talkers = [head_windows(clip.talker[:WINDOW]) for clip in clips]
    return {
        name: Compared([one[name] for one in ours], unit, np.concatenate([t[name] for t in talkers]), "GRID talkers")
        for name, unit in HEAD_UNITS.items()
    }


def _mean_row(groups: list[Array], unit: str) -> Row:
    mean, interval = mean_interval(groups)
    return {"value": mean, "unit": unit, "n": sum(len(group) for group in groups), "ci95": interval}


@dataclass(frozen=True, eq=False)
class Compared:
    """A statistic of the model, by performance, and the human one: values of talkers, or the ends of a range."""

    made: list[Array]
    unit: str
    human: Array
    whose: str = "human"

    def row(self) -> Row:
        mean, interval = mean_interval(self.made)
        values = np.concatenate(self.made)
        spread = f"5 to 95 %: {np.percentile(values, 5):.2g} to {np.percentile(values, 95):.2g}"
        low, high = float(self.human.min()), float(self.human.max())
        return {
            "value": mean,
            "unit": f"{self.unit} ({spread}; {self.whose}: {low:.2g} to {high:.2g})",
            "n": len(values),
            "ci95": interval,
            "range": [low, high],
        }


def plot_side_by_side(statistics: dict[str, Compared], path: Path) -> None:
    """Distributions of the model over the human ranges; talkers as marks."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    path.parent.mkdir(parents=True, exist_ok=True)
    mpl.rcParams["svg.hashsalt"] = "naturalness"  # equal figures give equal files
    figure, cells = plt.subplots(3, 3, figsize=(11, 7))
    for cell, (name, found) in zip(cells.flat, statistics.items(), strict=False):
        cell.hist(np.concatenate(found.made), bins=24, density=True, color="#4878a8")
        cell.axvspan(found.human.min(), found.human.max(), color="#e0a030", alpha=0.3, label=found.whose)
        if found.whose != "human":
            cell.plot(found.human, np.zeros(len(found.human)), "|", color="#a05000", ms=14, mew=2)
        cell.set_title(f"{name.replace('_', ' ')}, {found.unit}", fontsize=9)
        cell.set_yticks([])
        cell.legend(fontsize=7)
    for cell in list(cells.flat)[len(statistics) :]:
        cell.set_visible(False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def _eyes(blocks: list[MotionBlock]) -> dict[str, Compared]:
    spans = [blink_spans(block) for block in blocks]
    minutes = [len(block) / FPS / 60 for block in blocks]
    rates = [np.array([len(s) / m]) for s, m in zip(spans, minutes, strict=True)]
    lengths = [np.array([(b - a) / FPS for a, b in s]) for s in spans if s]
    sizes = [shifts_deg(block) for block in blocks]
    per_second = [np.array([len(size) / m / 60]) for size, m in zip(sizes, minutes, strict=True)]
    return {
        "blink_rate": Compared(rates, "a minute", np.array([10.5, 32.5])),
        "blink_duration": Compared(lengths, "s", np.array([0.1, 0.4])),
        "saccade_rate": Compared(per_second, "a second", np.array([0.3, 3.0])),
        "saccade_amplitude": Compared([s for s in sizes if len(s)], "degrees", np.array([0.0, 15.0])),
    }


def _skew(blocks: list[MotionBlock]) -> Row:
    gaps = np.array([(b[0] - a[0]) / FPS for block in blocks for a, b in pairwise(blink_spans(block))])
    return {"value": float(gaps.mean() / np.median(gaps)), "unit": "mean over median (human: above 1)", "n": len(gaps)}
