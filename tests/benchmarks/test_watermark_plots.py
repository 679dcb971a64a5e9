"""The figures of the mark's bench say what was measured."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from benchmarks.watermark import Outcome, mark_version
from benchmarks.watermark_attacks import ATTACKS
from benchmarks.watermark_plots import draw_statistics, roc


def test_a_statistic_that_separates_passes_through_the_corner() -> None:
    false, true = roc([7.0, 9.0], [1.0, 2.0])
    assert (0.0, 1.0) in set(zip(false, true, strict=True))
    assert (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1)


def test_a_statistic_that_says_nothing_lies_on_the_diagonal() -> None:
    false, true = roc([1.0, 2.0, 3.0], [3.0, 2.0, 1.0])
    assert false == pytest.approx(true)


def test_the_statistics_show_every_run_and_what_the_tag_decided(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    name, mark = ATTACKS[0].name, mark_version(ATTACKS[0])
    runs = [
        Outcome(f"{n}.mp4", name, marked, mark, marked, marked and n > 0, 9.0 * marked + n, -14, 3, 1)
        for marked in (True, False)
        for n in range(4)
    ]
    (tmp_path / "outcomes.jsonl").write_text("".join(json.dumps(asdict(run)) + "\n" for run in runs))
    draw_statistics(tmp_path, tmp_path / "statistics.svg")
    drawing = (tmp_path / "statistics.svg").read_text()
    assert "the tag: 0 of 4 controls, 0.750 of 4 marks" in drawing
    assert "with a mark, 4 runs" in drawing
