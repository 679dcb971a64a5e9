"""Talking-face generation: one portrait and one voice become frames. Built from tensors, never from files."""

from generator.audio_features import AUDIO_RATE
from generator.controls import EMOTIONS, FPS, Controls, ControlValues, Curve, EmotionCurve
from generator.errors import GeneratorError
from generator.face_state import FaceState
from generator.framing import FRAMES, SHOULDERS, Framing, frame_size_px
from generator.generator import Generator
from generator.motion_block import MotionBlock, MotionState
from generator.motion_plot import PlotKind, plot_motion, require_plotting
from generator.rig import EXPRESSION_INDEX, EXPRESSION_NAMES
from generator.working_picture import SIZE_PX

__all__ = [
    "AUDIO_RATE",
    "EMOTIONS",
    "EXPRESSION_INDEX",
    "EXPRESSION_NAMES",
    "FPS",
    "FRAMES",
    "SHOULDERS",
    "SIZE_PX",
    "ControlValues",
    "Controls",
    "Curve",
    "EmotionCurve",
    "FaceState",
    "Framing",
    "Generator",
    "GeneratorError",
    "MotionBlock",
    "MotionState",
    "PlotKind",
    "frame_size_px",
    "plot_motion",
    "require_plotting",
]
