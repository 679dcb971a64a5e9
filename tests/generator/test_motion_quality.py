"""Trained quality on real speech: needs VASARI_DATA and VASARI_MOTION_CHECKPOINT, neither of which ships here."""

import os
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("soundfile", reason="the measurements need soundfile (pip install '.[training]')")

from benchmarks.motion import load_model, measure_lips

DATA, CHECKPOINT = os.environ.get("VASARI_DATA"), os.environ.get("VASARI_MOTION_CHECKPOINT")
pytestmark = pytest.mark.skipif(
    not (DATA and CHECKPOINT), reason="set VASARI_DATA (grid/, speech/) and VASARI_MOTION_CHECKPOINT (path, no ending)"
)


@pytest.fixture(scope="module")
def rows() -> dict[str, dict[str, Any]]:
    return measure_lips(load_model(Path(str(CHECKPOINT))), Path(str(DATA)))


def test_lips_close_on_real_bilabials(rows: dict[str, dict[str, Any]]) -> None:
    assert rows["bilabial_closure_rate_grid"]["value"] >= 0.8
    assert rows["bilabial_closure_rate_ljspeech"]["value"] >= 0.75


def test_lips_stay_open_on_real_open_vowels(rows: dict[str, dict[str, Any]]) -> None:
    assert rows["open_vowel_closed_rate_ljspeech"]["value"] <= 0.1


def test_opening_follows_the_real_talker_better_than_loudness_does(rows: dict[str, dict[str, Any]]) -> None:
    assert rows["opening_correlation"]["value"] >= 0.5
    assert rows["opening_correlation_gain"]["value"] >= 0.15


def test_lips_are_still_in_silence(rows: dict[str, dict[str, Any]]) -> None:
    assert rows["silent_lip_mad"]["value"] <= 0.0098
