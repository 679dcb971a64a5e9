"""Head motion, blinks and gaze shifts of the model beside published or tracked human ranges.

The model plays 10 minutes of sound: LJSpeech sentences with pauses where the data is there, else the demo voice, over
and over with new seeds. Each statistic has a row `naturalness.<id>` with the human range and its source in the unit.

blink_rate            per minute in conversation, 10.5 to 32.5 (Doughty, Optometry and Vision Science 78, 2001)
blink_duration        seconds from open to open again, 0.1 to 0.4 (Stern, Walrath and Goldstein 1984; Schiffman 2001)
blink_interval_skew   mean over median of the intervals, above 1 (Bentivoglio et al. 1997: skewed to the right)
saccade_rate          gaze shifts per second, 0.3 to 3 (Lee, Badler and Badler 2002; Rayner 1998: fixations of a scene
                      last 0.33 s, towards a partner over a second)
saccade_amplitude     degrees, mean below 15: 86 % of natural saccades are smaller (Bahill, Adler and Stark 1975)
head_*_deg            deviation over 3 s of speech, against the talkers of GRID: their smallest to largest
head_speed            mean turn in degrees a second, against the same talkers
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from scipy.spatial.transform import Rotation

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


def head_windows(angles_deg: Array) -> tuple[Array, Array]:
    """[T, 3] -> deviations [windows, 3] of 3 s each, and mean speeds [windows] in degrees a second."""
    windows = [angles_deg[i : i + WINDOW] for i in range(0, len(angles_deg) - WINDOW + 1, WINDOW)]
    speeds = [np.linalg.norm(np.diff(w, axis=0), axis=1).mean() * FPS for w in windows]
    return np.array([w.std(0) for w in windows]), np.array(speeds)


def tracked_talkers(grid: Path) -> tuple[Array, Array]:
    """The same of GRID's clips, smoothed over three frames against the tracker's jitter: [clips, 3], [clips]."""
    deviations, speeds = [], []
    for path in sorted(grid.glob("*_motion.npz")):
        turns = Rotation.from_rotvec(np.load(path)["rotvec"]).as_euler("YXZ", degrees=True)
        smooth = np.stack([np.convolve(axis, np.ones(3) / 3, "valid") for axis in turns.T], 1)
        deviations.append(smooth.std(0))
        speeds.append(np.linalg.norm(np.diff(smooth, axis=0), axis=1).mean() * FPS)
    return np.array(deviations), np.array(speeds)


def measure_naturalness(model: MotionModel, data: Path | None, minutes: float = 10.0) -> Rows:
    """Rows `naturalness.*`; the head is compared only where GRID is."""
    blocks = list(performances(model, data / "speech" if data else None, minutes))
    rows = _eyes(blocks)
    found = [head_windows(block.pose[:, :3].double().numpy()) for block in blocks]
    if data is not None:
        real_deviation, real_speed = tracked_talkers(data / "grid")
        for axis, name in enumerate(("yaw", "pitch", "roll")):
            rows[f"head_{name}_deg"] = _row([d[:, axis] for d, _ in found], "degrees over 3 s", real_deviation[:, axis])
        rows["head_speed"] = _row([s for _, s in found], "degrees a second", real_speed)
    return {f"naturalness.{key}": row for key, row in rows.items()}


def _eyes(blocks: list[MotionBlock]) -> Rows:
    spans = [blink_spans(block) for block in blocks]
    minutes = [len(block) / FPS / 60 for block in blocks]
    rates = [np.array([len(s) / m]) for s, m in zip(spans, minutes, strict=True)]
    lengths = [np.array([(b - a) / FPS for a, b in s]) for s in spans if s]
    gaps = np.array([(b[0] - a[0]) / FPS for s in spans for a, b in pairwise(s)])
    sizes = [shifts_deg(block) for block in blocks]
    per_second = [np.array([len(size) / m / 60]) for size, m in zip(sizes, minutes, strict=True)]
    return {
        "blink_rate": _row(rates, "a minute", np.array([10.5, 32.5]), "human"),
        "blink_duration": _row(lengths, "s", np.array([0.1, 0.4]), "human"),
        "blink_interval_skew": {
            "value": float(gaps.mean() / np.median(gaps)), "unit": "mean over median (human: above 1)", "n": len(gaps),
        },
        "saccade_rate": _row(per_second, "a second", np.array([0.3, 3.0]), "human"),
        "saccade_amplitude": _row([s for s in sizes if len(s)], "degrees", np.array([0.0, 15.0]), "human"),
    }  # fmt: skip


def _row(groups: list[Array], unit: str, real: Array, whose: str = "GRID talkers") -> Row:
    mean, interval = mean_interval(groups)
    values = np.concatenate(groups)
    spread = f"5 to 95 %: {np.percentile(values, 5):.2g} to {np.percentile(values, 95):.2g}"
    return {
        "value": mean,
        "unit": f"{unit} ({spread}; {whose}: {real.min():.2g} to {real.max():.2g})",
        "n": len(values),
        "ci95": interval,
        "range": [float(real.min()), float(real.max())],
    }
