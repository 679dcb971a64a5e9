"""Studio people drawn as a renderer would: what the measuring devices read of frames whose motion is known exactly."""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor
from tqdm import tqdm

from benchmarks.face_read_out import Array, NoFaceError, turn_matrix
from benchmarks.iris_shift import NoIrisError
from benchmarks.renderer_controls import Draw, Measured, measure_person
from generator.motion_block import MotionBlock
from generator.rig_fit import RigShape
from generator.studio.head_model import StudioRig
from generator.studio.procedural_person import build_person
from generator.studio.skin_atlas import build_atlas
from generator.studio.stage import Stage
from generator.studio.take_sampling import Target, draw_source
from generator.studio.takes import draw_setting, frame_source, moments_of
from generator.working_picture import SIZE_PX

OVERSAMPLING = 1.0
NEUTRAL_SHARE = 0.5  # of the drawn resting expression that is kept


def measure_exact(rig: RigShape, scale: Array, folder: Path, count: int, seed: int) -> list[Measured]:
    """The device's readings of `count` procedural people; folder: of the full rig."""
    out = []
    for index, (source, draw) in enumerate(exact_people(folder, count, seed)):
        try:
            out.append(measure_person(rig, scale, source, draw, np.random.default_rng([seed, index])))
        except (NoFaceError, NoIrisError) as unread:
            print(f"left out studio person {index}: {unread}", file=sys.stderr)
    return out


def exact_people(folder: Path, count: int, seed: int) -> Iterator[tuple[Tensor, Draw]]:
    """Source uint8 [3, 512, 512] and how to draw its person; gaze into the camera, glasses left off."""
    rig = StudioRig(folder)
    atlas = build_atlas(rig)
    for index in tqdm(range(count), desc="studio people", disable=not sys.stderr.isatty()):
        rng = np.random.default_rng([seed, index])
        person = replace(build_person(rig, atlas, rng), glasses=None)
        stage = Stage(person, draw_setting(rng, SIZE_PX, OVERSAMPLING, rig.device))
        drawn = draw_source(rng)
        source = replace(drawn, gaze_deg=np.zeros(2, np.float32), expression=drawn.expression * NEUTRAL_SHARE)
        at = frame_source(person.head, source, SIZE_PX, (1.0, 0.0, 0.0))
        draw = functools.partial(_draw, stage, source, at)
        yield draw(MotionBlock.still(1))[0], draw


def _draw(stage: Stage, source: Target, at: np.ndarray[tuple[int], np.dtype[np.float32]], block: MotionBlock) -> Tensor:
    """Motion relative to `source` -> frames uint8 [N, 3, 512, 512]."""
    yaw, pitch, roll = (float(angle) for angle in source.pose_deg)
    rest = turn_matrix(yaw, pitch, roll)
    targets = []
    for pose, expression, gaze in zip(block.pose, block.expression, block.gaze, strict=True):
        turned = Rotation.from_matrix(turn_matrix(*pose[:3].tolist()) @ rest)
        angles = turned.as_euler("ZXY", degrees=True)[[2, 1, 0]].astype(np.float32)
        weights = np.clip(source.expression + expression.numpy(), 0, 1).astype(np.float32)
        targets.append(replace(source, pose_deg=angles, expression=weights, gaze_deg=gaze.numpy()))
    moments = moments_of([source, *targets], at, stage.device)[1:]
    return torch.stack([stage.draw(moment).rgb.permute(2, 0, 1).contiguous() for moment in moments])
