"""Six emotions as offsets of rig weights and of the head, scaled by strength.

Shapes follow the action units that Ekman and Friesen's coding system ascribes to each emotion, as far as the rig has
them: happy 6+12, sad 1+4+15, angry 4+5+7+23, surprised 1+2+5, afraid 1+2+4+5+20, disgusted 9+15. Where they
would part the lips, `generator.motion_face` takes it back: an emotion must not open closed lips.
"""

from __future__ import annotations

from typing import Final

OFFSETS: Final[dict[str, dict[str, float]]] = {
    "neutral": {},
    "happy": {"mouthSmile": 0.55, "cheekSquint": 0.5, "eyeSquint": 0.2, "mouthDimple": 0.15, "browOuterUp": 0.12},
    "sad": {"browInnerUp": 0.85, "browDown": 0.15, "mouthFrown": 0.6, "mouthShrugLower": 0.08, "eyeSquint": 0.25},
    "angry": {"browDown": 1.0, "eyeSquint": 0.5, "noseSneer": 0.25, "mouthPress": 0.25, "mouthFrown": 0.25},
    "surprised": {"browInnerUp": 0.85, "browOuterUp": 0.9, "eyeWide": 0.8},
    "afraid": {"browInnerUp": 0.95, "browOuterUp": 0.4, "browDown": 0.35, "eyeWide": 0.7, "mouthStretch": 0.5},
    "disgusted": {"noseSneer": 0.75, "browDown": 0.5, "eyeSquint": 0.45, "mouthFrown": 0.35, "cheekSquint": 0.4},
}  # fmt: skip
HEAD_PITCH_DEG: Final = {"sad": 3.0, "angry": 1.5, "surprised": -1.5, "disgusted": -1.0}  # positive lowers the chin
SNEER_GAP_CM: Final = 0.62  # lip distance at noseSneer 1: it lifts the upper lip
