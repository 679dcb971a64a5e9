"""Options whose value is a constant or a file with a curve over time."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from vasari.cli.control_files import SUFFIXES, read_rows
from vasari.cli.session import CommandError

EMOTIONS = ("neutral", "happy", "sad", "angry", "surprised", "afraid", "disgusted")
LIMITS = {
    "gaze_yaw_deg": (-30.0, 30.0),
    "gaze_pitch_deg": (-20.0, 20.0),
    "distance": (0.8, 1.25),
    "emotion_strength": (0.0, 1.0),
    "head_motion": (0.0, 2.0),
    "blink_rate_per_min": (0.0, 60.0),
    "expression_strength": (0.0, 1.5),
}
GAZE_HELP = "Where to look, in degrees: right of the picture (-30 to 30) and down (-20 to 20)."
DISTANCE_HELP = "Of the head, 0.8 (near) to 1.25; 1 is the portrait's."

Keys = tuple[tuple[float, float], ...]
EmotionKeys = tuple[tuple[float, str, float], ...]
Number = float | Keys
Gaze = tuple[Number, Number]
Emotion = tuple[str | EmotionKeys, float]


class _ConstantOrFile(click.ParamType[Any]):
    """A constant, or the path of a CSV or JSON file."""

    expected = ""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The constant or the curve; a usage error names what was expected."""
        if not isinstance(value, str):
            return value
        try:
            if value.lower().endswith(SUFFIXES):
                return self.from_file(Path(value))
            return self.constant(value)
        except ValueError:
            self.fail(f"{value!r}: expected {self.expected}, or a file ending in .csv or .json", param, ctx)
        except CommandError as error:
            self.fail(str(error), param, ctx)

    def constant(self, text: str) -> Any:
        """Raises ValueError when the text is none."""
        raise NotImplementedError

    def from_file(self, path: Path) -> Any:
        """Raises CommandError with file, line and expectation."""
        raise NotImplementedError


class GazeParam(_ConstantOrFile):
    """`YAW,PITCH` in degrees, or columns yaw_deg and pitch_deg."""

    name = "yaw,pitch|file"
    expected = "two angles in degrees, such as 10,-5"

    def constant(self, text: str) -> Gaze:
        """Two numbers."""
        yaw_deg, pitch_deg = (float(part) for part in text.split(","))
        return yaw_deg, pitch_deg

    def from_file(self, path: Path) -> Gaze:
        """A curve for each of the two angles."""
        rows = read_rows(path, {"yaw_deg": LIMITS["gaze_yaw_deg"], "pitch_deg": LIMITS["gaze_pitch_deg"]})
        yaw_deg = tuple((row.time_s, float(row.values[0])) for row in rows)
        return yaw_deg, tuple((row.time_s, float(row.values[1])) for row in rows)


class EmotionParam(_ConstantOrFile):
    """`NAME` or `NAME:STRENGTH`, or columns emotion and strength."""

    name = "name[:strength]|file"
    expected = f"one of {', '.join(EMOTIONS)}, with a strength from 0 to 1 such as happy:0.5"

    def constant(self, text: str) -> Emotion:
        """A name from the list and a strength."""
        emotion, _, strength = text.partition(":")
        if emotion not in EMOTIONS:
            raise ValueError(emotion)
        return emotion, float(strength or 1.0)

    def from_file(self, path: Path) -> Emotion:
        """Emotions and strengths over time."""
        rows = read_rows(path, {"emotion": EMOTIONS, "strength": LIMITS["emotion_strength"]})
        return tuple((row.time_s, str(row.values[0]), float(row.values[1])) for row in rows), 1.0


class NumberParam(_ConstantOrFile):
    """A number, or a column of the control's name."""

    name = "number|file"
    expected = "a number"

    def __init__(self, control: str) -> None:
        self._control = control

    def constant(self, text: str) -> float:
        """One number; its range is judged with all others."""
        return float(text)

    def from_file(self, path: Path) -> Keys:
        """A curve."""
        rows = read_rows(path, {self._control: LIMITS[self._control]})
        return tuple((row.time_s, float(row.values[0])) for row in rows)


def control_options(command: Callable[..., None]) -> Callable[..., None]:
    """All controls as options of `command`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


_OPTIONS = (
    click.option("--gaze", type=GazeParam(), default="0,0", show_default=True, help=GAZE_HELP),
    click.option("--distance", type=NumberParam("distance"), default="1", show_default=True, help=DISTANCE_HELP),
    click.option(
        "--emotion", type=EmotionParam(), default="neutral", show_default=True, help=", ".join(EMOTIONS) + "."
    ),
    click.option(
        "--head-motion",
        type=NumberParam("head_motion"),
        default="1",
        show_default=True,
        help="0 holds the head still; at most 2.",
    ),
    click.option(
        "--blink-rate",
        type=NumberParam("blink_rate_per_min"),
        default="17",
        show_default=True,
        help="Blinks per minute, 0 to 60.",
    ),
    click.option(
        "--expression",
        type=NumberParam("expression_strength"),
        default="1",
        show_default=True,
        help="How strongly the mouth moves, 0 to 1.5.",
    ),
)
