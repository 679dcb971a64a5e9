"""Talking-face generation: one portrait and one voice become frames. Built from tensors, never from files."""

from generator.controls import EMOTIONS, Controls
from generator.errors import GeneratorError
from generator.motion_block import MotionBlock, MotionState
from generator.rig import EXPRESSION_INDEX, EXPRESSION_NAMES

__all__ = [
    "EMOTIONS",
    "EXPRESSION_INDEX",
    "EXPRESSION_NAMES",
    "Controls",
    "GeneratorError",
    "MotionBlock",
    "MotionState",
]
