"""Measures the whole path and every part, writes the figures and the page that shows them.

    python -m benchmarks.foundation                  all parts, about half an hour on two cores
    python -m benchmarks.foundation --only pipeline  one part; the others keep their figures
    python -m benchmarks.foundation --data FOLDER    with the private evaluation data (grid/, speech/, ...)

Each part is a module beside this one with a function `measure`; each figure is a row
`{id: {value, unit, n, command, commit, hardware}}`, with `ci95` where it is an estimate.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
import torch

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "foundation.json"
PAGE = ROOT / "docs" / "BENCHMARKS.md"

Rows = dict[str, dict[str, Any]]


def hardware() -> str:
    """One line that says what measured."""
    model = next(
        (line.split(":")[1].strip() for line in _cpu_lines() if line.startswith("model name")),
        platform.machine(),
    )
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ", no GPU"
    return f"{os.cpu_count()} cores of {model}{gpu}"


def _cpu_lines() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def commit() -> str:
    """Short hash of the measured commit, with a plus sign when files differ from it."""
    describe = ["git", "-C", str(ROOT), "describe", "--always", "--dirty=+", "--exclude=*"]
    done = subprocess.run(describe, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def _parts(data: Path | None) -> Mapping[str, Callable[[], Rows]]:
    from benchmarks import detector, motion, pipeline, policy, provenance, renderer, watermark

    return {
        "pipeline": pipeline.measure,
        "endurance": pipeline.measure_long,
        "watermark": watermark.measure,
        "provenance": provenance.measure,
        "policy": policy.measure,
        "renderer": lambda: renderer.measure(data),
        "motion": lambda: motion.measure(data),
        "detector": lambda: detector.measure(data) if data else {},
    }


def write(rows: Rows) -> None:
    """Merge into the results file and rewrite the page; both through a temporary name."""
    known: Rows = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    known.update(rows)
    _replace(RESULTS, json.dumps(dict(sorted(known.items())), indent=1, ensure_ascii=False) + "\n")
    _replace(PAGE, _page(known))


def _replace(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(path.suffix + ".part")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


HEADLINES = (
    ("pipeline.fps_generate_mark_encode", "frames generated, marked and encoded per second, 512x512"),
    ("pipeline.fps_end_to_end", "frames per second from request to signed clip"),
    ("pipeline.first_frame_cold", "first frame in a new process"),
    ("pipeline.first_frame_warm", "first frame, warm"),
    ("endurance.peak_memory_10min", "peak memory of a ten-minute clip"),
    ("pipeline.scan_time_per_clip_time", "time to scan a clip relative to its length, start-up included"),
    ("policy.decision_p50_ms", "decision of the gate with durable log, median"),
    ("provenance.sign_1mb_p50", "signing and time-stamping 1 MB, median"),
    ("provenance.verify_1mb_p50", "verifying 1 MB with both engines, median"),
    ("watermark.psnr_db", "luma PSNR of marked clips"),
    ("watermark.attack.crf28", "marks read after H.264 CRF 28"),
    ("watermark.attack.crop_75_scale_384_crf28", "marks read after crop to 75 %, scaling to 384, CRF 28"),
    ("watermark.audio.attack.aac64", "marks read from sound after AAC 64 kbit/s"),
    ("motion.bilabial_closure_rate_ljspeech", "lips closed on p, b, m of real speech"),
    ("motion.opening_correlation", "lip opening against real talkers, correlation"),
    ("renderer.reenact_face_db", "re-enacted faces of real talkers"),
    ("renderer.reenact_face_copy_db", "the same for a copy of the first frame"),
    ("detector.common.auc", "detector on other generators (development set), AUC"),
)


def _page(rows: Rows) -> str:
    lines = [
        "# Benchmarks",
        "",
        "Made by `make bench`; the figures are those of `benchmarks/results/foundation.json`.",
        "Nothing here is typed by hand. Intervals are 95 %. Times belong to the machine named below.",
        "",
        "| in short | value | 95 % interval |",
        "|---|---|---|",
    ]
    for name, words in HEADLINES:
        if name in rows:
            lines.append(f"| {words} | {_number(rows[name]['value'])} {rows[name]['unit']} | {_interval(rows[name])} |")
    groups: dict[str, list[str]] = {}
    for name in sorted(rows):
        groups.setdefault(name.split(".")[0], []).append(name)
    for group, names in groups.items():
        made_by = sorted({f"`{rows[name]['command']}` at {rows[name]['commit']}" for name in names})
        lines += [
            "",
            f"## {group}",
            "",
            *made_by,
            "",
            "| id | value | unit | n | 95 % interval |",
            "|---|---|---|---|---|",
        ]
        for name in names:
            row = rows[name]
            lines.append(f"| {name} | {_number(row['value'])} | {row['unit']} | {row['n']} | {_interval(row)} |")
    machines = sorted({row["hardware"] for row in rows.values()})
    return "\n".join([*lines, "", "Hardware: " + "; ".join(machines) + ".", ""])


def _interval(row: Mapping[str, Any]) -> str:
    return " to ".join(_number(v) for v in row["ci95"]) if row.get("ci95") else ""


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


@click.command(help=__doc__)
@click.option("--only", multiple=True, help="Measure these parts only.")
@click.option("--data", type=click.Path(path_type=Path, exists=True), envvar="VASARI_DATA", help="Evaluation data.")
def main(only: tuple[str, ...], data: Path | None) -> None:
    parts = _parts(data)
    unknown = set(only) - set(parts)
    if unknown:
        raise click.BadParameter(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(parts)}")
    machine, version = hardware(), commit()
    for name, measure in parts.items():
        if only and name not in only:
            continue
        click.echo(f"measuring {name} ...", err=True)
        rows = {
            key if key.startswith(f"{name}.") else f"{name}.{key}": {
                **row,
                "commit": version,
                "hardware": machine,
            }
            for key, row in measure().items()
        }
        write(rows)
        for key, row in rows.items():
            click.echo(f"{key:48s} {_number(row['value']):>12s} {row['unit']}")


if __name__ == "__main__":
    main()
