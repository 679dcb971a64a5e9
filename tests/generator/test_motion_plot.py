"""The plot of a performance: a picture, the same bytes for the same motion, without frames."""

import pytest
import torch

from generator import EXPRESSION_INDEX, Controls, Curve, EmotionCurve, MotionBlock, plot_motion
from generator.motion_plot import lip_opening_cm

CONTROLS = Controls(gaze_yaw_deg=Curve(((0.0, -10.0), (2.0, 10.0))), emotion=EmotionCurve(((0.0, "happy", 1.0),)))


def test_png_and_svg_are_drawn_the_same_each_time() -> None:
    pytest.importorskip("matplotlib")
    block, sound = MotionBlock.still(50), torch.sin(torch.arange(32_000) / 20) / 2
    picture = plot_motion(block, CONTROLS, sound, kind="png")
    assert picture.startswith(b"\x89PNG")
    drawing = plot_motion(block, CONTROLS, sound, kind="svg")
    assert b"<svg" in drawing
    assert drawing == plot_motion(block, CONTROLS, sound, kind="svg")


def test_lips_open_with_the_jaw_and_meet_when_closed() -> None:
    block = MotionBlock.still(3)
    block.expression[1, EXPRESSION_INDEX["jawOpen"]] = 0.5
    block.expression[2, EXPRESSION_INDEX["mouthClose"]] = 1.0
    rest, open_cm, closed = lip_opening_cm(block).tolist()
    assert open_cm > 1 > rest >= closed == 0
