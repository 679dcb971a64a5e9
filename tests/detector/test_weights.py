"""The shipped weights load, and damaged ones never do."""

import json
import shutil
from pathlib import Path

import pytest

from detector import Detector, DetectorError
from detector.detector import SETTINGS_NAME, WEIGHTS, WEIGHTS_NAME


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for name in (WEIGHTS_NAME, SETTINGS_NAME):
        shutil.copy(WEIGHTS / name, tmp_path)
    return tmp_path


def test_the_same_weights_have_the_same_digest(copy: Path) -> None:
    assert Detector.load(folder=copy).model_digest == Detector.load().model_digest


def test_one_changed_byte_of_the_weights_is_refused(copy: Path) -> None:
    path = copy / WEIGHTS_NAME
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(DetectorError, match="SHA-256"):
        Detector.load(folder=copy)


@pytest.mark.parametrize("name", [WEIGHTS_NAME, SETTINGS_NAME])
def test_a_missing_file_is_refused_with_its_name(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(DetectorError, match=name):
        Detector.load(folder=copy)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"model": 3, "weights_sha256": "x"}'])
def test_damaged_settings_are_refused(copy: Path, text: str) -> None:
    (copy / SETTINGS_NAME).write_text(text)
    with pytest.raises(DetectorError):
        Detector.load(folder=copy)


def test_a_calibration_that_turns_scores_upside_down_is_refused(copy: Path) -> None:
    settings = json.loads((copy / SETTINGS_NAME).read_text())
    settings["calibration"]["slope"] = -1.0
    (copy / SETTINGS_NAME).write_text(json.dumps(settings))
    with pytest.raises(DetectorError, match="slope"):
        Detector.load(folder=copy)


def test_changed_thresholds_change_the_digest(copy: Path) -> None:
    settings = json.loads((copy / SETTINGS_NAME).read_text())
    settings["calibration"]["threshold_logit"] += 1.0
    (copy / SETTINGS_NAME).write_text(json.dumps(settings))
    assert Detector.load(folder=copy).model_digest != Detector.load().model_digest
