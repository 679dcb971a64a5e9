"""Draws the mark's figures: recovery along CRF, crop and angle, the statistics against theory, cost by resolution.

    python -m benchmarks.watermark_plots --work WORK [--clips 4] [--out docs]

Recovery is measured here, on a few clips and finer steps than the table's attacks; it goes to WORK/curves.json and a
stopped run goes on. The null statistic comes from WORK/word_null.json (benchmarks.watermark_false_positives), the
pilot's strengths from WORK/outcomes.jsonl (benchmarks.watermark), the cost from the result file. What is not there is
not drawn. The figures are SVG and show no pictures of anybody.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

from benchmarks.interval import share_interval
from benchmarks.results_page import ROOT, Rows, number, replace_text, write_results
from benchmarks.watermark import KEY, Outcome, load, look, mark_version, marked, payload_of, recorded, stream_of
from benchmarks.watermark_attacks import ATTACKS, CURVES
from benchmarks.watermark_material import clips_below

COMMAND = "python -m benchmarks.watermark_plots --work FOLDER"
AXES = {"crf": "H.264 CRF", "area_percent": "area left by a crop, %", "angle_deg": "turned by, degrees"}
SIZES = {"256": 256, "512": 512, "720p": 960, "1080p": 1440, "2160p": 2880}  # square root of the pixels

Curves = dict[str, dict[str, list[bool]]]


def measure_curves(work: Path, count: int) -> Curves:
    """For each parameter and value whether each clip was recovered; clips that are on record are not run again."""
    record = work / "curves.json"
    known: dict[str, bool] = json.loads(record.read_text(encoding="utf-8")) if record.exists() else {}
    every = clips_below(work / "clips")
    clips = [every[k * len(every) // count] for k in range(min(count, len(every)))]
    points = [(curve, attack) for curve, attacks in CURVES.items() for attack in attacks]
    for path in tqdm(clips, desc="curves", disable=not sys.stderr.isatty()):
        names = {f"{mark_version(attack)} {path.name}": attack for _, attack in points}
        if all(name in known for name in names):
            continue
        payload, with_mark = payload_of(path.name), marked(load(path), payload_of(path.name))
        for name, attack in names.items():
            if name not in known:
                known[name] = look(attack(stream_of(with_mark)), [KEY]).payload == payload
        replace_text(record, json.dumps(known, indent=1))
    return {
        curve: {attack.name: [known[f"{mark_version(attack)} {path.name}"] for path in clips] for attack in attacks}
        for curve, attacks in CURVES.items()
    }


def rows_of(curves: Curves) -> Rows:
    rows: Rows = {}
    for curve, points in curves.items():
        for value, hits in points.items():
            rows[f"curve.{curve}.{value}"] = {
                "value": sum(hits) / len(hits),
                "unit": "share",
                "n": len(hits),
                "ci95": share_interval(sum(hits), len(hits)),
                "command": COMMAND,
            }
    return rows


def draw_curves(curves: Curves, out: Path) -> None:
    figure, panels = _figure(len(curves))
    for panel, (curve, points) in zip(panels, curves.items(), strict=True):
        values = [float(value) for value in points]
        shares = [sum(hits) / len(hits) for hits in points.values()]
        intervals = [share_interval(sum(hits), len(hits)) for hits in points.values()]
        low, high = [one[0] for one in intervals], [one[1] for one in intervals]
        panel.fill_between(values, low, high, alpha=0.2, linewidth=0)
        panel.plot(values, shares, marker="o", markersize=3)
        panel.set(xlabel=AXES[curve], ylim=(-0.03, 1.03))
    panels[0].set_ylabel("clips recovered, all 128 bits")
    _save(figure, out)


def roc(with_mark: Sequence[float], without: Sequence[float]) -> tuple[list[float], list[float]]:
    """Shares of unmarked and of marked runs at or above each threshold, from (0, 0) to (1, 1)."""
    thresholds = sorted({*with_mark, *without}, reverse=True)
    shares = [
        [sum(value >= least for value in values) / len(values) for least in thresholds]
        for values in (without, with_mark)
    ]
    return [0.0, *shares[0]], [0.0, *shares[1]]


def draw_statistics(work: Path, out: Path) -> None:
    """The null of the words against theory, the pilot's strength with and without a mark, and the ROC of both."""
    null_file = work / "word_null.json"
    outcomes = [one for one in recorded(work / "outcomes.jsonl") if one.mark in {mark_version(a) for a in ATTACKS}]
    figure, (tail, score, trade) = _figure(3)
    if null_file.exists():
        null: Mapping[str, Sequence[float]] = json.loads(null_file.read_text(encoding="utf-8"))
        total = null["above"][0]
        seen = [(edge, above / total) for edge, above in zip(null["edges"], null["above"], strict=True) if above]
        expected = [value / total for value in null["expected"]]
        tail.plot(*zip(*seen, strict=True), ".", markersize=3, label=f"{total:,} windows without this key's mark")
        tail.plot(null["edges"], expected, linewidth=1, label="theory: chi-square, 512 degrees")
        tail.set(yscale="log", ylim=(0.3 / total, 1.5), xlabel="weight of the word, deviations", ylabel="share above")
        tail.legend(fontsize=7, frameon=False)
    strengths = {with_mark: [one.pilot_z for one in outcomes if one.marked == with_mark] for with_mark in (True, False)}
    for label, values in (("with a mark", strengths[True]), ("without", strengths[False])):
        seen_z = [min(value, 60.0) for value in values if value > 0]
        if seen_z:
            score.hist(seen_z, bins=60, range=(0, 60), density=True, alpha=0.6, label=f"{label}, {len(seen_z)} runs")
    if all(strengths.values()):
        _draw_roc(trade, outcomes, strengths)
    score.set(xlabel="strongest pilot, deviations (60: or more)", ylabel="density", yscale="log")
    score.legend(fontsize=7, frameon=False)
    _save(figure, out)


def _draw_roc(panel: Any, outcomes: Sequence[Outcome], strengths: Mapping[bool, Sequence[float]]) -> None:
    """What a threshold on the pilot would give, and what the tag gives; all attacks together, gentle and harsh."""
    marked_runs, controls = ([one for one in outcomes if one.marked == with_mark] for with_mark in (True, False))
    panel.step(*roc(strengths[True], strengths[False]), where="post", linewidth=1, label="a threshold on the pilot")
    read = sum(one.right for one in marked_runs) / len(marked_runs)
    wrong = sum(one.found for one in controls) / len(controls)
    panel.plot(
        [wrong],
        [read],
        "o",
        markersize=4,
        label=f"the tag: {wrong:g} of {len(controls)} controls, {read:.3f} of {len(marked_runs)} marks",
    )
    panel.set(
        xlabel="unmarked runs taken for marked, share", ylabel="marks found, share", xlim=(-0.02, 1), ylim=(0, 1.03)
    )
    panel.legend(fontsize=7, frameon=False, loc="lower right")


def draw_cost(rows: Rows, out: Path) -> None:
    figure, panels = _figure(2)
    for panel, (prefix, label) in zip(
        panels, (("embed_ms", "marking, ms a frame"), ("detect_s", "looking, s for 10 s of video")), strict=True
    ):
        points = [(SIZES[n], rows[f"{prefix}.{n}"]["value"]) for n in SIZES if f"{prefix}.{n}" in rows]
        if points:
            panel.plot(*zip(*points, strict=True), marker="o", markersize=3)
        panel.set(xlabel="side of a square of as many pixels", ylabel=label, ylim=(0, None), xlim=(0, None))
    _save(figure, out)


def _figure(panels: int) -> tuple[Any, Any]:
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update(
        {"svg.hashsalt": "vasari", "font.size": 8, "axes.spines.top": False, "axes.spines.right": False}
    )
    import matplotlib.pyplot as plt

    return plt.subplots(1, panels, figsize=(3.2 * panels, 2.6), layout="constrained")


def _save(figure: Any, out: Path) -> None:
    part = out.with_suffix(".part.svg")
    figure.savefig(part, metadata={"Date": None})
    part.replace(out)
    click.echo(out)


@click.command(help=__doc__)
@click.option("--work", required=True, type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--clips", "count", default=4, show_default=True, help="Clips of the curves.")
@click.option("--out", default=ROOT / "docs", type=click.Path(path_type=Path, file_okay=False))
@click.option("--dry", is_flag=True, help="Draw, and write no result file.")
def main(work: Path, count: int, out: Path, dry: bool) -> None:
    out.mkdir(parents=True, exist_ok=True)
    curves = measure_curves(work, count)
    draw_curves(curves, out / "watermark_recovery.svg")
    draw_statistics(work, out / "watermark_statistics.svg")
    results = ROOT / "benchmarks" / "results" / "watermark.json"
    known: Rows = json.loads(results.read_text(encoding="utf-8")) if results.exists() else {}
    draw_cost(known, out / "watermark_cost.svg")
    for key, row in rows_of(curves).items():
        click.echo(f"{key:28s} {number(row['value']):>8s} n={row['n']}")
    if not dry:
        write_results("watermark", rows_of(curves))


if __name__ == "__main__":
    main()
