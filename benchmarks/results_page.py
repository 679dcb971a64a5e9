"""Result files `benchmarks/results/NAME.json` and the page `docs/BENCHMARKS.md` that shows all of them.

A result file holds rows `{id: {value, unit, n, ci95, command, commit, hardware}}`; `ci95` only where the value is an
estimate. Rows of a file are replaced one by one, so that a part can be measured again alone. Rows with an entry in
`goals.json` are shown with what they should reach, and whether they do.
"""

from __future__ import annotations

import functools
import json
import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[1]
Row = dict[str, Any]
Rows = dict[str, Row]

TITLES = {
    "renderer": "Renderer",
    "motion": "Motion",
    "watermark": "Watermark",
    "gate": "Gate",
    "provenance": "Provenance",
    "detector": "Detector",
}
"""Result file -> heading of its section, in the page's order; `foundation` comes last, by part."""

HEADLINES = (  # result file, id, plain words, at the top of the page
    ("foundation", "pipeline.fps_generate_mark_encode", "frames generated, marked and encoded per second, 512x512"),
    ("foundation", "pipeline.fps_end_to_end", "frames per second from request to signed clip"),
    ("foundation", "pipeline.first_frame_cold", "first frame in a new process"),
    ("foundation", "pipeline.first_frame_warm", "first frame, warm"),
    ("foundation", "endurance.peak_memory_10min", "peak memory of a ten-minute clip"),
    ("foundation", "pipeline.scan_time_per_clip_time", "time to scan a clip relative to its length, start-up included"),
    ("gate", "decision_p50_ms", "decision of the gate with durable log, median"),
    ("foundation", "provenance.sign_1mb_p50", "signing and time-stamping 1 MB, median"),
    ("foundation", "provenance.verify_1mb_p50", "verifying 1 MB with both engines, median"),
    ("watermark", "psnr_db", "luma PSNR of marked clips"),
    ("watermark", "attack.crf28", "marks read after H.264 CRF 28"),
    ("watermark", "attack.combined", "marks read after a crop to half, half brightness, CRF 28 twice"),
    ("watermark", "audio.aac_64k", "marks read from sound after AAC 64 kbit/s"),
    ("motion", "bilabial_closure_rate", "lips closed on p, b, m of real speech"),
    ("motion", "opening_correlation", "lip opening against real talkers, correlation"),
    ("renderer", "grid_face_psnr_db", "re-enacted faces of real talkers"),
    ("renderer", "grid_face_copy_psnr_db", "the same for a copy of the first frame"),
    ("foundation", "detector.common.auc", "detector on other generators (development set), AUC"),
)


WRITTEN = ("benchmarks/results", "docs/BENCHMARKS.md")
"""What measuring itself changes."""

ROUNDING = 1e-12  # a perfect rank correlation may come out a last bit short of 1


@dataclass(frozen=True)
class Goal:
    """A value reaches it when it lies within [at_least, at_most]; either may be missing."""

    at_least: float | None = None
    at_most: float | None = None

    def reached(self, value: float) -> bool:
        least = -inf if self.at_least is None else self.at_least - ROUNDING
        most = inf if self.at_most is None else self.at_most + ROUNDING
        return least <= value <= most

    def __str__(self) -> str:
        if self.at_least is not None and self.at_least == self.at_most:
            return f"{self.at_least:g}"
        bounds = (("at least", self.at_least), ("at most", self.at_most))
        return ", ".join(f"{word} {bound:,g}" for word, bound in bounds if bound is not None)


def read_goals(folder: Path) -> dict[str, dict[str, Goal]]:
    """Result file -> id -> goal, from `goals.json` in the folder of results; empty without it."""
    path = folder / "goals.json"
    if not path.exists():
        return {}
    known = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_without_repeats)
    return {name: {key: Goal(**bounds) for key, bounds in of_file.items()} for name, of_file in known.items()}


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The later of two equal keys would hide the earlier one's goals."""
    known = dict(pairs)
    if len(known) != len(pairs):
        raise ValueError(f"goals.json: a key is there twice among {', '.join(key for key, _ in pairs)}")
    return known


def write_results(name: str, rows: Mapping[str, Row], *, root: Path = ROOT) -> None:
    """Put rows into `benchmarks/results/NAME.json`, named with commit and hardware, and rewrite the page."""
    path = root / "benchmarks" / "results" / f"{name}.json"
    stamp = {"commit": commit(root), "hardware": hardware()}
    known = _read(path) | {key: {**row, **stamp} for key, row in rows.items()}
    replace_text(path, json.dumps(dict(sorted(known.items())), indent=1, ensure_ascii=False) + "\n")
    write_page(root=root)


def read_results(name: str, *, root: Path = ROOT) -> Rows:
    """The rows of `benchmarks/results/NAME.json`; none where there is no such file."""
    return _read(root / "benchmarks" / "results" / f"{name}.json")


def write_page(*, root: Path = ROOT) -> None:
    folder = root / "benchmarks" / "results"
    files = {path.stem: _read(path) for path in sorted(folder.glob("*.json")) if path.stem != "goals"}
    replace_text(root / "docs" / "BENCHMARKS.md", page(files, read_goals(folder)))


def _read(path: Path) -> Rows:
    rows: Rows = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return rows


def replace_text(path: Path, text: str) -> None:
    """Through a temporary name, so that the file is never half written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(path.suffix + ".part")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def page(files: Mapping[str, Rows], goals: Mapping[str, Mapping[str, Goal]]) -> str:
    """The whole page, from result files and goals by name."""
    lines = [
        "# Benchmarks",
        "",
        "Made by `make bench` and by the commands named below; the figures are those of `benchmarks/results/`.",
        "Nothing here is typed by hand. Intervals are 95 %. Times belong to the machine named at the end.",
    ]
    lines += _headlines(files)
    order = [name for name in TITLES if name in files] + sorted(set(files) - {*TITLES, "foundation"})
    for name in order:
        lines += _section(TITLES.get(name, name.capitalize()), files[name], goals.get(name, {}))
    foundation = files.get("foundation", {})
    for part in sorted({key.split(".")[0] for key in foundation}):
        rows = {key: row for key, row in foundation.items() if key.split(".")[0] == part}
        lines += _section(f"Foundation: {part}", rows, goals.get("foundation", {}))
    machines = sorted({row["hardware"] for rows in files.values() for row in rows.values()})
    return "\n".join([*lines, "", "Hardware: " + "; ".join(machines) + ".", ""])


def _headlines(files: Mapping[str, Rows]) -> list[str]:
    lines = ["", "| in short | value | 95 % interval |", "|---|---|---|"]
    for name, key, words in HEADLINES:
        row = files.get(name, {}).get(key)
        if row is not None:
            lines.append(f"| {words} | {number(row['value'])} {row['unit']} | {_interval(row)} |")
    return lines


def _section(title: str, rows: Rows, goals: Mapping[str, Goal]) -> list[str]:
    """Rows with a goal first, in the goals' order."""
    made_by: dict[str, set[str]] = {}
    for row in rows.values():
        made_by.setdefault(row["command"], set()).add(row["commit"])
    lines = ["", f"## {title}", ""]
    for command, commits in sorted(made_by.items()):
        lines += [f"`{command}` at {', '.join(sorted(commits))}", ""]
    first = [key for key in goals if key in rows]
    rest = sorted(key for key in rows if key not in goals)
    missing = [key for key in goals if key not in rows]
    if first or missing:
        lines += ["| id | value | unit | n | 95 % interval | reach | reached |", "|---|---|---|---|---|---|---|"]
        for key in first:
            verdict = "yes" if goals[key].reached(rows[key]["value"]) else "no"
            lines.append(f"{_cells(key, rows[key])} {goals[key]} | {verdict} |")
        lines += [f"| {key} | | | | | {goals[key]} | not measured |" for key in missing]
        lines += [""] if rest else []
    if rest:
        lines += ["| id | value | unit | n | 95 % interval |", "|---|---|---|---|---|"]
        lines += [_cells(key, rows[key]) for key in rest]
    return lines


def _cells(key: str, row: Row) -> str:
    return f"| {key} | {number(row['value'])} | {row['unit']} | {row['n']} | {_interval(row)} |"


def _interval(row: Row) -> str:
    return " to ".join(number(v) for v in row["ci95"]) if row.get("ci95") else ""


def number(value: object) -> str:
    """Four significant digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


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


@functools.cache
def commit(root: Path = ROOT) -> str:
    """Short hash of the measured commit; a plus sign when files but for results differ from it; as at the first call.

    "unknown" outside of a git checkout.
    """
    head = _git(root, "rev-parse", "--short", "HEAD")
    changed = _git(root, "diff", "--quiet", "HEAD", "--", ".", *(f":(exclude){path}" for path in WRITTEN))
    return head.stdout.strip() + ("+" if changed.returncode else "") if head.returncode == 0 else "unknown"


def _git(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False)
