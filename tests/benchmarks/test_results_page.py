"""Figures go into their result file and onto the page, beside what they should reach."""

import json
import subprocess
from pathlib import Path

import pytest

from benchmarks.results_page import ROOT, Goal, commit, page, read_goals, write_results

ROW = {"value": 31.25, "unit": "dB", "n": 11, "command": "python -m benchmarks.renderer"}
STAMP = {"commit": "abc1234", "hardware": "2 cores"}


def test_a_row_lands_in_its_file_and_the_others_keep_their_figures(tmp_path: Path) -> None:
    write_results("renderer", {"pose_error_deg": ROW, "cpu_fps": ROW}, root=tmp_path)
    write_results("renderer", {"cpu_fps": ROW | {"value": 30.0}}, root=tmp_path)
    rows = json.loads((tmp_path / "benchmarks" / "results" / "renderer.json").read_text())
    assert {key: row["value"] for key, row in rows.items()} == {"pose_error_deg": 31.25, "cpu_fps": 30.0}
    assert all(set(row) >= {"value", "unit", "n", "command", "commit", "hardware"} for row in rows.values())
    assert "| cpu_fps | 30 | dB | 11 |" in (tmp_path / "docs" / "BENCHMARKS.md").read_text()
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize(
    ("goal", "value", "words", "reached"),
    [
        (Goal(at_least=30), 31.25, "at least 30", "yes"),
        (Goal(at_least=1000), 31.25, "at least 1,000", "no"),
        (Goal(at_most=2), 31.25, "at most 2", "no"),
        (Goal(at_least=0, at_most=0), 0, "0", "yes"),
        (Goal(at_least=0, at_most=0), 1, "0", "no"),
        (Goal(at_least=1), 1 - 2**-53, "at least 1", "yes"),
        (Goal(at_most=4), float("nan"), "at most 4", "no"),
    ],
)
def test_the_page_says_what_a_figure_should_reach_and_whether_it_does(
    goal: Goal, value: float, words: str, reached: str
) -> None:
    text = page({"renderer": {"a_figure": {**ROW, **STAMP, "value": value}}}, {"renderer": {"a_figure": goal}})
    (line,) = [line for line in text.splitlines() if line.startswith("| a_figure")]
    assert line.endswith(f"| {words} | {reached} |")


def test_a_goal_without_a_figure_is_shown_as_not_measured() -> None:
    text = page({"renderer": {"other": {**ROW, **STAMP}}}, {"renderer": {"gpu_fps": Goal(at_least=1000)}})
    assert "| gpu_fps | | | | | at least 1,000 | not measured |" in text


def test_goals_that_would_hide_others_are_refused(tmp_path: Path) -> None:
    (tmp_path / "goals.json").write_text('{"motion": {"a": {"at_least": 1}}, "motion": {"b": {"at_least": 2}}}')
    with pytest.raises(ValueError, match="twice among motion, motion"):
        read_goals(tmp_path)


def test_the_parts_of_the_foundation_keep_sections_of_their_own() -> None:
    rows = {f"{part}.speed": {**ROW, **STAMP, "ci95": [1.0, 2.5]} for part in ("pipeline", "provenance")}
    text = page({"foundation": rows}, {})
    assert "## Foundation: pipeline" in text
    assert "| provenance.speed | 31.25 | dB | 11 | 1 to 2.5 |" in text


def test_the_shipped_page_is_what_the_shipped_results_say() -> None:
    folder = ROOT / "benchmarks" / "results"
    files = {p.stem: json.loads(p.read_text(encoding="utf-8")) for p in folder.glob("*.json") if p.stem != "goals"}
    assert (ROOT / "docs" / "BENCHMARKS.md").read_text(encoding="utf-8") == page(files, read_goals(folder))


def test_every_row_names_the_measured_commit(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", *who, "-C", str(tmp_path), "commit", "-q", "--allow-empty", "-m", "first"], check=True)
    write_results("renderer", {"cpu_fps": ROW}, root=tmp_path)
    rows = json.loads((tmp_path / "benchmarks" / "results" / "renderer.json").read_text())
    head = subprocess.run(["git", "-C", str(tmp_path), "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    assert rows["cpu_fps"]["commit"] == head.stdout.strip()


def test_a_commit_is_marked_where_code_differs_and_not_where_results_do(tmp_path: Path) -> None:
    who = ("-c", "user.name=A", "-c", "user.email=a@example.org")
    for path in ("benchmarks/results/motion.json", "docs/BENCHMARKS.md", "code.py"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("1\n")
    for command in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", "first"]):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    (tmp_path / "benchmarks/results/motion.json").write_text("2\n")
    (tmp_path / "docs/BENCHMARKS.md").write_text("2\n")
    clean = commit.__wrapped__(tmp_path)
    assert len(clean) >= 7
    assert not clean.endswith("+")
    (tmp_path / "code.py").write_text("2\n")
    assert commit.__wrapped__(tmp_path) == f"{clean}+"


def test_outside_of_a_checkout_the_commit_is_unknown(tmp_path: Path) -> None:
    assert commit.__wrapped__(tmp_path) == "unknown"
