"""Pose, gaze and expression asked against those measured on the output, and what leaks from one into the other.

Per held-out portrait: the still frame, `POSES` turns, `GAZES` directions of the eyes and one frame per control of
`benchmarks.face_read_out`, each changing that one thing alone. All are read by the device of that module.

pose_error_deg      mean of |asked - measured| over yaw, pitch and roll, of turns drawn evenly from ±25, ±15, ±15
                    degrees; measured: from the portrait's own pose to the output's.
gaze_error_deg      mean angle between the directions asked (±20 yaw, ±12 pitch) and measured, as the eyes' change
                    from the still frame, which is asked to look into the camera.
leakage_pct         the larger of: pose -> expression, the mean change of a control's weight (full range 1) when only
                    the pose is changed; expression -> pose, the mean change of yaw, pitch, roll over their ranges
                    (50, 30, 30 degrees) when only a control is changed, fully or as far as the portrait allows.
                    Weights are divided by the device's scale; its noise is part of the figure.
"""

from __future__ import annotations

import csv
import hashlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from benchmarks.face_read_out import (
    CONTROLS,
    Array,
    NoFaceError,
    angle_between_deg,
    landmarks_of,
    meet,
    pose_change_deg,
    read,
    stored_scale,
    turn_matrix,
)
from benchmarks.interval import mean_interval
from benchmarks.iris_shift import NoIrisError, gaze_change_deg
from benchmarks.results_page import Row, Rows
from detector.training.portrait_faces import split_of
from generator.errors import GeneratorError
from generator.motion_block import MotionBlock
from generator.rig import EXPRESSION_INDEX
from generator.rig_fit import RigShape
from generator.working_picture import SIZE_PX
from media import read_portrait

POSE_RANGE_DEG = np.array([25.0, 15.0, 15.0])  # yaw, pitch, roll to either side
GAZE_RANGE_DEG = np.array([20.0, 12.0])
POSES, GAZES = 8, 6
FULL = {"jaw open": 0.5}  # weight that counts as full; 1 for the others: jawOpen 1 is beyond any speech
SEED = 7

Draw = Callable[[MotionBlock], Tensor]
"""Motion -> frames uint8 [N, 3, 512, 512] of one portrait."""


@dataclass(frozen=True, eq=False)
class Measured:
    """Of one portrait (P poses, G gazes, C controls); NaN where the device found no face or no open eye."""

    pose_asked_deg: Array  # [P, 3]
    pose_deg: Array  # [P, 3]
    gaze_asked_deg: Array  # [G, 2]
    gaze_deg: Array  # [G, 2]
    controls_by_pose: Array  # [P, C] change of weights when only the pose changes
    pose_by_control_deg: Array  # [C, 3] change of pose when only a control changes
    response: Array  # [C] weight read over weight asked


@dataclass(frozen=True)
class Portrait:
    """A held-out portrait: `person` names whom it shows."""

    person: str
    path: Path


def held_out_portraits(folder: Path, count: int, seed: int = SEED) -> list[Portrait]:
    """`count` portraits of the test split of `folder/index.csv`, in a seeded order."""
    with (folder / "index.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if split_of(row["person_id"]) == "test"]
    rows.sort(key=lambda row: hashlib.sha256(f"{seed} {row['person_id']}".encode()).digest())
    return [Portrait(row["person_id"], folder / row["file"]) for row in rows[:count]]


def asked_motion(rng: np.random.Generator) -> tuple[MotionBlock, Array, Array]:
    """Still frame, poses, gazes, controls, one change each; and the poses [P, 3] and gazes [G, 2] in degrees."""
    poses = rng.uniform(-1, 1, (POSES, 3)) * POSE_RANGE_DEG
    gazes = rng.uniform(-1, 1, (GAZES, 2)) * GAZE_RANGE_DEG
    block = MotionBlock.still(1 + POSES + GAZES + len(CONTROLS))
    block.pose[1 : 1 + POSES, :3] = torch.from_numpy(poses).float()
    block.gaze[1 + POSES : 1 + POSES + GAZES] = torch.from_numpy(gazes).float()
    for row, (name, axes) in enumerate(CONTROLS.items(), start=1 + POSES + GAZES):
        block.expression[row, [EXPRESSION_INDEX[axis] for axis in axes]] = FULL.get(name, 1.0)
    return block, poses, gazes


def measure_person(rig: RigShape, scale: Array, source: Tensor, draw: Draw, rng: np.random.Generator) -> Measured:
    """source: uint8 [3, 512, 512], the portrait as the renderer frames it. Raises `NoFaceError`, `NoIrisError`."""
    block, poses, gazes = asked_motion(rng)
    frames = draw(block)
    person = meet(rig, landmarks_of(source), SIZE_PX)
    marks = [_landmarks_or_none(frame) for frame in frames]
    if marks[0] is None:
        raise NoFaceError("no face found in the still frame")
    readings = [None if m is None else read(person, m) for m in marks]
    still = readings[0]
    assert still is not None

    def turned(of: int, since: Array) -> Array:
        reading = readings[of]
        return np.full(3, np.nan) if reading is None else pose_change_deg(since, reading.rotation)

    def changed(of: int) -> Array:
        reading = readings[of]
        if reading is None:
            return np.full(len(CONTROLS), np.nan)
        return (reading.controls - still.controls) / scale

    first_gaze, first_control = 1 + POSES, 1 + POSES + GAZES
    gaze_deg = []
    for index in range(first_gaze, first_control):
        landmarks = marks[index]
        try:
            if landmarks is None:
                raise NoIrisError("no face")
            gaze_deg.append(gaze_change_deg(person, frames[0], marks[0], frames[index], landmarks))
        except NoIrisError:
            gaze_deg.append(np.full(2, np.nan))
    asked = np.array([FULL.get(name, 1.0) for name in CONTROLS])
    by_control = np.array([changed(first_control + i)[i] for i in range(len(CONTROLS))])
    return Measured(
        pose_asked_deg=poses,
        pose_deg=np.array([turned(1 + i, person.rotation) for i in range(POSES)]),
        gaze_asked_deg=gazes,
        gaze_deg=np.array(gaze_deg),
        controls_by_pose=np.array([changed(1 + i) for i in range(POSES)]),
        pose_by_control_deg=np.array([turned(first_control + i, still.rotation) for i in range(len(CONTROLS))]),
        response=by_control / asked,
    )


def _landmarks_or_none(frame: Tensor) -> Array | None:
    try:
        return landmarks_of(frame)
    except NoFaceError:
        return None


def measure_portraits(
    rig: RigShape, draw_for: Callable[[Tensor], tuple[Tensor, Draw]], portraits: Sequence[Portrait], seed: int = SEED
) -> list[Measured]:
    """`draw_for`: portrait -> its working picture and how to draw it. Refused portraits are left out, and said."""
    scale, out = stored_scale(), []
    for index, portrait in enumerate(tqdm(portraits, desc="controls", disable=not sys.stderr.isatty())):
        try:
            source, draw = draw_for(read_portrait(portrait.path))
            out.append(measure_person(rig, scale, source, draw, np.random.default_rng([seed, index])))
        except (GeneratorError, NoFaceError) as refusal:
            print(f"left out portrait {index}: {refusal}", file=sys.stderr)
    return out


def pose_rows(measured: Sequence[Measured], prefix: str = "") -> Rows:
    """Also the angle between asked and measured turn, and what is measured per degree asked."""
    asked = [m.pose_asked_deg for m in measured]
    read_off = [m.pose_deg for m in measured]
    errors = [np.abs(a - b) for a, b in zip(asked, read_off, strict=True)]
    n = sum(int(np.isfinite(e).all(1).sum()) for e in errors)
    rows = {f"{prefix}pose_error_deg": _mean_row([e.ravel() for e in errors], "degrees, mean of yaw, pitch, roll", n)}
    for axis, name in enumerate(("yaw", "pitch", "roll")):
        rows[f"{prefix}pose_error_{name}_deg"] = _mean_row([e[:, axis] for e in errors], "degrees", n)
        rows[f"{prefix}pose_gain_{name}"] = {
            "value": _slope(np.concatenate(asked)[:, axis], np.concatenate(read_off)[:, axis]),
            "unit": "degrees measured per degree asked",
            "n": n,
        }
    angles = [
        np.array([_turn_between(x, y) for x, y in zip(a, b, strict=True)]) for a, b in zip(asked, read_off, strict=True)
    ]
    rows[f"{prefix}pose_error_turn_deg"] = _mean_row(angles, "degrees, of the one turn from asked to measured", n)
    return rows


def gaze_rows(measured: Sequence[Measured], prefix: str = "") -> Rows:
    asked, read_off = ([getattr(m, name) for m in measured] for name in ("gaze_asked_deg", "gaze_deg"))
    angles = [_between_directions(a, b) for a, b in zip(asked, read_off, strict=True)]
    n = sum(int(np.isfinite(a).sum()) for a in angles)
    rows = {f"{prefix}gaze_error_deg": _mean_row(angles, "degrees between directions", n)}
    for axis, name in enumerate(("yaw", "pitch")):
        rows[f"{prefix}gaze_gain_{name}"] = {
            "value": _slope(np.concatenate(asked)[:, axis], np.concatenate(read_off)[:, axis]),
            "unit": "degrees measured per degree asked",
            "n": n,
        }
    return rows


def leakage_rows(measured: Sequence[Measured], prefix: str = "") -> Rows:
    by_pose = [np.abs(m.controls_by_pose) * 100 for m in measured]
    by_control = [np.abs(m.pose_by_control_deg) / (2 * POSE_RANGE_DEG) * 100 for m in measured]
    n = sum(len(b) for b in by_pose)
    to_expression = _mean_row([b.ravel() for b in by_pose], "% of a control's range", n)
    to_pose = _mean_row([b.ravel() for b in by_control], "% of the pose's range", sum(len(b) for b in by_control))
    worse = max(to_expression, to_pose, key=lambda row: float(row["value"]))
    rows = {
        f"{prefix}leakage_pct": {**worse, "unit": "% of the range, worse direction"},
        f"{prefix}leakage_pose_to_expression_pct": to_expression,
        f"{prefix}leakage_expression_to_pose_pct": to_pose,
    }
    for index, name in enumerate(CONTROLS):
        key = name.replace(" ", "_")
        one = [b[:, index] for b in by_pose]
        rows[f"{prefix}leakage_pose_to_{key}_pct"] = _mean_row(one, "% of the control's range", n)
        answers = [m.response[index : index + 1] for m in measured]
        rows[f"{prefix}response_{key}"] = _mean_row(answers, "weight measured per weight asked", len(answers))
    return rows


def _mean_row(per_portrait: Sequence[Array], unit: str, n: int) -> Row:
    """Mean over frames, interval by resampling portraits."""
    values = [v[np.isfinite(v)] for v in per_portrait]
    mean, interval = mean_interval([v for v in values if len(v)])
    return {"value": mean, "unit": unit, "n": n, "ci95": interval}


def _slope(asked: Array, read_off: Array) -> float:
    known = np.isfinite(read_off)
    return float(np.polyfit(asked[known], read_off[known], 1)[0])


def _turn_between(asked_deg: Array, read_deg: Array) -> float:
    if not np.isfinite(read_deg).all():
        return float("nan")
    return angle_between_deg(turn_matrix(*asked_deg), turn_matrix(*read_deg))


def _between_directions(one: Array, other: Array) -> Array:
    """Degrees between directions [N, 2] of yaw and pitch."""

    def direction(deg: Array) -> Array:
        yaw, pitch = np.radians(deg).T
        return np.stack([np.sin(yaw) * np.cos(pitch), -np.sin(pitch), np.cos(yaw) * np.cos(pitch)], -1)

    return np.asarray(np.degrees(np.arccos(np.clip((direction(one) * direction(other)).sum(-1), -1, 1))))
