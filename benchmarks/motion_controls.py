"""Controls asked against those measured on rendered frames, by the devices of the renderer's benchmark.

The demo portrait, and held-out portraits where the data is there, speak or rest with one control changed at a time.

control_gaze_deg      mean angle between the asked directions (±15 yaw, ±9 pitch) and measured, against the same frames
                      with the gaze into the camera (`iris_shift`)
control_distance_pct  mean error of the head's distance in per cent of it (`face_read_out`), asked 0.8 to 1.25
control_emotion_rank  rank correlation of asked strength (0 to 1) and how far landmarks are from the neutral face's,
                      mean over emotions and portraits
control_motion_rank   rank correlation of the asked amount (0 to 2) and the head's deviation over 3 s, read off frames
                      where the same speech drives the head, but expression strength 0 never opens the lips
control_motion_rank_lips_moving, control_motion_floor_deg   the same with speaking lips, which the device takes for
                      small turns, and the deviation that it then reads of a head held still
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor

from benchmarks.face_read_out import (
    EYE_CORNERS,
    Array,
    NoFaceError,
    Person,
    landmarks_of,
    meet,
    pose_change_deg,
    read,
)
from benchmarks.interval import mean_interval
from benchmarks.iris_shift import NoIrisError, gaze_change_deg
from benchmarks.motion_naturalness import DEMO_VOICE
from benchmarks.renderer_controls import Draw, held_out_portraits
from benchmarks.results_page import Row, Rows
from benchmarks.shipped_weights import shipped, shipped_rig
from generator import Controls
from generator.controls import EMOTIONS
from generator.errors import GeneratorError
from generator.motion import MotionModel
from generator.motion_block import MotionBlock
from generator.render import Renderer
from generator.working_picture import SIZE_PX
from media import load_audio, read_portrait

DEMO_PORTRAIT = DEMO_VOICE.with_name("portrait.png")
GAZES_DEG = ((15.0, 0.0), (-15.0, 0.0), (0.0, 9.0), (0.0, -9.0), (10.0, 6.0))
DISTANCES = (0.8, 0.9, 1.1, 1.25)
STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
AMOUNTS = (0.0, 0.5, 1.0, 1.5, 2.0)
FRAME = 40  # looked at in clips that hold still
SEEN = slice(25, 100, 5)  # frames looked at in clips that move
SPEECH_S, REST_S = 4.0, 2.0
STILL = {"head_motion": 0.0, "blink_rate_per_min": 0.0}

Act = Callable[[Controls, bool], MotionBlock]
"""Controls, and whether somebody speaks -> motion."""


def measure_controls(model: MotionModel, folder: Path | None, count: int) -> Rows:
    """Rows of the four controls, over the demo portrait and `count` portraits of a folder with index.csv."""
    voice = load_audio(DEMO_VOICE, max_s=60.0)[: round(SPEECH_S * 16_000)]

    def act(controls: Controls, speaking: bool) -> MotionBlock:
        sound = voice if speaking else torch.zeros(round(REST_S * 16_000))
        return model.step(sound, model.start(controls, 6), final=True)[0]

    tensors, config = shipped("render")
    renderer = Renderer.from_tensors({f"render.{name}": tensor for name, tensor in tensors.items()}, config, "cpu")
    paths = [DEMO_PORTRAIT, *(p.path for p in (held_out_portraits(folder, count) if folder else []))]
    found: dict[str, list[Array]] = {
        "gaze": [],
        "distance": [],
        "emotion": [],
        "motion": [],
        "talking": [],
        "floor": [],
    }
    for path in paths:
        try:
            face = renderer.encode(read_portrait(path))
            measured = _of_person(act, lambda block, face=face: renderer.render(face, block))
        except (GeneratorError, NoFaceError) as refusal:
            print(f"left out a portrait: {refusal}")
            continue
        for name, values in measured.items():
            found[name].append(values)
    return {
        "control_gaze_deg": _row(found["gaze"], "degrees between directions"),
        "control_distance_pct": _row(found["distance"], "% of the distance"),
        "control_emotion_rank": _row(found["emotion"], "rank correlation"),
        "control_motion_rank": _row(found["motion"], "rank correlation"),
        "control_motion_rank_lips_moving": _row(found["talking"], "rank correlation"),
        "control_motion_floor_deg": _row(found["floor"], "degrees over 3 s, read of a still head that speaks"),
    }


def _of_person(act: Act, draw: Draw) -> dict[str, Array]:
    still = draw(act(Controls(**STILL), False)[FRAME : FRAME + 1])[0]
    marks = landmarks_of(still)
    person = meet(shipped_rig(), marks, SIZE_PX)
    talking = head_deviations_deg(act, draw, person, expression_strength=1.0)
    return {
        "gaze": gaze_errors_deg(act, draw, person),
        "distance": distance_errors_pct(act, draw, person),
        "emotion": emotion_ranks(act, draw),
        "motion": np.array([_rank(AMOUNTS, head_deviations_deg(act, draw, person, expression_strength=0.0))]),
        "talking": np.array([_rank(AMOUNTS, talking)]),
        "floor": np.array(talking[:1]),
    }


def gaze_errors_deg(act: Act, draw: Draw, person: Person) -> Array:
    ahead = draw(act(Controls(**STILL), False)[FRAME : FRAME + 1])[0]
    marks, errors = landmarks_of(ahead), []
    for yaw, pitch in GAZES_DEG:
        asked = Controls(gaze_yaw_deg=yaw, gaze_pitch_deg=pitch, **STILL)
        frame = draw(act(asked, False)[FRAME : FRAME + 1])[0]
        try:
            seen = gaze_change_deg(person, ahead, marks, frame, landmarks_of(frame))
        except (NoIrisError, NoFaceError):
            continue
        errors.append(float(np.hypot(*(seen - np.array([yaw, pitch])))))
    return np.array(errors)


def distance_errors_pct(act: Act, draw: Draw, person: Person) -> Array:
    errors = []
    for distance in DISTANCES:
        frame = draw(act(Controls(distance=distance, **STILL), False)[FRAME : FRAME + 1])[0]
        reading = read(person, landmarks_of(frame))
        measured = reading.translation[2] / person.translation[2]
        errors.append(100 * abs(measured / distance - 1))
    return np.array(errors)


def emotion_ranks(act: Act, draw: Draw) -> Array:
    """Rank correlation per emotion."""
    ranks = []
    for emotion in EMOTIONS[1:]:
        shapes = []
        for strength in STRENGTHS:
            asked = Controls(emotion=emotion, emotion_strength=strength, **STILL)
            shapes.append(landmarks_of(draw(act(asked, False)[FRAME : FRAME + 1])[0]))
        eye_px = np.linalg.norm(shapes[0][EYE_CORNERS[0][0]] - shapes[0][EYE_CORNERS[1][1]])
        moved = [float(np.sqrt(((shape - shapes[0]) ** 2).sum(1).mean()) / eye_px) for shape in shapes]
        ranks.append(_rank(STRENGTHS, moved))
    return np.array(ranks)


def head_deviations_deg(act: Act, draw: Draw, person: Person, *, expression_strength: float) -> list[float]:
    """Of yaw, pitch and roll together, at each of `AMOUNTS`."""
    deviations = []
    for amount in AMOUNTS:
        asked = Controls(head_motion=amount, expression_strength=expression_strength, blink_rate_per_min=0.0)
        frames: Tensor = draw(act(asked, True)[SEEN])
        turns = [pose_change_deg(person.rotation, read(person, landmarks_of(frame)).rotation) for frame in frames]
        deviations.append(float(np.linalg.norm(np.std(turns, axis=0))))
    return deviations


def _rank(asked: Sequence[float], measured: Sequence[float]) -> float:
    return float(spearmanr(asked, measured).statistic)


def _row(groups: list[Array], unit: str) -> Row:
    mean, interval = mean_interval([group for group in groups if len(group)])
    return {"value": mean, "unit": unit, "n": sum(len(group) for group in groups), "ci95": interval}
