"""The latent motion of one frame, 36 numbers: what the transformer makes and `generator.motion` lays on the rig."""

from __future__ import annotations

from typing import Final

from generator.motion_mouth import MOUTH_AXES

# Rig weights beside speech, as deviations from the shape of the asked emotion: brows on stress, swelling of the mood.
MOOD_AXES: Final[tuple[str, ...]] = (
    "browInnerUp", "browOuterUp", "browDown", "eyeSquint", "eyeWide", "noseSneer", "cheekSquint", "mouthSmile",
    "mouthFrown", "mouthDimple", "mouthPress", "mouthStretch", "mouthShrugLower",
)  # fmt: skip
# Head: degrees, face widths, and the logarithm of the scale; for a head-motion amount of 1, seen at distance 1.
POSE_AXES: Final = ("yaw", "pitch", "roll", "tx", "ty", "log_scale")

MOUTH: Final = slice(0, len(MOUTH_AXES))
MOOD: Final = slice(MOUTH.stop, MOUTH.stop + len(MOOD_AXES))
POSE: Final = slice(MOOD.stop, MOOD.stop + len(POSE_AXES))
SIZE: Final = POSE.stop
GROUPS: Final[dict[str, slice]] = {"mouth": MOUTH, "mood": MOOD, "pose": POSE}
