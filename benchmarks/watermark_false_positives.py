"""Looks for marks where there are none, a million times, and compares the detector's statistic with its theory.

    python -m benchmarks.watermark_false_positives --work WORK [--jobs 2] [--windows 1000000] [--dry]

A window is what the detector judges at once: one stretch of picture, one key, one place of the lattice, one time phase.
Half of the stretches carry no mark, half carry the mark of another key than the ones tried; all went through H.264 at
CRF 23. The bound itself needs no measurement: `Detection.log10_false_positive` is proven (watermark/README.md). What is
measured is that the program keeps to it, and that the pilot, on all 16,384 places of the lattice, is by chance as
strong as its theory says (`tail_theory`) and not stronger. Both go to WORK/pilot_null.json for the plot.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from benchmarks.interval import share_interval
from benchmarks.results_page import Rows, number, replace_text, write_results
from benchmarks.watermark import KEY, blocks_of, load, marked, payload_of, stream_of
from benchmarks.watermark_attacks import SAVED
from benchmarks.watermark_material import FPS, clips_below
from watermark import MarkKey
from watermark.code import CODED_BITS, encode
from watermark.detection import TagCheck
from watermark.frame_window import FrameWindow
from watermark.payload import TAG_BITS, pack
from watermark.pose_search import Pose, fold, identity_pose, on_lattice, pilot_wave
from watermark.video_detector import demodulate, soft_words
from watermark.video_pattern import SEGMENTS, VideoPattern

COMMAND = "python -m benchmarks.watermark_false_positives --work FOLDER"
STRETCH_S = 3
PHASES = 2 * SEGMENTS  # soft words that `soft_words` judges per stretch, key and place
EDGES = np.arange(0, 8.01, 0.1)


@dataclass(frozen=True)
class Stretch:
    """Three seconds of a received clip on the lattice. `coded` is what its mark says (-1, 1), None without a mark."""

    slots: Tensor
    cells: Tensor
    wave: Tensor
    wave_cells: Tensor
    coded: Tensor | None


@dataclass
class Tally:
    """What a process saw."""

    windows: int = 0
    tags: int = 0
    found: int = 0
    found_by_wrong_key: int = 0
    wrong_key_windows: int = 0
    histogram: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(EDGES) - 1, np.int64))
    theory: NDArray[np.float64] = field(default_factory=lambda: np.zeros(len(EDGES) - 1))
    right_bits: int = 0
    bits: int = 0


def stretches_of(path: Path) -> list[Stretch]:
    """All stretches of a clip, without a mark and with one."""
    frames = load(path)
    payload = payload_of(path.name)
    coded = torch.from_numpy(encode(pack(payload, KEY))).float() * 2 - 1
    length = int(STRETCH_S * FPS)
    out = []
    for start in range(0, len(frames) - length + 1, length):
        part = frames[start : start + length]
        for received, code in ((part, None), (marked(part, payload), coded)):
            window = FrameWindow()
            for block in blocks_of(SAVED(stream_of(received))):
                window.push(block.frames, block.times)
            slots, pictures = window.pictures()
            wave = pilot_wave(slots, pictures)
            top, left, wave_cells = on_lattice(wave, Pose())
            out.append(Stretch(slots, on_lattice(pictures, Pose())[2], wave, fold(wave_cells, top, left), code))
    return out


def pilot_strengths(wave_cells: Tensor, key: MarkKey) -> Tensor:
    """Pilot z [G, G] at every place of the lattice, in the detector's scale, of a wave [2, G, G]."""
    pilot = torch.fft.fft2(VideoPattern.of(key).pilot.to(torch.complex64))
    wave = torch.fft.fft2(torch.complex(wave_cells[0], wave_cells[1]))
    surface = torch.fft.ifft2(wave * pilot.conj())
    return surface.abs() / (float(wave_cells.square().sum()) / 2) ** 0.5


def word_at_start(stretch: Stretch, key: MarkKey) -> Tensor:
    """The soft word [512] that `key` reads at the true place and time, with no gate before it."""
    segments, values = demodulate(stretch.slots, stretch.cells, 0)
    folded = torch.zeros(SEGMENTS, *values.shape[1:]).index_add_(0, segments % SEGMENTS, values)
    shares = VideoPattern.of(key).correlate(fold(folded, 0, 0).flatten(1))
    every = torch.arange(SEGMENTS)
    return shares[every, :, every].sum(0)


def tail_theory(wave_cells: Tensor) -> NDArray[np.float64]:
    """P(z >= edge) for each of EDGES but the last, for random signs on this wave [2, G, G].

    The correlation is a sum of very many small independent terms, so its two components are normal, with the wave's
    own second moments, of shares a and b = 1 - a along their axes. In polar coordinates P is the mean over the angle
    of exp(-z^2 / (4 (a cos^2 + b sin^2))): exp(-z^2 / 2) where the two are equal.
    """
    moments = wave_cells.flatten(1) @ wave_cells.flatten(1).T
    shares = torch.linalg.eigvalsh(moments / moments.trace()).clamp(min=1e-6).double().numpy()
    angle = (np.arange(64) + 0.5) * np.pi / 64
    across = shares[0] * np.cos(angle) ** 2 + shares[1] * np.sin(angle) ** 2
    return np.asarray(np.exp(-(EDGES[:-1, None] ** 2) / (4 * across)).mean(1), np.float64)


def look(stretches: Sequence[Stretch], key: MarkKey, random: np.random.Generator, tally: Tally) -> None:
    """All stretches with one wrong key, each at the uncropped place or at another one."""
    check = TagCheck()
    for number_, stretch in enumerate(stretches):
        pose = identity_pose(stretch.wave, key)
        top, left = (0, 0) if number_ % 2 else map(int, random.integers(0, 128, 2))
        words = soft_words(stretch.slots, stretch.cells, top, left, pose.phase_slots, key)
        found = any(check.read(word, key) is not None for word in words)
        tally.windows += PHASES
        tally.found += found
        if stretch.coded is not None:
            tally.wrong_key_windows += PHASES
            tally.found_by_wrong_key += found
            if number_ % 8 == 1:
                tally.right_bits += int(((word_at_start(stretch, key) > 0) == (stretch.coded > 0)).sum())
                tally.bits += CODED_BITS
        strengths = pilot_strengths(stretch.wave_cells, key).numpy()
        tally.histogram += np.histogram(strengths.clip(0, EDGES[-1] - 1e-6), EDGES)[0]
        tally.theory += tail_theory(stretch.wave_cells) * strengths.size
    tally.tags += check.attempts


def _work(clips: Sequence[Path], keys: int, seed: int, results: Any) -> None:
    torch.set_num_threads(1)
    random, tally = np.random.default_rng(seed), Tally()
    stretches = []
    for path in clips:
        stretches += stretches_of(path)
        results.put(None)
    for _ in range(keys):
        look(stretches, MarkKey(random.bytes(32), KEY.key_id), random, tally)
        results.put(None)
    results.put(tally)


def measure(clips: Sequence[Path], windows: int, jobs: int) -> tuple[Rows, dict[str, list[float]]]:
    """The rows, and how often the pilot reached each of EDGES, beside what theory expects."""
    stretches = len(clips) * 2 * 3
    keys = -(-windows // (PHASES * stretches))  # all clips together see this many keys each
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    parts = [clips[k::jobs] for k in range(jobs)]
    workers = [context.Process(target=_work, args=(part, keys, k, results)) for k, part in enumerate(parts)]
    for worker in workers:
        worker.start()
    tallies: list[Tally] = []
    with tqdm(total=len(clips) + keys * jobs, disable=not sys.stderr.isatty()) as bar:
        while len(tallies) < jobs:
            came = results.get()
            bar.update() if came is None else tallies.append(came)
    for worker in workers:
        worker.join()
    null = {
        "edges": EDGES[:-1].tolist(),
        "above": sum(t.histogram for t in tallies)[::-1].cumsum()[::-1].tolist(),
        "expected": sum(t.theory for t in tallies).tolist(),
    }
    return rows_of(tallies, null), null


def rows_of(tallies: Sequence[Tally], null: Mapping[str, Sequence[float]]) -> Rows:
    def total(name: str) -> int:
        return sum(getattr(tally, name) for tally in tallies)

    edges, above, expected = (np.asarray(null[name]) for name in ("edges", "above", "expected"))
    tail = (above >= 100) & (edges >= 3)
    rows: Rows = {
        "fp_windows": _row(total("windows"), "windows", total("windows")),
        "fp_tags_compared": _row(total("tags"), "tags", total("tags")),
        "fp_found": _row(total("found"), "marks", total("windows")),
        "fp_expected_tags": _row(total("tags") * 2.0**-TAG_BITS, "marks, by theory", total("tags")),
        "pilot_tail_over_theory": _row(
            float((above[tail] / expected[tail]).max()) if tail.any() else 0.0, "worst ratio, z >= 3", int(above[0])
        ),
        "security.wrong_key_found": _row(total("found_by_wrong_key"), "marks", total("wrong_key_windows")),
    }
    rows["fp_found"]["ci95"] = [share * total("windows") for share in share_interval(total("found"), total("windows"))]
    if total("bits"):
        share = total("right_bits") / total("bits")
        rows["security.wrong_key_bits"] = _row(share, "share of bits, 0.5 is chance", total("bits"))
    return rows


def _row(value: float, unit: str, n: int) -> dict[str, Any]:
    return {"value": value, "unit": unit, "n": n, "command": COMMAND}


@click.command(help=__doc__)
@click.option("--work", required=True, type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--windows", default=1_000_000, show_default=True, help="Windows to look at, at least.")
@click.option("--clips", "count", default=20, show_default=True, help="Clips they are taken from.")
@click.option("--jobs", default=os.cpu_count() or 1, show_default=True)
@click.option("--dry", is_flag=True, help="Print the rows and write no result file.")
def main(work: Path, windows: int, count: int, jobs: int, dry: bool) -> None:
    known = clips_below(work / "clips")
    clips = [known[k * len(known) // count] for k in range(min(count, len(known)))]
    rows, null = measure(clips, windows, min(jobs, len(clips)))
    for key, one in rows.items():
        click.echo(f"{key:32s} {number(one['value']):>10s} {one['unit']:28s} n={one['n']}")
    replace_text(work / "pilot_null.json", json.dumps(null))
    if not dry:
        write_results("watermark", rows)


if __name__ == "__main__":
    main()
