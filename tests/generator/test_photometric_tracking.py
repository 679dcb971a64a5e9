"""Tracking by pixels finds the motion that made a clip, better than the start that it was given."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from generator import EXPRESSION_INDEX, MotionBlock
from generator.render import Renderer
from generator.training.photometric_tracking import track
from media import find_faces, read_portrait

PORTRAIT = Path(__file__).resolve().parents[2] / "vasari" / "demo" / "portrait.png"
SMALL_RIG = Path(__file__).with_name("fixtures") / "render_small.safetensors"
CONFIG: dict[str, object] = {"kind": "rig_warp", "version": 1, "sprite_cm_per_px": 0.025}


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    return Renderer.from_tensors(load_file(SMALL_RIG), CONFIG)


def test_tracking_comes_nearer_to_the_motion_that_made_a_clip(renderer: Renderer) -> None:
    face = renderer.encode(read_portrait(PORTRAIT))
    truth = MotionBlock.still(2)
    truth.pose[:, 0] = torch.tensor([3.0, 4.0])
    truth.pose[:, 3] = 0.02
    truth.expression[:, EXPRESSION_INDEX["jawOpen"]] = torch.tensor([0.15, 0.2])
    clip = renderer.render(face, truth)
    landmarks = torch.stack([find_faces(frame)[0].landmarks[:468, :2] for frame in clip]).numpy()
    start = MotionBlock(truth.pose.clone(), truth.expression * 0.4, truth.gaze)
    start.pose[:, 0] -= 1.0
    start.pose[:, 3] -= 0.006
    found = track(renderer, face, clip, landmarks, start, rounds=5, passes=1)

    def error(motion: MotionBlock) -> float:
        return float((renderer.render(face, motion).float() - clip.float()).square().mean())

    assert error(found) < 0.35 * error(start)
    assert float((found.pose[:, 0] - truth.pose[:, 0]).abs().max()) < 0.9
    assert float((found.pose[:, 3] - 0.02).abs().max()) < 0.005
    assert float(found.expression.min()) >= 0
