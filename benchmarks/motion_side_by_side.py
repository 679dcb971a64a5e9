"""A clip to look at: the demo portrait speaks, left by the model, right with a mouth driven by loudness."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.motion_lips import loudness_gap
from benchmarks.motion_naturalness import DEMO_VOICE
from benchmarks.shipped_weights import shipped
from generator import Controls
from generator.controls import FPS
from generator.motion import MotionModel
from generator.motion_block import MotionBlock
from generator.motion_mouth import LIP_GAP_CM, MOUTH_AXES, columns
from generator.render import Renderer
from generator.rig import EXPRESSION_INDEX
from media import ClipWriter, read_portrait


def write_side_by_side(model: MotionModel, sound: Tensor, out: Path) -> None:
    """`sound` float32 [n] at 16 kHz; both halves move head and eyes alike."""
    tensors, config = shipped("render")
    renderer = Renderer.from_tensors({f"render.{name}": tensor for name, tensor in tensors.items()}, config, "cpu")
    face = renderer.encode(read_portrait(DEMO_VOICE.with_name("portrait.png")))
    block, _ = model.step(sound, model.start(Controls(), 1), final=True)
    loud = driven_by_loudness(block, sound)
    with ClipWriter(out, width=1024, height=512, fps=Fraction(FPS), sample_rate=16_000) as writer:
        for start in range(0, len(block), FPS):
            halves = [renderer.render(face, motion[start : start + FPS]) for motion in (block, loud)]
            writer.write_frames(torch.cat(halves, -1))
        writer.write_audio(sound)


def driven_by_loudness(block: MotionBlock, sound: Tensor) -> MotionBlock:
    """The same motion with the lips of the baseline: the jaw opens with the level, nothing else."""
    expression = block.expression.clone()
    expression[:, [column for axis in MOUTH_AXES for column in columns(axis)]] = 0
    gap_cm = torch.from_numpy(loudness_gap(sound.numpy(), len(block))).float()
    expression[:, EXPRESSION_INDEX["jawOpen"]] = gap_cm / LIP_GAP_CM["jawOpen"]
    return MotionBlock(block.pose, expression, block.gaze)
