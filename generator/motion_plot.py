"""Curves of a performance over its waveform, as a picture to look at: what the face will do, before frames are made."""

from __future__ import annotations

import io
from typing import Any, Final, Literal

import numpy as np
import torch
from torch import Tensor

from generator.audio_features import AUDIO_RATE
from generator.controls import EMOTIONS, FPS, Controls
from generator.errors import GeneratorError
from generator.motion_block import MotionBlock
from generator.motion_mouth import LIP_GAP_CM, REST_GAP_CM, columns
from generator.rig import EXPRESSION_INDEX

PlotKind = Literal["png", "svg"]
WAVEFORM_POINTS: Final = 4000
LIP_RANGE_CM: Final = (0.0, 1.0)
HEAD_RANGE_DEG: Final = (-5.0, 5.0)
GAZE_RANGE_DEG: Final = (-5.0, 5.0)
DISTANCE_RANGE: Final = (0.8, 1.25)
_ASKED: Final = {"color": "black", "linewidth": 0.8, "linestyle": "--"}


def require_plotting() -> None:
    """Raises GeneratorError when the plotting library is not installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise GeneratorError("a plot needs matplotlib: pip install 'vasari[plot]'") from error


def lip_opening_cm(block: MotionBlock) -> Tensor:
    """[N] distance between the lips of the rig; 0 when they meet."""
    gap = torch.full((len(block),), REST_GAP_CM)
    for axis, per_weight in LIP_GAP_CM.items():
        gap += block.expression[:, list(columns(axis))].mean(1) * per_weight
    return gap.clamp(min=0)


def plot_motion(block: MotionBlock, controls: Controls, sound: Tensor, *, kind: PlotKind) -> bytes:
    """`sound` float32 [n] at 16 kHz; equal input gives equal bytes, whatever style the process draws in otherwise.

    Raises GeneratorError without matplotlib.
    """
    require_plotting()
    import matplotlib
    import matplotlib.style

    with matplotlib.style.context("default"), matplotlib.rc_context({"svg.hashsalt": "vasari"}):
        return _drawn(block, controls, sound, kind)


def _drawn(block: MotionBlock, controls: Controls, sound: Tensor, kind: PlotKind) -> bytes:
    from matplotlib.figure import Figure

    times = np.arange(len(block)) / FPS
    asked = [controls.at(frame) for frame in range(len(block))]
    figure = Figure(figsize=(12, 10), dpi=100, layout="constrained")
    rows: Any = figure.subplots(6, 1, sharex=True)
    _waveform(rows[0], sound)
    lips = rows[0].twinx()
    lips.plot(times, lip_opening_cm(block), color="tab:red", linewidth=1.2)
    rows[0].set_title("voice (grey) and lip opening in cm (red)")
    for column, name in enumerate(("yaw", "pitch", "roll")):
        rows[1].plot(times, block.pose[:, column], label=name, linewidth=1)
    rows[1].set_title("head in degrees")
    for column, name in enumerate(("yaw", "pitch")):
        rows[2].plot(times, block.gaze[:, column], label=name, linewidth=1, color=f"C{column}")
        rows[2].plot(times, [getattr(one, f"gaze_{name}_deg") for one in asked], **_ASKED)
    rows[2].set_title("gaze in degrees (dashed: asked)")
    blink = block.expression[:, [EXPRESSION_INDEX["eyeBlink_L"], EXPRESSION_INDEX["eyeBlink_R"]]].mean(1)
    rows[3].fill_between(times, blink, color="tab:purple", linewidth=0)
    rate = rows[3].twinx()
    rate.plot(times, [one.blink_rate_per_min for one in asked], **_ASKED)
    rate.set_ylim(0, 60)
    rows[3].set_ylim(0, 1.05)
    rows[3].set_title("lids closed, 0 to 1 (dashed: asked blinks a minute)")
    for emotion in EMOTIONS[1:]:
        strength = [one.emotion_strength if one.emotion == emotion else 0.0 for one in asked]
        if any(strength):
            rows[4].plot(times, strength, label=emotion, linewidth=1.2)
    rows[4].set_ylim(-0.02, 1.05)
    felt = any(one.emotion != EMOTIONS[0] and one.emotion_strength for one in asked)
    rows[4].set_title("emotion asked, strength 0 to 1" if felt else f"emotion asked: {EMOTIONS[0]} throughout")
    rows[5].plot(times, block.pose[:, 5].reciprocal(), label="distance", linewidth=1)
    rows[5].plot(times, [one.distance for one in asked], **_ASKED)
    for name in ("head_motion", "expression_strength"):
        rows[5].plot(times, [getattr(one, name) for one in asked], label=name.replace("_", " "), linewidth=1)
    rows[5].set_title("distance (dashed: asked), head motion and expression strength asked")
    rows[5].set_xlabel("seconds")
    for row, least in (
        (lips, LIP_RANGE_CM),
        (rows[1], HEAD_RANGE_DEG),
        (rows[2], GAZE_RANGE_DEG),
        (rows[5], DISTANCE_RANGE),
    ):
        _show_at_least(row, *least)
    for row in (rows[1], rows[2], rows[4], rows[5]):
        if row.get_legend_handles_labels()[0]:
            row.legend(loc="upper right", fontsize=8, ncols=6)
    rows[0].set_xlim(0, max(len(block), 1) / FPS)
    sink = io.BytesIO()
    figure.savefig(sink, format=kind, metadata={"Date": None} if kind == "svg" else {"Software": None})
    return sink.getvalue()


def _show_at_least(row: Any, low: float, high: float) -> None:
    """A row's range is never narrower than this, or a tremble would fill it."""
    shown_low, shown_high = row.get_ylim()
    row.set_ylim(min(low, shown_low), max(high, shown_high))


def _waveform(row: Any, sound: Tensor) -> None:
    """The envelope: smallest and largest sample of each stretch."""
    step = max(1, -(-len(sound) // WAVEFORM_POINTS))
    padded = torch.nn.functional.pad(sound, (0, -len(sound) % step)).reshape(-1, step)
    times = np.arange(len(padded)) * step / AUDIO_RATE
    row.fill_between(times, padded.amin(1), padded.amax(1), color="0.75", linewidth=0)
    row.set_ylim(-1, 1)
