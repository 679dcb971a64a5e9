"""The part of the face that speech moves, and how far the lips are apart, as linear functions of rig weights."""

from __future__ import annotations

from typing import Final

from generator.rig import EXPRESSION_INDEX

# Axes the network predicts; a pair moves as one (speech is nearly symmetric).
MOUTH_AXES: Final[tuple[str, ...]] = (
    "jawOpen", "jawForward", "mouthClose", "mouthFunnel", "mouthPucker", "mouthRollLower", "mouthRollUpper",
    "mouthShrugLower", "mouthShrugUpper", "mouthPress", "mouthLowerDown", "mouthUpperUp", "mouthStretch",
    "mouthSmile", "mouthDimple", "cheekSquint", "cheekPuff",
)  # fmt: skip

# Change of the inner lip distance in cm at weight 1 (both sides where there are two), measured on the mean head of
# the rig between vertices `landmarks68[62]` and `[66]`.
LIP_GAP_CM: Final[dict[str, float]] = {
    "jawOpen": 3.275, "jawForward": 0.129, "mouthClose": -3.894, "mouthFunnel": 1.373, "mouthPucker": -0.052,
    "mouthRollLower": -0.375, "mouthRollUpper": 0.182, "mouthShrugLower": -0.688, "mouthShrugUpper": 0.526,
    "mouthPress": -0.254, "mouthLowerDown": 0.676, "mouthUpperUp": 0.709, "mouthStretch": -0.031,
    "mouthSmile": 0.007, "mouthDimple": -0.072, "cheekSquint": 0.037, "cheekPuff": -0.044,
}  # fmt: skip
REST_GAP_CM: Final = 0.076  # of the neutral rig


def columns(axis: str) -> tuple[int, ...]:
    """Indices in `EXPRESSION_NAMES` that an axis moves: one, or left and right."""
    if axis in EXPRESSION_INDEX:
        return (EXPRESSION_INDEX[axis],)
    return EXPRESSION_INDEX[f"{axis}_L"], EXPRESSION_INDEX[f"{axis}_R"]
