"""What the frames of a take show: pose, place, expression and gaze, drawn independently of each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from generator.rig import EXPRESSION_INDEX, EXPRESSION_NAMES
from generator.studio.rig_mesh import rotation

Array = NDArray[np.float32]
YAW_DEG, PITCH_DEG, ROLL_DEG = 30.0, 18.0, 12.0
NEARER, FARTHER = 0.85, 1.2  # of the source's distance
EYE_IN_HEAD_DEG = (38.0, 26.0)
LID_DOWN_DEG, LID_UP_DEG, LID_SIDE_DEG = 23.0, 28.0, 38.0

# Never both: the weaker of the two is dropped (measured on the rig).
_OPPOSITES = (
    ("jawLeft", "jawRight"), ("mouthLeft", "mouthRight"), ("mouthClose", "mouthLowerDown"),
    ("mouthShrugLower", "mouthLowerDown"), ("mouthPress", "mouthLowerDown"), ("mouthPress", "mouthPucker"),
    ("mouthDimple", "mouthPucker"), ("mouthDimple", "mouthPress"), ("mouthSmile", "mouthPucker"),
    ("mouthRollLower", "mouthPress"), ("mouthRollLower", "mouthPucker"), ("mouthRollLower", "mouthDimple"),
    ("browOuterUp", "browDown"), ("eyeBlink", "eyeWide"), ("mouthFrown", "mouthSmile"), ("mouthFunnel", "mouthPress"),
)  # fmt: skip
_ALONE_AT_MOST = {
    "mouthShrugLower": 0.5,
    "mouthRollLower": 0.6,
    "mouthFunnel": 0.9,
    "cheekPuff": 0.8,
    "jawForward": 0.7,
}

# Mouth shapes of speech, weights at full strength.
_VISEMES: tuple[dict[str, float], ...] = (
    {"jawOpen": 0.45, "mouthLowerDown": 0.25, "mouthUpperUp": 0.15},
    {"jawOpen": 0.28, "mouthStretch": 0.35, "mouthLowerDown": 0.25},
    {"jawOpen": 0.14, "mouthStretch": 0.45, "mouthSmile": 0.25, "mouthLowerDown": 0.3, "mouthUpperUp": 0.2},
    {"jawOpen": 0.32, "mouthFunnel": 0.6},
    {"jawOpen": 0.14, "mouthPucker": 0.75, "mouthFunnel": 0.25},
    {"mouthPress": 0.5, "mouthRollUpper": 0.2, "mouthRollLower": 0.25},
    {"jawOpen": 0.06, "mouthRollLower": 0.5, "mouthUpperUp": 0.3},
    {"jawOpen": 0.08, "mouthFunnel": 0.45, "mouthUpperUp": 0.25, "mouthLowerDown": 0.35},
    {"jawOpen": 0.10, "mouthLowerDown": 0.35, "mouthUpperUp": 0.2},
    {"jawOpen": 0.18, "mouthUpperUp": 0.15, "mouthShrugUpper": 0.2},
)
_EMOTIONS: tuple[dict[str, float], ...] = (
    {"mouthSmile": 0.9, "cheekSquint": 0.6, "eyeSquint": 0.35, "mouthUpperUp": 0.35, "mouthDimple": 0.2},
    {
        "mouthSmile": 0.6,
        "mouthStretch": 0.3,
        "mouthLowerDown": 0.4,
        "mouthUpperUp": 0.5,
        "jawOpen": 0.12,
        "cheekSquint": 0.5,
    },
    {"mouthFrown": 0.7, "browInnerUp": 0.7, "mouthShrugLower": 0.25},
    {"browDown": 0.9, "eyeSquint": 0.4, "noseSneer": 0.4, "mouthPress": 0.3},
    {"browInnerUp": 0.8, "browOuterUp": 0.8, "eyeWide": 0.7, "jawOpen": 0.25},
    {"noseSneer": 0.8, "mouthUpperUp": 0.5, "browDown": 0.5, "cheekSquint": 0.4},
    {"browInnerUp": 0.6, "eyeWide": 0.5, "mouthStretch": 0.5},
)


@dataclass(frozen=True)
class Target:
    """Of one frame. expression: [53] without the lids' share in the gaze; pose: yaw, pitch, roll, absolute, degrees;
    shift_cm: [3] of the head and shoulders from the source's place; gaze: [2] degrees relative to the camera."""

    expression: Array
    pose_deg: Array
    shift_cm: Array
    distance: float
    gaze_deg: Array


def set_weight(weights: Array, name: str, value: float) -> None:
    """Both sides when `name` has no side."""
    for axis in [name] if name in EXPRESSION_INDEX else [f"{name}_L", f"{name}_R"]:
        weights[EXPRESSION_INDEX[axis]] = value


def draw_source(rng: np.random.Generator) -> Target:
    """Near frontal, eyes open; lips closed or nearly in 70 %, else slightly open or smiling."""
    weights = np.zeros(len(EXPRESSION_NAMES), np.float32)
    for name in ("browInnerUp", "browDown", "eyeSquint", "eyeWide", "cheekSquint"):
        set_weight(weights, name, float(np.clip(rng.normal(0, 0.08), 0, 0.2)))
    kind = rng.random()
    if kind < 0.7:
        set_weight(weights, "mouthPress", float(rng.uniform(0, 0.25)))
        set_weight(weights, "mouthSmile", float(rng.uniform(0, 0.3) * (rng.random() < 0.5)))
        set_weight(weights, "mouthFrown", float(rng.uniform(0, 0.2) * (rng.random() < 0.2)))
        set_weight(weights, "jawOpen", float(rng.uniform(0, 0.015)))
    elif kind < 0.85:
        set_weight(weights, "jawOpen", float(rng.uniform(0.04, 0.16)))
        set_weight(weights, "mouthLowerDown", float(rng.uniform(0, 0.2)))
    else:
        _add(weights, _EMOTIONS[int(rng.integers(0, 2))], float(rng.uniform(0.5, 1.0)))
    pose = rng.uniform(-8, 8, 3).astype(np.float32)
    gaze = rng.uniform(-8, 8, 2).astype(np.float32)
    return Target(settle(weights), pose, np.zeros(3, np.float32), 1.0, gaze)


def draw_target(rng: np.random.Generator, source: Target) -> Target:
    """Relative to `source`: yaw within 30, pitch 18, roll 12 degrees; distance 0.85 to 1.2."""
    reach = np.array([YAW_DEG, PITCH_DEG, ROLL_DEG])
    flat = rng.random() < 0.7
    change = rng.uniform(-1, 1, 3) if flat else np.clip(rng.normal(0, 0.35, 3), -1, 1)
    pose = (source.pose_deg + change * reach).astype(np.float32)
    distance = float(np.exp(rng.uniform(np.log(NEARER), np.log(FARTHER)))) if rng.random() < 0.8 else 1.0
    shift = np.array([rng.normal(0, 1.3), rng.normal(0, 0.9), 0.0]) * (rng.random() < 0.8)
    gaze = rng.uniform([-25, -15], [25, 15]) if rng.random() < 0.7 else rng.normal(0, 4, 2)
    return Target(draw_expression(rng), pose, shift.clip(-4, 4).astype(np.float32), distance, gaze.astype(np.float32))


def draw_expression(rng: np.random.Generator) -> Array:
    """[53]: speech, emotions and sparse random shapes, mixed; a fifth with shut or half-shut eyes."""
    weights = np.zeros(len(EXPRESSION_NAMES), np.float32)
    if rng.random() < 0.62:
        first, second = rng.choice(len(_VISEMES), 2, replace=False)
        share = rng.uniform(0, 1)
        strength = rng.uniform(0.5, 1.25)
        _add(weights, _VISEMES[first], strength * share)
        _add(weights, _VISEMES[second], strength * (1 - share))
    if rng.random() < 0.42:
        _add(
            weights,
            _EMOTIONS[int(rng.choice(len(_EMOTIONS), p=[0.24, 0.22, 0.12, 0.12, 0.12, 0.08, 0.10]))],
            rng.uniform(0.4, 1.1),
        )
    if rng.random() < 0.18:
        set_weight(weights, "jawOpen", float(rng.uniform(0.3, 0.62)))
    if rng.random() < 0.5:
        for name in rng.choice(
            [n for n in EXPRESSION_NAMES if not n.startswith(("eyeLook", "eyeBlink"))], 3, replace=False
        ):
            weights[EXPRESSION_INDEX[str(name)]] += rng.uniform(0.1, 0.7)
    for name in ("browInnerUp", "browOuterUp", "browDown"):
        if rng.random() < 0.25:
            set_weight(weights, name, float(rng.uniform(0.2, 1.0)))
    kind = rng.random()
    if kind < 0.10:
        set_weight(weights, "eyeBlink", 1.0)
    elif kind < 0.20:
        set_weight(weights, "eyeBlink", float(rng.uniform(0.2, 0.95)))
    elif kind < 0.23:
        set_weight(weights, str(rng.choice(["eyeBlink_L", "eyeBlink_R"])), float(rng.uniform(0.5, 1.0)))
    return settle(weights)


def _add(weights: Array, shape: dict[str, float], strength: float) -> None:
    for name, value in shape.items():
        for axis in [name] if name in EXPRESSION_INDEX else [f"{name}_L", f"{name}_R"]:
            weights[EXPRESSION_INDEX[axis]] += strength * value


def settle(weights: Array) -> Array:
    """Weights in 0..1 without pairs that oppose each other or make the lips pass through each other."""
    out = np.clip(weights, 0, 1).astype(np.float32)
    for name, limit in _ALONE_AT_MOST.items():
        for axis in [name] if name in EXPRESSION_INDEX else [f"{name}_L", f"{name}_R"]:
            out[EXPRESSION_INDEX[axis]] = min(out[EXPRESSION_INDEX[axis]], limit)
    jaw = float(out[EXPRESSION_INDEX["jawOpen"]])
    out[EXPRESSION_INDEX["jawOpen"]] = min(jaw, 0.65)
    out[EXPRESSION_INDEX["mouthClose"]] = min(float(out[EXPRESSION_INDEX["mouthClose"]]), 0.84 * jaw)
    for first, second in _OPPOSITES:
        for side in ("_L", "_R"):
            a, b = (EXPRESSION_INDEX.get(n + side, EXPRESSION_INDEX.get(n, -1)) for n in (first, second))
            weaker = a if out[a] < out[b] else b
            out[weaker] = min(float(out[weaker]), 0.15 * (1 - float(max(out[a], out[b]))))
    return out


def follow_with_lids(expression: Array, pose_deg: Array, gaze_deg: Array) -> tuple[Array, Array]:
    """Gaze that the eyes can reach in the turned head, and the expression with eyeLook* for it."""
    head = rotation(*(float(p) for p in pose_deg))
    yaw, pitch = np.radians(gaze_deg.astype(np.float64))
    seen = np.array([np.sin(yaw) * np.cos(pitch), -np.sin(pitch), np.cos(yaw) * np.cos(pitch)])
    own = head.T @ seen
    own_yaw, own_pitch = np.degrees(np.arctan2(own[0], own[2])), np.degrees(np.arcsin(-own[1]))
    limit_yaw, limit_pitch = EYE_IN_HEAD_DEG
    own_yaw, own_pitch = np.clip(own_yaw, -limit_yaw, limit_yaw), np.clip(own_pitch, -limit_pitch, limit_pitch)
    a, b = np.radians([own_yaw, own_pitch])
    back = head @ np.array([np.sin(a) * np.cos(b), -np.sin(b), np.cos(a) * np.cos(b)])
    gaze = np.degrees([np.arctan2(back[0], back[2]), np.arcsin(np.clip(-back[1], -1, 1))]).astype(np.float32)
    out = expression.copy()
    down, up = np.clip(own_pitch / LID_DOWN_DEG, 0, 1), np.clip(-own_pitch / LID_UP_DEG, 0, 1)
    left, right = np.clip(own_yaw / LID_SIDE_DEG, 0, 1), np.clip(-own_yaw / LID_SIDE_DEG, 0, 1)
    amounts = {
        "Down_L": down,
        "Down_R": down,
        "Up_L": up,
        "Up_R": up,
        "Out_L": left,
        "In_R": left,
        "In_L": right,
        "Out_R": right,
    }
    for name, amount in amounts.items():
        out[EXPRESSION_INDEX["eyeLook" + name]] = amount
    return gaze, out
