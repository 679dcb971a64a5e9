"""The plot of a performance: a picture, the same bytes for the same motion, without frames."""

import re

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


def test_a_style_that_others_set_changes_nothing() -> None:
    matplotlib = pytest.importorskip("matplotlib")
    block = MotionBlock(
        torch.zeros(50, 6) + torch.tensor([0, 0, 0, 0, 0, 1.0]), torch.zeros(50, 53), torch.zeros(50, 2)
    )
    plain, styled = plot_motion(block, Controls(), torch.zeros(32_000), kind="svg"), b""
    with matplotlib.rc_context({"font.size": 20, "axes.spines.top": False, "svg.hashsalt": "other"}):
        styled = plot_motion(block, Controls(), torch.zeros(32_000), kind="svg")
        assert matplotlib.rcParams["font.size"] == 20
    assert plain == styled


def test_a_face_without_emotion_is_said_to_be_neutral_and_a_tremble_does_not_fill_its_row() -> None:
    pytest.importorskip("matplotlib")
    block, sound = MotionBlock.still(50), torch.zeros(32_000)
    block.gaze[:, 0] = 0.5 * torch.sin(torch.arange(50) / 3)
    neutral = plot_motion(block, Controls(), sound, kind="svg").decode()
    assert "emotion asked: neutral throughout" in neutral
    assert "emotion asked, strength" in plot_motion(block, CONTROLS, sound, kind="svg").decode()
    row = neutral[neutral.index('<g id="axes_3">') :]  # gaze; the first blue line is its yaw
    (line,) = re.findall(r'<path d="([^"]*)" clip-path="[^"]*" style="fill: none; stroke: #1f77b4', row)[:1]
    heights = [float(point.split()[2]) for point in line.splitlines() if point]
    assert 2 < max(heights) - min(heights) < 20  # of some 90 points that a row has


def test_lips_open_with_the_jaw_and_meet_when_closed() -> None:
    block = MotionBlock.still(3)
    block.expression[1, EXPRESSION_INDEX["jawOpen"]] = 0.5
    block.expression[2, EXPRESSION_INDEX["mouthClose"]] = 1.0
    rest, open_cm, closed = lip_opening_cm(block).tolist()
    assert open_cm > 1 > rest >= closed == 0
