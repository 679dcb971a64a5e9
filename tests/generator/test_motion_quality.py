"""Trained quality of the shipped motion model on real speech: needs VASARI_DATA, which doesn't ship here."""

import os
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("soundfile", reason="the measurements need soundfile (pip install '.[training]')")

from benchmarks.motion import load_model
from benchmarks.motion_lips import measure_lips

DATA = os.environ.get("VASARI_DATA")
pytestmark = pytest.mark.skipif(not DATA, reason="set VASARI_DATA to a folder with grid/ and speech/")


@pytest.fixture(scope="module")
def rows() -> dict[str, dict[str, Any]]:
    return measure_lips(load_model(None), Path(str(DATA)))


def test_lips_close_on_real_bilabials(rows: dict[str, dict[str, Any]]) -> None:
    assert rows["bilabial_closure_rate_grid"]["value"] >= 0.8
    assert rows["bilabial_closure_rate_grid_all_talkers"]["value"] >= 0.8
    assert rows["bilabial_closure_rate"]["value"] >= 0.75


def test_lips_stay_open_on_real_open_vowels(rows: dict[str, dict[str, Any]]) -> None:
    assert rows["open_vowel_closed_rate"]["value"] <= 0.1


def test_opening_follows_the_real_talker_better_than_loudness_does(rows: dict[str, dict[str, Any]]) -> None:
    assert rows["opening_correlation"]["value"] >= 0.5
    assert rows["opening_correlation_gain"]["value"] >= 0.15
    assert rows["opening_correlation_all_talkers"]["value"] >= 0.5


def test_lips_are_still_in_silence(rows: dict[str, dict[str, Any]]) -> None:
    assert rows["silent_lip_mad"]["value"] <= 0.0098
