"""What a researcher may ask of a clip: gaze, distance, emotion, head motion, blinks, strength."""

from dataclasses import dataclass

from generator.errors import GeneratorError

EMOTIONS: tuple[str, ...] = ("neutral", "happy", "sad", "angry", "surprised", "afraid", "disgusted")

# Control -> smallest and largest value that renderer and motion model are made for.
LIMITS: dict[str, tuple[float, float]] = {
    "gaze_yaw_deg": (-30.0, 30.0),
    "gaze_pitch_deg": (-20.0, 20.0),
    "distance": (0.8, 1.25),
    "emotion_strength": (0.0, 1.0),
    "head_motion": (0.0, 2.0),
    "blink_rate_per_min": (0.0, 60.0),
    "expression_strength": (0.0, 1.5),
}


@dataclass(frozen=True)
class Controls:
    """Controls of one clip. Raises `GeneratorError` on a value outside `LIMITS` or an unknown emotion.

    Gaze: positive yaw looks to the right of the picture, positive pitch looks down, (0, 0) into the camera.
    `distance`: of the head from the camera, 1 = as in the portrait. `head_motion` 0 holds the head still.
    """

    gaze_yaw_deg: float = 0.0
    gaze_pitch_deg: float = 0.0
    distance: float = 1.0
    emotion: str = "neutral"
    emotion_strength: float = 1.0
    head_motion: float = 1.0
    blink_rate_per_min: float = 17.0
    expression_strength: float = 1.0

    def __post_init__(self) -> None:
        if self.emotion not in EMOTIONS:
            raise GeneratorError(f"emotion {self.emotion!r} is not known; choose one of {', '.join(EMOTIONS)}")
        for name, (low, high) in LIMITS.items():
            value = getattr(self, name)
            if not low <= value <= high:  # also catches NaN
                raise GeneratorError(f"{name} is {value!r}; it must lie between {low:g} and {high:g}")
