"""From a person to the tensors of a take: framing, background, targets, labels, file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save
from torch import Tensor

from generator.face_landmarks import CHIN, FOREHEAD_TOP
from generator.rig_fit import FOCAL
from generator.studio import take_sampling
from generator.studio.head_model import StudioHead, to_pixels
from generator.studio.lifted_person import LiftedPerson
from generator.studio.lifted_stage import LiftedStage, draw_lifted_target, lifted_moments
from generator.studio.lighting import draw_light, linear_of
from generator.studio.portrait_source import FittedPortrait
from generator.studio.rig_mesh import rotation
from generator.studio.scene import Frame, Moment, Person, Setting
from generator.studio.stage import Stage
from generator.studio.take_sampling import Target
from generator.working_picture import FACE_HEIGHTS_WIDE

Array = NDArray[np.float32]
_NECK_TO_CENTRE = np.array([0.0, 8.0, 3.0], np.float32)  # cm, from the pivot in the neck to HEAD_CENTRE
_NECK_SHARE = 0.6
_CENTRE_BELOW = 0.04  # of half the side: the working picture's centre lies above the middle of the face


class Drawn(Protocol):
    """Anything that draws the moments of one take."""

    def draw(self, moment: Moment) -> Frame: ...


def frame_source(head: StudioHead, source: Target, size_px: int, jitter: tuple[float, float, float]) -> Array:
    """Translation [3] cm that puts the source into the working picture: side 2.1 face heights, see
    `working_picture.square_around`; jitter: relative scale, shift right and down in sides."""
    device = head.rig.device
    turn = torch.from_numpy(rotation(*map(float, source.pose_deg))).to(device)
    v = head.shape(torch.from_numpy(source.expression).to(device)) @ turn.T
    ends = v[head.rig.landmark_vertex[[FOREHEAD_TOP, CHIN]]]
    at = torch.tensor([0.0, 0.0, -97.0], device=device)
    height = size_px / FACE_HEIGHTS_WIDE * jitter[0]
    wanted = torch.tensor([0.5 + jitter[1], 0.5 + 0.5 * _CENTRE_BELOW + jitter[2]], device=device) * size_px
    for _ in range(8):
        px = to_pixels(ends + at, size_px)[:, :2]
        at[2] *= float((px[0] - px[1]).norm()) / height
        px = to_pixels(ends + at, size_px)[:, :2]
        cm_per_px = 2 * float(-at[2]) / (FOCAL * size_px)
        off = (wanted - px.mean(0)) * cm_per_px
        at[0] += off[0]
        at[1] -= off[1]
    return at.cpu().numpy()


def moments_of(targets: list[Target], at: Array, device: torch.device) -> list[Moment]:
    """Shoulders keep the source's direction and go with the head's place; the head turns about the neck."""
    first = rotation(*map(float, targets[0].pose_deg))
    body_rotation = rotation(0.5 * float(targets[0].pose_deg[0]), 0, 0)
    moments = []
    for target in targets:
        turn = rotation(*map(float, target.pose_deg))
        body_at = at + target.shift_cm
        body_at[2] = at[2] * target.distance
        head_at = body_at + _NECK_SHARE * ((turn - first) @ _NECK_TO_CENTRE)
        gaze, expression = take_sampling.follow_with_lids(target.expression, target.pose_deg, target.gaze_deg)
        arrays = (expression, turn, head_at, body_rotation, body_at, gaze)
        moments.append(Moment(*(torch.tensor(a, dtype=torch.float32, device=device) for a in arrays)))
    return moments


def draw_setting(rng: np.random.Generator, size_px: int, oversampling: float, device: torch.device) -> Setting:
    light = draw_light(rng, device)
    cloth = linear_of(np.clip(rng.uniform(0.05, 0.95) + rng.normal(0, 0.16, 3), 0.03, 0.95))
    background = torch.from_numpy(draw_background(rng, size_px)).to(device)
    colour = torch.tensor(cloth, dtype=torch.float32, device=device)
    pattern = float(rng.choice([0.0, rng.uniform(0.02, 0.15)]))
    return Setting(light, background, colour, pattern, size_px, oversampling)


def draw_background(rng: np.random.Generator, size_px: int) -> Array:
    """Display values [S, S, 3] 0..1: studio backdrop, out-of-focus room, or lights at night."""
    y, x = np.mgrid[0:size_px, 0:size_px].astype(np.float32) / size_px - 0.5
    base = np.clip(rng.uniform(0.06, 0.92) + rng.normal(0, 0.09, 3), 0.02, 0.97)
    glow = np.exp(-((x - rng.normal(0, 0.3)) ** 2 + (y - rng.normal(0, 0.2)) ** 2) / rng.uniform(0.05, 0.5))
    out = (
        base * (1 + rng.uniform(-0.3, 0.5) * glow + rng.uniform(-0.5, 0.5) * y + rng.uniform(-0.4, 0.4) * x)[..., None]
    )
    kind = rng.random()
    if kind > 0.35:
        layer = out.astype(np.float32)
        for _ in range(int(rng.integers(4, 22))):
            colour = np.clip(rng.uniform(0, 1) + rng.normal(0, 0.15, 3), 0, 1).tolist()
            c = (rng.uniform(-0.1, 1.1, 2) * size_px).astype(int)
            half = (rng.uniform(0.02, 0.3, 2) * size_px).astype(int)
            if rng.random() < 0.7:
                cv2.rectangle(layer, (c - half).tolist(), (c + half * [1, 2]).tolist(), colour, -1)
            else:
                cv2.circle(layer, c.tolist(), int(half[0]), colour, -1)
        layer = cv2.GaussianBlur(layer, (0, 0), float(size_px * rng.uniform(0.006, 0.05)))
        share = rng.uniform(0.3, 1.0)
        out = out * (1 - share) + layer * share
    cloud = cv2.GaussianBlur(rng.standard_normal((size_px, size_px)).astype(np.float32), (0, 0), size_px / 14)
    grain = rng.standard_normal((size_px, size_px, 1)) * rng.uniform(0, 0.012)
    out = out * (1 + rng.uniform(0, 0.08) * (cloud / cloud.std())[..., None]) + grain
    return np.asarray(np.clip(out, 0, 1), np.float32)


def procedural_take(
    person: Person, rng: np.random.Generator, frames: int, size_px: int, oversampling: float
) -> dict[str, Tensor]:
    """All tensors of one take of `frames` frames, the first is the source."""
    device = person.head.rig.device
    setting = draw_setting(rng, size_px, oversampling, device)
    source = take_sampling.draw_source(rng)
    targets = [source, *(take_sampling.draw_target(rng, source) for _ in range(frames - 1))]
    jitter = (float(rng.normal(1, 0.012)), float(rng.normal(0, 0.006)), float(rng.normal(0, 0.006)))
    moments = moments_of(targets, frame_source(person.head, source, size_px, jitter), device)
    tensors = draw_take(Stage(person, setting), moments)
    tensors["identity"] = torch.from_numpy(person.head.identity)
    tensors["light"] = setting.light.parameters()
    return tensors


def lifted_take(
    portrait: FittedPortrait, person: LiftedPerson, rng: np.random.Generator, frames: int, size_px: int,
    oversampling: float,
) -> dict[str, Tensor]:  # fmt: skip
    """As `procedural_take`; the first frame is the photo itself."""
    pose = np.array(portrait.fit.yaw_pitch_roll_deg, np.float32)
    source = Target(person.rest_expression, pose, np.zeros(3, np.float32), 1.0, person.rest_gaze)
    targets = [source, *(draw_lifted_target(rng, source) for _ in range(frames - 1))]
    moments = lifted_moments(person, targets)
    stage = LiftedStage(person, size_px, oversampling)
    drawn = [stage.source_frame(moments[0], portrait.landmarks, portrait.photo), *map(stage.draw, moments[1:])]
    tensors = gather_take(drawn, moments)
    tensors["identity"] = torch.from_numpy(person.head.identity)
    tensors["light"] = person.light.reshape(-1)
    return tensors


def draw_take(stage: Drawn, moments: list[Moment]) -> dict[str, Tensor]:
    return gather_take([stage.draw(moment) for moment in moments], moments)


def gather_take(drawn: list[Frame], moments: list[Moment]) -> dict[str, Tensor]:
    poses = [_yaw_pitch_roll(moment.rotation.cpu().numpy()) for moment in moments]
    tensors = {
        "frames": torch.stack([f.rgb for f in drawn]),
        "mask": torch.stack([f.mask for f in drawn]),
        "landmarks": torch.stack([f.landmarks for f in drawn]),
        "visible": torch.stack([f.visible for f in drawn]),
        "pose": torch.tensor(np.array(poses), dtype=torch.float32),
        "translation": torch.stack([m.translation for m in moments]),
        "expression": torch.stack([m.expression for m in moments]),
        "gaze": torch.stack([m.gaze_deg for m in moments]),
    }
    return {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}


def _yaw_pitch_roll(turn: Array) -> tuple[float, float, float]:
    """Degrees, as `HeadFit.yaw_pitch_roll_deg`: turn = roll @ pitch @ yaw."""
    pitch = np.arcsin(np.clip(turn[2, 1], -1, 1))
    yaw = np.arctan2(-turn[2, 0], turn[2, 2])
    roll = np.arctan2(-turn[0, 1], turn[1, 1])
    yaw_deg, pitch_deg, roll_deg = np.degrees([yaw, pitch, roll])
    return float(yaw_deg), float(pitch_deg), float(roll_deg)


def write_take(path: Path, tensors: dict[str, Tensor], facts: Mapping[str, str]) -> None:
    """One safetensors file, the same bytes for the same content; written under a temporary name, then renamed."""
    data = save(tensors, metadata=dict(facts))
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    temporary.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])
    temporary.replace(path)
