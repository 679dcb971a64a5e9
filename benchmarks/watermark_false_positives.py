"""Looks for marks where there are none, a million times, and compares the detector's statistic with its theory.

    python -m benchmarks.watermark_false_positives --work WORK [--jobs 2] [--windows 1000000] [--dry]

A window is what the detector judges at once: one stretch of picture, one key, one place of the lattice, one time phase;
its soft code word is formed and weighed, and decoded when it weighs enough. Half of the stretches carry no mark, half
carry the mark of another key than the one tried; all went through H.264 at CRF 23. The bound itself needs no
measurement: `Detection.log10_false_positive` is proven. What is measured is that the program keeps to it, and that the
weight of the words is by chance what theory says: with secret random signs the 512 soft bits are sums of many small
independent terms, hence normal, and their energy is a chi-square of 512 degrees of freedom whatever the picture shows.
Both go to WORK/word_null.json for the plot.
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
from scipy.stats import chi2
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
from watermark.lattice import GRID, shrink_matrix
from watermark.payload import TAG_BITS, pack
from watermark.pose import fold
from watermark.soft_bits import WORTH_DECODING, demodulate
from watermark.video_pattern import SEGMENTS, VideoPattern

COMMAND = "python -m benchmarks.watermark_false_positives --work FOLDER"
STRETCH_S = 3
BORDERS = (0, 2)  # slots at which a segment may begin
PHASES = len(BORDERS) * SEGMENTS
EDGES = np.arange(-5.0, 10.01, 0.1)


@dataclass(frozen=True)
class Stretch:
    """Three seconds of a received clip on the lattice: chip values [borders, SEGMENTS, G, G].

    `coded` is what its mark says (-1, 1), None without a mark.
    """

    tori: Tensor
    coded: Tensor | None


@dataclass
class Tally:
    """What a process saw."""

    windows: int = 0
    tags: int = 0
    found: int = 0
    found_by_wrong_key: int = 0
    wrong_key_windows: int = 0
    right_bits: int = 0
    bits: int = 0
    histogram: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(EDGES) - 1, np.int64))


def stretches_of(path: Path) -> list[Stretch]:
    """All stretches of a clip, without a mark and with one."""
    frames = load(path)
    payload = payload_of(path.name)
    coded = torch.from_numpy(encode(pack(payload, KEY))).float() * 2 - 1
    length = int(STRETCH_S * FPS)
    out = []
    for start in range(0, len(frames) - length + 1, length):
        part = frames[start : start + length]
        out += [_stretch(part, None), _stretch(marked(part, payload), coded)]
    return out


def _stretch(frames: Tensor, coded: Tensor | None) -> Stretch:
    window = FrameWindow()
    for block in blocks_of(SAVED(stream_of(frames))):
        window.push(block.frames, block.times)
    slots, pictures = window.pictures()
    height, width = pictures.shape[1:]
    short = min(height, width)
    cells = shrink_matrix(height, short) @ pictures @ shrink_matrix(width, short).T
    tori = []
    for border in BORDERS:
        segments, values = demodulate(slots, cells, border)
        folded = torch.zeros(SEGMENTS, *values.shape[1:]).index_add_(0, segments % SEGMENTS, values)
        tori.append(fold(folded, 0, 0))
    return Stretch(torch.stack(tori), coded)


def words_of(torus: Tensor, key: MarkKey) -> Tensor:
    """The soft word of each segment that may come first, each bit of deviation 1 by chance: [SEGMENTS, 512]."""
    shares = VideoPattern.of(key).correlate(torus.flatten(1))  # [S, 512, T]
    every = torch.arange(SEGMENTS)
    first = (every[None] + every[:, None]) % SEGMENTS
    words = shares[first, :, every[None].expand(SEGMENTS, -1)].sum(1)
    return words / (float(torus.square().sum()) / CODED_BITS) ** 0.5


def look(stretches: Sequence[Stretch], key: MarkKey, random: np.random.Generator, tally: Tally) -> None:
    """All stretches with one wrong key, each at the uncropped place or at another one."""
    check = TagCheck()
    for index, stretch in enumerate(stretches):
        shift = (0, 0) if index % 4 < 2 else tuple(map(int, random.integers(0, GRID, 2)))
        for torus in torch.roll(stretch.tori, shift, (2, 3)):
            words = words_of(torus, key)
            excess = (words.square().sum(1) - CODED_BITS) / (2 * CODED_BITS) ** 0.5
            tally.histogram += np.histogram(excess.numpy().clip(EDGES[0], EDGES[-1] - 1e-6), EDGES)[0]
            worth = [words[s].double().numpy() for s in range(SEGMENTS) if excess[s] >= WORTH_DECODING]
            found = sum(check.read(word, key) is not None for word in worth)
            tally.windows += SEGMENTS
            tally.found += found
            if stretch.coded is not None:
                tally.wrong_key_windows += SEGMENTS
                tally.found_by_wrong_key += found
        if stretch.coded is not None and shift == (0, 0):
            right = (words_of(stretch.tori[0], key)[0] > 0) == (stretch.coded > 0)
            tally.right_bits += int(right.sum())
            tally.bits += CODED_BITS
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
    """The rows, and how often a word weighed at least each of EDGES, beside what theory expects."""
    stretches = len(clips) * 2 * 3
    keys = -(-windows // (PHASES * stretches))
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
            if came is None:
                bar.update()
            else:
                tallies.append(came)
    for worker in workers:
        worker.join()
    above = np.sum([tally.histogram for tally in tallies], axis=0)[::-1].cumsum()[::-1]
    theory = chi2.sf(CODED_BITS + EDGES[:-1] * (2 * CODED_BITS) ** 0.5, CODED_BITS)
    null = {"edges": EDGES[:-1].tolist(), "above": above.tolist(), "expected": (theory * above[0]).tolist()}
    return rows_of(tallies, null), null


def rows_of(tallies: Sequence[Tally], null: Mapping[str, Sequence[float]]) -> Rows:
    def total(name: str) -> int:
        return sum(getattr(tally, name) for tally in tallies)

    edges, above, expected = (np.asarray(null[name]) for name in ("edges", "above", "expected"))
    tail = (above >= 100) & (edges >= 2)
    worst = float((above[tail] / expected[tail]).max()) if tail.any() else 0.0
    rows: Rows = {
        "fp_windows": _row(total("windows"), "windows", total("windows")),
        "fp_tags_compared": _row(total("tags"), "tags", total("windows")),
        "fp_found": _row(total("found"), "marks", total("windows")),
        "fp_expected": _row(total("tags") * 2.0**-TAG_BITS, "marks, by theory", total("windows")),
        "word_tail_over_theory": _row(worst, "worst ratio beyond 2 deviations", int(above[0])),
        "security.wrong_key_found": _row(total("found_by_wrong_key"), "marks", total("wrong_key_windows")),
    }
    rows["fp_found"]["ci95"] = [share * total("windows") for share in share_interval(total("found"), total("windows"))]
    if total("bits"):
        share = total("right_bits") / total("bits")
        rows["security.wrong_key_bits"] = _row(share, "share of bits, chance is 0.5", total("bits"))
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
    clips = [known[k * len(known) // count] for k in range(count)] if count < len(known) else known
    rows, null = measure(clips, windows, min(jobs, len(clips)))
    for key, one in rows.items():
        click.echo(f"{key:32s} {number(one['value']):>10s} {one['unit']:28s} n={one['n']}")
    replace_text(work / "word_null.json", json.dumps(null))
    if not dry:
        write_results("watermark", rows)


if __name__ == "__main__":
    main()
