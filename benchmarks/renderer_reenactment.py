"""Self re-enactment of real talkers: frame 0 of a clip, driven with the motion of the others, against those frames.

Each GRID clip is encoded from its first frame and compared inside the outline of the face and of the lips, in the
512 px working picture, from the fourth frame on. Beside it, in the same frame and over the same pixels: a copy of
frame 0, and the lift, a pure warp of frame 0 on the fitted rig (`portrait_lift.py` of the studio prototypes).

A mouth network that was trained on some of these talkers says nothing about them: with `--folds` each talker is drawn
with the network of the fold that left the talker out.

Motion: `TRACKS/<clip>.npz` with pose, expression and gaze of a `MotionBlock` where there is one, else the landmark
tracks of the data set.
"""

from __future__ import annotations

import csv
import importlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor
from tqdm import tqdm

from benchmarks.interval import mean_interval
from benchmarks.results_page import Rows
from generator.face_landmarks import CHIN, FOREHEAD_TOP, LIPS_OUTER_LOWER, LIPS_OUTER_UPPER
from generator.face_state import FaceState
from generator.motion_block import MotionBlock
from generator.render import Renderer
from generator.rig import EXPRESSION_INDEX, EXPRESSION_NAMES
from generator.rig_fit import FOCAL
from generator.working_picture import FACE_HEIGHTS_WIDE, SIZE_PX
from media import read_frames

TRACK_PX = 384  # side of the crop in which the tracks were fitted
SKIPPED = 3  # the first frames are nearly the source itself
BLOCK = 16
Picture = NDArray[np.uint8]
Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Scores:
    """PSNR in dB of one clip, face and lips [2]; `lift` is NaN where it was not measured."""

    made: Array
    copy: Array
    lift: Array


@dataclass(frozen=True)
class Clip:
    """A GRID clip with its landmark tracks; `to_work` [2, 3]: its pixels -> the 512 px working picture."""

    path: Path
    frames: list[Tensor]
    track: Any
    to_work: NDArray[np.float64]

    @staticmethod
    def read(path: Path) -> Clip:
        frames = [frame for block in read_frames(path) for frame in block.frames]
        track = np.load(path.with_name(f"{path.stem}_motion.npz"))
        side, left, top = _working_square(track["landmarks"][0])
        shrink = SIZE_PX / side
        return Clip(path, frames, track, np.array([[shrink, 0, -left * shrink], [0, shrink, -top * shrink]]))

    @property
    def side_px(self) -> float:
        """Of the working picture, in pixels of the clip."""
        return float(SIZE_PX / self.to_work[0, 0])

    def real(self, index: int) -> Picture:
        frame = self.frames[index].permute(1, 2, 0).numpy()
        return np.asarray(cv2.warpAffine(frame, self.to_work, (SIZE_PX, SIZE_PX), flags=cv2.INTER_CUBIC), np.uint8)

    def marks(self, index: int) -> Array:
        """[468, 2] in the working picture."""
        found = self.track["landmarks"][index][:468, :2] @ self.to_work[:, :2].T + self.to_work[:, 2]
        return np.asarray(found, np.float64)


def measure_reenactment(
    renderer_for: Callable[[str], Renderer],
    grid: Path,
    *,
    clips: int | None = None,
    tracks: Path | None = None,
    lift: Lift | None = None,
) -> dict[str, Scores]:
    """Scores by clip; each is drawn by the renderer for its talker."""
    paths, talkers = sorted(grid.glob("*.mpg"))[:clips], talkers_of(grid)
    bar = tqdm(paths, desc="re-enactment", disable=not sys.stderr.isatty())
    return {path.stem: reenact(renderer_for(talkers[path.stem]), Clip.read(path), tracks, lift) for path in bar}


def talkers_of(grid: Path) -> dict[str, str]:
    """Clip -> talker, from the data set's index."""
    with (grid / "index.csv").open(encoding="utf-8", newline="") as file:
        return {Path(row["file"]).stem: row["talker"] for row in csv.DictReader(file)}


def reenactment_rows(scores: dict[str, Scores]) -> Rows:
    rows: Rows = {}
    for part, name in enumerate(("face", "lips")):
        for kind, key in (("made", ""), ("copy", "_copy"), ("lift", "_lift")):
            values = np.array([getattr(s, kind)[part] for s in scores.values()])
            if np.isfinite(values).all():
                mean, interval = mean_interval(list(values[:, None]))
                unit = "dB PSNR, mean over clips"
                rows[f"grid_{name}{key}_psnr_db"] = {"value": mean, "unit": unit, "n": len(values), "ci95": interval}
    for kind in ("copy", "lift"):
        rivals = [getattr(s, kind) for s in scores.values()]
        if np.isfinite(rivals).all():
            better = sum(bool((s.made > r).all()) for s, r in zip(scores.values(), rivals, strict=True))
            unit = f"clips better than the {kind} on face and lips"
            rows[f"grid_clips_better_than_{kind}"] = {"value": better, "unit": unit, "n": len(scores)}
    return rows


def reenact(renderer: Renderer, clip: Clip, tracks: Path | None, lift: Lift | None) -> Scores:
    face = renderer.encode(clip.frames[0])
    copy = face.picture.permute(1, 2, 0).cpu().numpy().astype(np.uint8)
    warp = lift.of(clip) if lift else None
    scores = []
    for index, made in _rendered(renderer, face, motion_of(clip, face, tracks)):
        if index < SKIPPED:
            continue
        pictures = [made, copy] + ([warp(index)] if warp else [])
        marks, real = clip.marks(index), clip.real(index)
        outlines = (marks, marks[[*LIPS_OUTER_UPPER, *LIPS_OUTER_LOWER]])
        scores.append([[psnr_db(picture, real, outline) for outline in outlines] for picture in pictures])
    mean = np.mean(scores, 0)
    return Scores(mean[0], mean[1], mean[2] if warp else np.full(2, np.nan))


def motion_of(clip: Clip, face: FaceState, tracks: Path | None) -> MotionBlock:
    if tracks and (tracks / f"{clip.path.stem}.npz").exists():
        stored = np.load(tracks / f"{clip.path.stem}.npz")
        return MotionBlock(*(torch.from_numpy(stored[name]).float() for name in ("pose", "expression", "gaze")))
    return tracked_motion(clip.track, face, clip.side_px)


class Lift:
    """Draws clips with the prototype `portrait_lift.py` in `folder`; `data` holds its `rig/`."""

    def __init__(self, folder: Path, data: Path) -> None:
        sys.path.insert(0, str(folder))
        self._lift, rig_render = importlib.import_module("portrait_lift"), importlib.import_module("rig_render")
        self._rig = rig_render.Rig(data)

    def of(self, clip: Clip) -> Callable[[int], Picture]:
        """Frame number -> its warp of frame 0, in the working picture."""
        track, size = clip.track, (TRACK_PX, TRACK_PX)
        crop = track["crop"].astype(np.float64)
        how: dict[str, Any] = {"flags": cv2.INTER_CUBIC, "borderMode": cv2.BORDER_REPLICATE}
        source = cv2.warpAffine(clip.frames[0].permute(1, 2, 0).numpy(), crop, size, **how)
        numbers = (track["identity"], track["expression"][0], track["rotvec"][0], track["translation"][0])
        drawn = self._lift.Lift(self._rig, source, self._lift.HeadFit(*numbers, np.zeros(478)))
        back = np.vstack([clip.to_work, [0, 0, 1]]) @ np.linalg.inv(np.vstack([crop, [0, 0, 1]]))

        def frame(index: int) -> Picture:
            pose = np.r_[track["rotvec"][index], track["translation"][index]]
            made = drawn.frame(expression=track["expression"][index], head_pose=pose)
            return np.asarray(cv2.warpAffine(made, back[:2], (SIZE_PX, SIZE_PX), **how), np.uint8)

        return frame


def _rendered(renderer: Renderer, face: FaceState, motion: MotionBlock) -> Iterator[tuple[int, Picture]]:
    for first in range(0, len(motion), BLOCK):
        for offset, frame in enumerate(renderer.render(face, motion[first : first + BLOCK])):
            yield first + offset, frame.permute(1, 2, 0).cpu().numpy()


def _working_square(landmarks: NDArray[np.float32]) -> tuple[float, float, float]:
    """Side, left, top of the encoder's crop, to a fraction of a pixel."""
    top, chin = landmarks[FOREHEAD_TOP, :2], landmarks[CHIN, :2]
    half = float(np.linalg.norm(top - chin)) * FACE_HEIGHTS_WIDE / 2
    centre = (top + chin) / 2 + np.array([0, -0.04 * half])
    return round(2 * half), round(float(centre[0]) - half), round(float(centre[1]) - half)


def tracked_motion(track: Any, face: FaceState, side: float) -> MotionBlock:
    """Tracks are absolute; a motion block is relative to frame 0 and to the clip's resting face."""
    turns = Rotation.from_rotvec(track["rotvec"])
    roll, pitch, yaw = (turns * turns[0].inv()).as_euler("ZXY", degrees=True).T
    shift, pixels_per_cm = _head_centres(track)
    shrink = SIZE_PX / side / float(track["crop"][0, 0])  # pixels of the tracking crop -> of the working picture
    moved = (shift - shift[0]) * shrink / face.face_width_px
    columns = [yaw, pitch, roll, moved[:, 0], -moved[:, 1], pixels_per_cm / pixels_per_cm[0]]
    names = [n for n in _rig_names() if n in EXPRESSION_INDEX]
    weights = track["expression"][:, [_rig_names().index(n) for n in names]]
    rest = np.minimum(weights[0], np.percentile(weights, 15, axis=0))
    expression = np.zeros((len(weights), len(EXPRESSION_NAMES)), np.float32)
    expression[:, [EXPRESSION_INDEX[n] for n in names]] = np.clip(weights - rest, 0, 1)
    gaze = torch.tensor(face.eye_layers[0].gaze_deg).expand(len(weights), 2).contiguous()
    return MotionBlock(torch.from_numpy(np.stack(columns, 1).astype(np.float32)), torch.from_numpy(expression), gaze)


def _head_centres(track: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Projected head centre [T, 2] in the tracking crop and pixels per cm [T]."""
    place = track["translation"].astype(np.float64)
    k = FOCAL * TRACK_PX / 2 / -place[:, 2]
    return np.stack([TRACK_PX / 2 + k * place[:, 0], TRACK_PX / 2 - k * place[:, 1]], 1), k


def _rig_names() -> list[str]:
    """The 57 names of the tracks: ours and the four that are left out, in alphabetical order without regard to case."""
    extra = ("PupilDilate_L", "PupilDilate_R", "cheekRaiser_L", "cheekRaiser_R")
    return sorted([*EXPRESSION_NAMES, *extra])


def psnr_db(made: NDArray[Any], real: NDArray[Any], outline: NDArray[Any]) -> float:
    hull = cv2.convexHull(outline.astype(np.int32))
    mask = cv2.fillConvexPoly(np.zeros(made.shape[:2], np.uint8), hull, 1) > 0
    error = float(((made.astype(np.float64) - real) ** 2)[mask].mean())
    return float(10 * np.log10(255**2 / max(error, 1e-9)))
