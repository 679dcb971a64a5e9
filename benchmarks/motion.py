"""The motion model: lips on real speech, languages, naturalness, controls on rendered frames, equal bits, speed.

    python -m benchmarks.motion --data FOLDER [--only lips]     writes benchmarks/results/motion.json
    python -m benchmarks.motion --data FOLDER --lips runs/lips/folds --only lips --dry-run
    python -m benchmarks.motion --clip OUT.mp4                  the demo speaks, beside a mouth driven by loudness

FOLDER holds `grid/` (clips, tracks, phones), `speech/` (LJSpeech sentences) and `portraits/`; none of it ships here. A
part without its data is left out. What the figures mean stands in the modules of the parts: `motion_lips`,
`motion_languages` (needs espeak-ng), `motion_naturalness`, `motion_controls`. `--lips` takes another folder of
`generator.training.fit_lip_opening`, with its encoder, than `benchmarks/lip_folds`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import click
import numpy as np
import torch
from safetensors.torch import load_file

from benchmarks.motion_controls import measure_controls
from benchmarks.motion_languages import measure_languages
from benchmarks.motion_lips import FOLDS, measure_lips
from benchmarks.motion_naturalness import DEMO_VOICE, measure_naturalness
from benchmarks.motion_side_by_side import write_side_by_side
from benchmarks.results_page import Rows, commit, number, write_results
from benchmarks.shipped_weights import shipped
from generator import Controls
from generator.audio_features import UNIT
from generator.motion import MotionModel
from generator.motion_block import MotionBlock
from generator.motion_transformer import BLOCK
from media import load_audio

COMMAND = "python -m benchmarks.motion --data FOLDER"


def load_model(checkpoint: Path | None, lips: Path | None = None) -> MotionModel:
    """The shipped one, or with the motion of `<path>.safetensors` and `.json`, or the lips of a folder."""
    tensors, config = shipped("motion")
    if checkpoint is not None:
        shipped_lips = {name: tensor for name, tensor in tensors.items() if name.startswith("lips.")}
        tensors = shipped_lips | load_file(str(checkpoint.with_suffix(".safetensors")))
        config = json.loads(checkpoint.with_suffix(".json").read_text(encoding="utf-8"))
    if lips is not None:
        tensors |= {f"lips.{name}": tensor for name, tensor in load_file(str(lips / "all.safetensors")).items()}
    return MotionModel.from_tensors(tensors, config)


def measure_bits(model: MotionModel) -> Rows:
    """The demo voice twice with one seed, whole and in chunks of 37 ms."""
    sound = load_audio(DEMO_VOICE, max_s=60.0)
    whole, _ = model.step(sound, model.start(Controls(emotion="happy"), 4), final=True)
    state, blocks = model.start(Controls(emotion="happy"), 4), []
    chunks = sound.split(592)
    for index, chunk in enumerate(chunks):
        block, state = model.step(chunk, state, final=index == len(chunks) - 1)
        blocks.append(block)
    cut = MotionBlock.join(blocks)
    pairs = zip((whole.pose, whole.expression, whole.gaze), (cut.pose, cut.expression, cut.gaze), strict=True)
    worst = max(float((a - b).abs().max()) for a, b in pairs)
    return {"rerun_max_abs_diff": {"value": worst, "unit": "any number of the motion", "n": len(whole)}}


def measure_speed(model: MotionModel, seconds: int = 20) -> Rows:
    """One thread, live chunks of 40 ms of noise, after warming up; times of a block of frames, per frame."""
    rng = np.random.default_rng(3)
    sound = torch.from_numpy((rng.normal(size=seconds * 16_000) * 0.1).astype(np.float32))
    state, took, busy = model.start(Controls(), 1), [], []
    for chunk in sound.split(UNIT):
        begin, busy_before = time.perf_counter(), time.thread_time()
        _, state = model.step(chunk, state)
        took.append((time.perf_counter() - begin) * 1e3)
        busy.append((time.thread_time() - busy_before) * 1e3)
    frame_ms, cpu_ms = (np.reshape(times[7 * BLOCK :], (-1, BLOCK)).mean(1) for times in (took, busy))
    common = {"n": len(frame_ms)}
    return {
        "frame_ms": {"value": float(np.median(frame_ms)), "unit": "ms per frame, one thread, median", **common},
        "frame_cpu_ms": {"value": float(np.median(cpu_ms)), "unit": "ms of one core per frame, median", **common},
        "frame_ms_p95": {"value": float(np.percentile(frame_ms, 95)), "unit": "ms per frame, one thread", **common},
        "real_time_factor": {"value": float(frame_ms.mean()) / 40, "unit": "of real time, one thread", **common},
    }


def parts(
    model: MotionModel, data: Path | None, lips: Path | None, plots: Path | None, portraits: int
) -> Mapping[str, Callable[[], Rows]]:
    """Name -> what measures its rows; those without their data are left out."""
    known: dict[str, Callable[[], Rows]] = {
        "languages": lambda: measure_languages(model),
        "naturalness": lambda: measure_naturalness(model, data, plots),
        "controls": lambda: measure_controls(model, data / "portraits" if data else None, portraits),
        "bits": lambda: measure_bits(model),
        "speed": lambda: measure_speed(model),
    }
    if data is not None:
        known = {"lips": lambda: measure_lips(model, data, lips or FOLDS, plots), **known}
    return known


@click.command(help=__doc__)
@click.option("--data", type=click.Path(path_type=Path, exists=True), envvar="VASARI_DATA")
@click.option("--checkpoint", type=click.Path(path_type=Path), help="Path of the pair of files without their ending.")
@click.option("--lips", type=click.Path(path_type=Path, exists=True), help="Folder of other lips and their folds.")
@click.option("--plots", type=click.Path(path_type=Path), help="Folder for pictures of lip gaps and distributions.")
@click.option("--portraits", default=3, show_default=True, help="Held-out portraits for the controls.")
@click.option("--only", multiple=True, help="Measure these parts only.")
@click.option("--clip", type=click.Path(path_type=Path), help="Write a comparison clip and measure nothing.")
@click.option("--dry-run", is_flag=True, help="Print, but write no results.")
def main(
    data: Path | None, checkpoint: Path | None, lips: Path | None, plots: Path | None, portraits: int,
    only: tuple[str, ...], clip: Path | None, dry_run: bool,
) -> None:  # fmt: skip
    torch.set_num_threads(1)
    commit()  # results don't change the commit that they belong to
    model = load_model(checkpoint, lips)
    if clip:
        write_side_by_side(model, load_audio(DEMO_VOICE, max_s=60.0), clip)
        return
    of_parts = parts(model, data, lips, plots, portraits)
    unknown = set(only) - set(of_parts)
    if unknown:
        raise click.BadParameter(f"can't measure {', '.join(sorted(unknown))} here; there are {', '.join(of_parts)}")
    for name, measure_part in of_parts.items():
        if only and name not in only:
            continue
        rows = {key: {**row, "command": COMMAND} for key, row in measure_part().items()}
        if not dry_run:
            write_results("motion", rows)
        for key, row in rows.items():
            interval = " ({:.3f} to {:.3f})".format(*row["ci95"]) if row.get("ci95") else ""
            click.echo(f"{key:44s} {number(row['value']):>10s}{interval} {row['unit']}, n = {row['n']}")


if __name__ == "__main__":
    main()
