"""The contact sheet shows held-out people of every kind, the same ones for the same seed, and names who was refused."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from benchmarks import portrait_sheet
from benchmarks.portrait_sheet import STYLES, choose, held_out, write_sheet
from media import read_portrait

PORTRAIT = Path(portrait_sheet.__file__).parents[1] / "vasari" / "demo" / "portrait.png"


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """Sixty rows that share one picture; a third wear glasses, a third have open lips."""
    with (tmp_path / "index.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file", "person_id", "glasses", "mouth_gap", "yaw_deg"])
        for number in range(60):
            name = f"{number}.png"
            (tmp_path / name).symlink_to(PORTRAIT)
            table.writerow([name, f"person {number}", int(number % 3 == 0), 0.08 * (number % 3 == 1), 0])
    return tmp_path


def test_rows_are_of_every_kind_and_the_same_for_the_same_seed(people: Path) -> None:
    rows = held_out(people)
    assert 3 < len(rows) < 30
    chosen = choose(rows, people, 6, 0)
    assert chosen == choose(rows, people, 6, 0)
    assert len({row["file"] for row in chosen}) == 6
    assert any(row["glasses"] == "1" for row in chosen)
    assert any(float(row["mouth_gap"]) > 0.06 for row in chosen)


def test_styles_change_the_picture_and_keep_its_form() -> None:
    portrait = read_portrait(PORTRAIT)[:, 200:328, 300:460].contiguous()
    for style in STYLES:
        styled = style(portrait)
        assert (styled.shape, styled.dtype) == (portrait.shape, torch.uint8)
        assert (styled != portrait).float().mean() > 0.3


def test_a_portrait_that_is_refused_is_named(tmp_path: Path) -> None:
    (tmp_path / "flat.png").write_bytes(_flat_png())
    (refused,) = write_sheet(tmp_path, tmp_path / "sheet.png", count=3, seed=0, side_px=64)
    assert refused.startswith("flat.png: no face found")
    assert (tmp_path / "sheet.png").is_file()


def _flat_png() -> bytes:
    return bytes(cv2.imencode(".png", np.full((256, 256, 3), 128, np.uint8))[1])
