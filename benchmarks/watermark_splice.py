"""How well the seconds are found that carry a mark: a marked stretch inside an unmarked clip, and the reverse.

    python -m benchmarks.watermark_splice --work WORK [--clips 10] [--dry]

Four seconds of another clip replace four seconds of a clip, at another place each time; then H.264 at CRF 23. The
score is intersection over union of the seconds that are marked and the seconds that are said to be; a mark that is not
read scores 0. `border_s` is how far the said borders lie from the true ones. WORK is the folder of
benchmarks.watermark_material.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from tqdm import tqdm

from benchmarks.interval import mean_interval
from benchmarks.results_page import Rows, number, write_results
from benchmarks.watermark import KEY, blocks_of, load, marked, payload_of, stream_of
from benchmarks.watermark_attacks import SAVED
from benchmarks.watermark_material import FPS, clips_below
from watermark import detect_video, locate_mark

COMMAND = "python -m benchmarks.watermark_splice --work FOLDER"
INSERTED_S = 4
SHORTEST_BORDER_S = 0.3  # a border nearer to the clip's ends is its end

Spans = Sequence[tuple[float, float]]


def overlap(one: Spans, other: Spans, length_s: float) -> float:
    """Intersection over union of two sets of seconds, in hundredths."""
    grid = (np.arange(round(length_s * 100)) + 0.5) / 100
    a, b = (np.any([(grid >= s) & (grid < e) for s, e in spans] or [grid < 0], axis=0) for spans in (one, other))
    return float((a & b).sum() / max(1, (a | b).sum()))


def spliced(clip: Path, other: Path, start: int, *, mark_inside: bool) -> tuple[Spans, Spans, float]:
    """True spans, said spans, and the length in seconds."""
    frames, inserted = load(clip), load(other)
    stop = start + INSERTED_S * int(FPS)
    payload = payload_of(clip.name)
    if mark_inside:
        inserted = marked(inserted, payload)
    else:
        frames = marked(frames, payload)
    mixed = torch.cat([frames[:start], inserted[start:stop], frames[stop:]])
    length_s, first_s, last_s = (float(Fraction(n) / FPS) for n in (len(mixed), start, stop))
    truth = [(first_s, last_s)] if mark_inside else [(0.0, first_s), (last_s, length_s)]
    received = list(SAVED(stream_of(mixed)))
    detection = detect_video(blocks_of(iter(received)), [KEY])
    if detection.payload != payload:
        return truth, [], length_s
    spans = [(s.start_s, min(s.end_s, length_s)) for s in locate_mark(blocks_of(iter(received)), detection, [KEY])]
    return truth, spans, length_s


def border_errors(truth: Spans, said: Spans, length_s: float) -> list[float]:
    """How far each true border inside the clip lies from the nearest one that is said."""
    inner = [t for span in truth for t in span if SHORTEST_BORDER_S < t < length_s - SHORTEST_BORDER_S]
    told = [t for span in said for t in span]
    return [min(abs(t - u) for u in told) for t in inner] if told else []


def measure(clips: Sequence[Path], count: int) -> Rows:
    targets = [clips[k * len(clips) // count] for k in range(min(count, len(clips)))]
    random = np.random.default_rng(0)
    scores: dict[str, list[float]] = {"inside": [], "around": []}
    errors: list[float] = []
    for index, clip in enumerate(tqdm(targets, disable=not sys.stderr.isatty())):
        other, start = targets[index - 1], int(random.integers(40, 100))
        for name, inside in (("inside", True), ("around", False)):
            truth, said, length_s = spliced(clip, other, start, mark_inside=inside)
            scores[name].append(overlap(truth, said, length_s))
            errors += border_errors(truth, said, length_s)
    every = np.array(scores["inside"] + scores["around"])
    mean, interval = mean_interval([every[i : i + 1] for i in range(len(every))])
    rows: Rows = {"splice_iou": _row(mean, "intersection over union of seconds", len(every)) | {"ci95": interval}}
    for name, values in scores.items():
        rows[f"splice_iou.{name}"] = _row(float(np.mean(values)), f"mark {name} the splice", len(values))
    if errors:
        rows["splice_border_s"] = _row(float(np.median(errors)), "s, median", len(errors))
        rows["splice_border_s_worst"] = _row(max(errors), "s", len(errors))
    return rows


def _row(value: float, unit: str, n: int) -> dict[str, Any]:
    return {"value": value, "unit": unit, "n": n, "command": COMMAND}


@click.command(help=__doc__)
@click.option("--work", required=True, type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--clips", "count", default=10, show_default=True)
@click.option("--dry", is_flag=True, help="Print the rows and write no result file.")
def main(work: Path, count: int, dry: bool) -> None:
    rows = measure(clips_below(work / "clips"), count)
    for key, row in rows.items():
        click.echo(f"{key:28s} {number(row['value']):>8s} {row['unit']} n={row['n']}")
    if not dry:
        write_results("watermark", rows)


if __name__ == "__main__":
    main()
