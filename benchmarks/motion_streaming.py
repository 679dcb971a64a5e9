"""How soon, how fast and how steadily the generator speaks, with the shipped weights, portrait and voice.

    python -m benchmarks.motion_streaming                    all parts, some 30 minutes on two cores
    python -m benchmarks.motion_streaming --only latency     or speed, hour, gpu

latency: weights open and portrait encoded, as in a running stream; from the arrival of the sound that the first frame
    needs (the look-ahead of 280 ms, stated beside it) to that frame rendered and marked, on two threads.
gpu: the same on a GPU; without one nothing is written and the page says "not measured".
speed: request to signed clip of ten seconds, warm, as `benchmarks.pipeline` does it, three times.
hour: an hour of sound through the motion model, in a process of its own; the first and the last minute are also
    rendered, marked and encoded. The minutes between are motion alone. The voice repeats in whole frames, so that
    equal sound can be compared at both ends.
"""

from __future__ import annotations

import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from importlib.resources import files
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from torch import Tensor

from benchmarks.interval import mean_interval
from benchmarks.pipeline import SHORT_JOB_S
from benchmarks.pipeline import _job as pipeline_job
from benchmarks.results_page import write_results
from generator import AUDIO_RATE, FPS, Controls, Generator, MotionBlock
from generator.motion import LOOK_AHEAD_S
from generator.motion_plot import lip_opening_cm
from generator.motion_transformer import BLOCK
from media import ClipWriter, load_audio, read_portrait
from policy.seal import open_sealed
from policy.state_folder import SHIPPED_RELEASE_KEY, SHIPPED_WEIGHTS, read_release_key
from watermark import MarkKey, Payload, VideoEmbedder

ROOT = Path(__file__).resolve().parents[1]
Rows = dict[str, dict[str, Any]]
COMMAND = "python -m benchmarks.motion_streaming --only"
STARTS = 20
MINUTE_FRAMES = 60 * FPS
POSE_RATIO = 1.5  # of the middle 90 % of yaw, pitch and roll; a minute of sway varies by some 15 %
SYNC_FRAMES = 1
SAME_FACE_DB = 30.0


def demo_generator(device: str) -> tuple[Generator, Any, Tensor]:
    """The shipped generator, the demo's face, and the demo's voice in whole frames."""
    opened = open_sealed(SHIPPED_WEIGHTS, read_release_key(SHIPPED_RELEASE_KEY))
    generator = Generator.from_tensors(opened.tensors, opened.config, device=device)
    demo = files("vasari") / "demo"
    face = generator.encode(read_portrait((demo / "portrait.png").read_bytes(), min_px=1, max_px=8192))
    voice = load_audio(demo / "voice.flac", sample_rate=AUDIO_RATE, max_s=60)
    unit = AUDIO_RATE // FPS
    return generator, face, voice[: len(voice) // unit * unit]


def measure_latency(device: str = "cpu") -> Rows:
    """Rows of the first frame, in milliseconds."""
    generator, face, voice = demo_generator(device)
    needed = round(LOOK_AHEAD_S * AUDIO_RATE)
    took = []
    for attempt in range(STARTS + 3):
        sound = voice[attempt * 4000 : attempt * 4000 + needed]
        state = generator.start(controls=Controls(), seed=attempt)
        marker = VideoEmbedder(
            MarkKey.generate(), Payload(attempt), width=generator.size_px, height=generator.size_px, fps=Fraction(FPS)
        )
        for piece in sound[: -AUDIO_RATE // FPS].split(AUDIO_RATE // FPS):  # what came before
            _, state = generator.motion(piece, state)
        begin = time.perf_counter()
        block, _ = generator.motion(sound[-AUDIO_RATE // FPS :], state)
        frame = marker.push(generator.render(face, block[:1]))  # motion comes in blocks; the first frame of one
        assert len(frame) == 1
        frame.cpu()
        took.append((time.perf_counter() - begin) * 1e3)
    warm = took[3:]
    mean_ms, ci95 = mean_interval([np.array([one]) for one in warm])
    name = "first_frame_ms_gpu" if device == "cuda" else "first_frame_ms_cpu"
    part = "gpu" if device == "cuda" else "latency"
    look_ahead = {"value": LOOK_AHEAD_S * 1e3, "unit": "ms of sound before a frame is due", "n": 1}
    return {
        name: {
            "value": mean_ms,
            "unit": "ms, sound there to frame marked, look-ahead not counted",
            "n": len(warm),
            "ci95": ci95,
            "command": f"{COMMAND} {part}",
        },
        "look_ahead_ms": look_ahead | {"command": f"{COMMAND} {part}"},
    }


def measure_gpu() -> Rows:
    """The latency on a GPU, or no row at all."""
    return measure_latency("cuda") if torch.cuda.is_available() else {}


def measure_speed() -> Rows:
    """Frames a second from request to signed clip: the middle one of three jobs, and the others as its range."""
    jobs = [pipeline_job(SHORT_JOB_S) for _ in range(3)]
    slowest, middle, fastest = sorted(job["frames"] / job["warm_s"] for job in jobs)
    unit = f"frames/s, middle of three jobs ({slowest:.1f} to {fastest:.1f})"
    row = {"value": middle, "unit": unit, "n": sum(job["frames"] for job in jobs)}
    return {"cpu_fps_end_to_end": row | {"command": f"{COMMAND} speed"}}


def measure_hour(minutes: int = 60) -> Rows:
    """Memory and drift over an hour, from a process of its own."""
    command = [sys.executable, "-m", "benchmarks.motion_streaming", "--hour-job", str(minutes)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    units = {
        "hour_peak_rss_mb": "MB, peak of the process",
        "hour_rss_growth_mb": "MB, peak after the last over peak after the first minute",
        "hour_drift": "of identity, pose range and sync: how many differ between first and last minute",
        "hour_drift_identity_db": "dB, mean picture of the last minute against the first",
        "hour_drift_pose_ratio": "largest ratio of the middle 90 % of yaw, pitch or roll, either way",
        "hour_drift_sync_frames": "frames between the lips of the last and the first minute at equal sound",
    }
    return {
        name: {"value": found[name], "unit": unit, "n": minutes * MINUTE_FRAMES, "command": f"{COMMAND} hour"}
        for name, unit in units.items()
    }


def run_hour(minutes: int) -> dict[str, float]:
    """The job itself."""
    torch.set_num_threads(1)
    generator, face, voice = demo_generator("cpu")
    unit = AUDIO_RATE // FPS
    cycle = len(voice) // unit
    frames = minutes * MINUTE_FRAMES
    later = last_minute(frames, cycle)
    state = generator.start(controls=Controls(), seed=11)
    ends: dict[int, list[MotionBlock]] = {0: [], later: []}
    pictures: dict[int, Tensor] = {}
    peaks: dict[int, float] = {}
    made = heard = 0
    while made < later + MINUTE_FRAMES:
        start = heard % cycle * unit
        block, state = generator.motion(voice[start : start + unit], state)
        heard += 1
        for first, kept in ends.items():
            if len(block) and first <= made < first + MINUTE_FRAMES:
                kept.append(block)
        made += len(block)
        for first in (0, later):
            if made == first + MINUTE_FRAMES and first not in pictures:
                pictures[first] = _mean_picture(generator, face, MotionBlock.join(ends[first]))
                peaks[first] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    one, other = (MotionBlock.join(ends[first]) for first in (0, later))
    return _drift(one, other, pictures[0], pictures[later]) | {
        "hour_peak_rss_mb": peaks[later],
        "hour_rss_growth_mb": peaks[later] - peaks[0],
    }


def last_minute(frames: int, cycle: int) -> int:
    """The first frame of the last whole minute that begins with a block and, as the first one, with the voice."""
    return (frames - MINUTE_FRAMES) // math.lcm(cycle, BLOCK) * math.lcm(cycle, BLOCK)


def _mean_picture(generator: Generator, face: Any, block: MotionBlock) -> Tensor:
    """Render, mark and encode a minute; the mean of its frames, float [3, H, W]."""
    size, total = generator.size_px, torch.zeros(3, generator.size_px, generator.size_px)
    marker = VideoEmbedder(MarkKey.generate(), Payload(1), width=size, height=size, fps=Fraction(FPS))
    with (
        tempfile.TemporaryFile("w+b") as sink,
        ClipWriter(sink, width=size, height=size, fps=Fraction(FPS), sample_rate=None, fragmented=True) as writer,
    ):
        for start in range(0, len(block), 4):
            frames = generator.render(face, block[start : start + 4])
            total += frames.float().sum(0)
            writer.write_frames(marker.push(frames))
    return total / len(block)


def _drift(one: MotionBlock, other: MotionBlock, first: Tensor, last: Tensor) -> dict[str, float]:
    """What differs between two minutes of equal sound."""
    spread = [np.subtract(*np.percentile(block.pose[:, :3].numpy(), (95, 5), axis=0)) for block in (one, other)]
    ratio = float(np.max(np.maximum(spread[0] / spread[1], spread[1] / spread[0])))
    error = float((first - last).square().mean())
    identity_db = 10 * float(np.log10(255**2 / max(error, 1e-9)))
    lips = [lip_opening_cm(block).numpy() for block in (one, other)]
    lags = range(-10, 11)
    fits = [float(np.corrcoef(lips[0][10:-10], np.roll(lips[1], lag)[10:-10])[0, 1]) for lag in lags]
    sync = abs(lags[int(np.argmax(fits))])
    differ = (ratio > POSE_RATIO) + (identity_db < SAME_FACE_DB) + (sync > SYNC_FRAMES)
    return {
        "hour_drift": float(differ),
        "hour_drift_identity_db": identity_db,
        "hour_drift_pose_ratio": ratio,
        "hour_drift_sync_frames": float(sync),
    }


PARTS: dict[str, Callable[[], Rows]] = {
    "latency": measure_latency,
    "gpu": measure_gpu,
    "speed": measure_speed,
    "hour": measure_hour,
}


@click.command(help=__doc__)
@click.option("--only", type=click.Choice(list(PARTS)), multiple=True, help="Parts to measure; all by default.")
@click.option("--hour-job", type=click.IntRange(3, 600), help="Run the hour's job, of so many minutes; print JSON.")
def main(only: tuple[str, ...], hour_job: int | None) -> None:
    if hour_job:
        click.echo(json.dumps(run_hour(hour_job)))
        return
    for part in only or PARTS:
        rows = PARTS[part]()
        for name, row in rows.items():
            click.echo(f"{name:28} {row['value']:.4g} {row['unit']}")
        if rows:
            write_results("motion", rows)


if __name__ == "__main__":
    main()
