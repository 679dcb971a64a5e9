"""The rig and its fit: axes, recovery of a known head, dense fields through scattered values."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scipy.spatial.transform import Rotation

from generator import EMOTIONS, EXPRESSION_INDEX, EXPRESSION_NAMES, Controls, GeneratorError, MotionBlock
from generator.membrane import stretch_membrane
from generator.rig_fit import RigShape, fit_head, project

SMALL_RIG = Path(__file__).with_name("fixtures") / "render_small.safetensors"


def test_there_are_53_expression_axes_without_those_that_landmarks_and_lids_cannot_show() -> None:
    assert len(EXPRESSION_NAMES) == len(set(EXPRESSION_NAMES)) == 53
    assert not {n for n in EXPRESSION_NAMES if n.startswith(("cheekRaiser", "PupilDilate"))}
    assert EXPRESSION_NAMES[EXPRESSION_INDEX["jawOpen"]] == "jawOpen"


def test_the_fit_finds_a_known_head_again() -> None:
    rig = RigShape.from_tensors(load_file(SMALL_RIG))
    rng = np.random.default_rng(5)
    identity = rng.normal(0, 0.6, len(rig.identity)).astype(np.float32)
    expression = np.zeros(53, np.float32)
    expression[EXPRESSION_INDEX["jawOpen"]] = 0.4
    shape = rig.neutral + np.tensordot(identity, rig.identity, 1) + np.tensordot(expression, rig.expression, 1)
    turn = Rotation.from_euler("ZXY", [3, -5, 9], degrees=True).as_matrix()
    pixels = project(shape[rig.landmark_vertex] @ turn.T + [1.0, 0.5, -95.0], 512)
    fit = fit_head(rig, pixels, 512)
    assert fit.yaw_pitch_roll_deg == pytest.approx((9, -5, 3), abs=2.5)
    assert fit.expression[EXPRESSION_INDEX["jawOpen"]] == pytest.approx(0.4, abs=0.1)
    assert np.median(fit.error_px) < 0.6


def test_the_lower_lip_goes_with_the_jaw_and_the_upper_one_stays() -> None:
    rig = RigShape.from_tensors(load_file(SMALL_RIG))
    jaw = rig.expression[EXPRESSION_INDEX["jawOpen"], :, 1]
    assert (jaw[rig.landmark_vertex[[87, 14, 317]]] < -2.5).all()
    assert (jaw[rig.landmark_vertex[[82, 13, 312]]] > -0.6).all()


def test_a_membrane_passes_through_its_values_and_keeps_its_border() -> None:
    points = np.array([[4, 4], [12, 6], [8, 12]], np.float32)
    values = np.array([[1.0], [-2.0], [3.0]], np.float32)
    weight = np.full(3, 1e3, np.float32)
    field = stretch_membrane(points, values, weight, (17, 17), border=np.zeros((17, 17, 1), np.float32))
    for (x, y), value in zip(points.astype(int), values[:, 0], strict=True):
        assert field[y, x, 0] == pytest.approx(value, abs=0.02)
    assert abs(field[0]).max() < 0.01
    assert field.max() <= 3.01


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"emotion": "bored"}, "choose one of neutral"),
        ({"distance": 2.0}, "between 0.8 and 1.25"),
        ({"gaze_yaw_deg": float("nan")}, "gaze_yaw_deg is nan"),
        ({"blink_rate_per_min": -1.0}, "between 0 and 60"),
    ],
)
def test_a_control_outside_its_range_is_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(GeneratorError, match=message):
        Controls(**wrong)  # type: ignore[arg-type]


def test_controls_as_they_come_are_neutral() -> None:
    assert Controls().emotion == EMOTIONS[0] == "neutral"


def test_a_motion_block_of_the_wrong_shape_is_refused() -> None:
    block = MotionBlock.still(2)
    with pytest.raises(GeneratorError, match=r"expression must be float32 \[2, 53\]"):
        MotionBlock(block.pose, torch.zeros(2, 57), block.gaze)
    with pytest.raises(GeneratorError, match="not finite"):
        MotionBlock(block.pose * float("nan"), block.expression, block.gaze)
