"""The head's turns as a camera and a tracker see them: GRID's talkers, and ours made to look like GRID's films.

A tracker sees turns where there are none: landmarks tremble, and moving lips pull them along. So what is known of a
made head can't stand beside what was tracked of a filmed one. Here both are tracked. For each of GRID's clips the model
speaks the clip's own sound, the renderer draws it on the clip's first frame, the film goes through MPEG-1 at the clip's
own bit rate, 360x288, and the same tracker looks at both. Drawn a second time with the head held still, it tells what
the tracker makes out of nothing.

The tracker: mediapipe's face mesh following the face through frames enlarged twice, and the head's pose from those
landmarks that speech moves least (`face_read_out`).
"""

from __future__ import annotations

import importlib
import io
from dataclasses import dataclass, replace
from pathlib import Path

import av
import cv2
import numpy as np
import torch
from torch import Tensor

from benchmarks.face_read_out import Array, NoFaceError, Person, meet, pose_change_deg, read
from benchmarks.shipped_weights import shipped, shipped_rig
from generator import Controls
from generator.controls import FPS
from generator.framing import Framing
from generator.motion import MotionModel
from generator.motion_mouth import MOUTH_AXES, columns
from generator.render import Renderer
from generator.rig_fit import RigShape
from media import load_audio, read_frames

ENLARGED = 2  # so that the mesh holds small faces steadier
READ_PX = 512  # the square in which poses are read
FACE_SHARE = 0.53  # of that square
SPEECH_MOVES_CM = 0.4  # landmarks that any axis of the mouth moves farther are not looked at
SOUND_BITS = 64_000  # a second; the rest of a clip's size is its picture
SEED = 3


@dataclass(frozen=True, eq=False)
class TrackedClip:
    """Yaw, pitch and roll in degrees [T, 3]: of the talker, of ours as tracked and as made, and of ours held still."""

    talker: Array
    ours: Array
    made: Array
    still: Array


def track_clips(model: MotionModel, grid: Path) -> list[TrackedClip]:
    """Every clip of the folder."""
    tensors, config = shipped("render")
    renderer = Renderer.from_tensors({f"render.{name}": tensor for name, tensor in tensors.items()}, config, "cpu")
    return [track_clip(model, renderer, path) for path in sorted(grid.glob("*.mpg"))]


def track_clip(model: MotionModel, renderer: Renderer, path: Path) -> TrackedClip:
    """One clip; raises `NoFaceError` where the tracker loses a face."""
    frames = torch.cat([block.frames for block in read_frames(path)])
    sound, rig = load_audio(path, max_s=60.0), shipped_rig()
    bits = round(path.stat().st_size * 8 / (len(frames) / FPS)) - SOUND_BITS
    face = renderer.encode(frames[0], Framing(frame="portrait"))

    def play(head_motion: float) -> tuple[Array, Array]:
        block = model.step(sound, model.start(Controls(head_motion=head_motion), SEED), final=True)[0][: len(frames)]
        film = mpeg1(renderer.render(face, block), bits)
        return head_turns_deg(rig, face_marks(film)), np.asarray(block.pose[:, :3].double().numpy())

    ours, made = play(1.0)
    still, _ = play(0.0)
    return TrackedClip(head_turns_deg(rig, face_marks(frames)), ours, made, still)


def mpeg1(frames: Tensor, bits_per_s: int) -> Tensor:
    """uint8 [T, 3, H, W] after MPEG-1, the codec of GRID's films; H and W even."""
    film = io.BytesIO()
    with av.open(film, "w", format="mpeg") as container:
        stream = container.add_stream("mpeg1video", rate=FPS)
        stream.height, stream.width = frames.shape[2:]
        stream.pix_fmt, stream.bit_rate = "yuv420p", bits_per_s
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(frame.permute(1, 2, 0).contiguous().numpy(), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    film.seek(0)
    with av.open(film) as container:
        return torch.stack(
            [torch.from_numpy(f.to_ndarray(format="rgb24")).permute(2, 0, 1) for f in container.decode(video=0)]
        )


def face_marks(frames: Tensor) -> Array:
    """uint8 [T, 3, H, W] -> [T, 478, 2] pixels, followed from frame to frame."""
    marks = []
    mesh = importlib.import_module("mediapipe").solutions.face_mesh.FaceMesh(
        static_image_mode=False, max_num_faces=1, refine_landmarks=True
    )
    with mesh:
        for index, frame in enumerate(frames):
            rgb = frame.permute(1, 2, 0).contiguous().numpy()
            large = cv2.resize(rgb, None, fx=ENLARGED, fy=ENLARGED, interpolation=cv2.INTER_CUBIC)
            found = mesh.process(large).multi_face_landmarks
            if not found:
                raise NoFaceError(f"the tracker lost the face in frame {index}")
            marks.append([(p.x * rgb.shape[1], p.y * rgb.shape[0]) for p in found[0].landmark])
    return np.asarray(marks, np.float64)


def head_turns_deg(rig: RigShape, marks: Array) -> Array:
    """[T, 478, 2] pixels -> yaw, pitch, roll [T, 3] against the first frame."""
    low, high = marks[0].min(0), marks[0].max(0)
    scale = FACE_SHARE * READ_PX / float((high - low).max())
    placed = (marks - (low + high) / 2) * scale + READ_PX / 2
    person = steadied(rig, meet(rig, placed[0], READ_PX))
    return np.array([pose_change_deg(person.rotation, read(person, at).rotation) for at in placed])


def steadied(rig: RigShape, person: Person) -> Person:
    """The person read without the landmarks that speech moves."""
    axes = [column for axis in MOUTH_AXES for column in columns(axis)]
    moved_cm = np.linalg.norm(rig.expression[axes][:, rig.landmark_vertex], axis=2).max(0)
    return replace(person, trust=person.trust * (moved_cm < SPEECH_MOVES_CM)[:, None])
