"""Self re-enactment of real talkers: the first frame of a clip, driven with the motion tracked in the others, against
those frames.

    python -m benchmarks.reenactment --data FOLDER [--clips N] [--tracks FOLDER]

FOLDER holds `grid/`. Motion (61 numbers a frame: pose, expression, gaze) comes from
`generator.training.photometric_tracking`, started from the landmark fits beside the clips. PSNR inside the outline of
the face and of the lips in the 512 px working picture, from the fourth frame on. In the same frame: the copy of the
first frame, and the lift, which is the rig's warp driven by the landmark fits alone. Tracking takes about a minute per
clip on one core; with `--tracks` tracked motion is kept there and read again.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import click
import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from tqdm import tqdm

from benchmarks.interval import mean_interval
from benchmarks.renderer import BLOCK, a_renderer, psnr_db, tracked_motion
from benchmarks.results_page import Rows
from generator.face_landmarks import LIPS_OUTER_LOWER, LIPS_OUTER_UPPER
from generator.face_state import FaceState
from generator.motion_block import MotionBlock
from generator.render import Renderer
from generator.training.photometric_tracking import track
from generator.working_picture import SIZE_PX, square_around
from media import read_frames

LIPS = [*LIPS_OUTER_UPPER, *LIPS_OUTER_LOWER]
FIRST = 3
Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Clip:
    """A clip in the working picture of its first frame: frames uint8 [T, 3, 512, 512], landmarks [T, 468, 2] px."""

    name: str
    face: FaceState
    frames: torch.Tensor
    landmarks: NDArray[np.float32]
    by_landmarks: MotionBlock


def load_clip(renderer: Renderer, path: Path) -> Clip:
    fits = np.load(path.with_name(f"{path.stem}_motion.npz"))
    frames = [frame for block in read_frames(path) for frame in block.frames]
    face = renderer.encode(frames[0])
    side, left, top = square_around(fits["landmarks"][0][:, :2])
    k = SIZE_PX / side
    to_work = np.array([[k, 0, -left * k], [0, k, -top * k]])
    size = (SIZE_PX, SIZE_PX)
    seen = [cv2.warpAffine(f.permute(1, 2, 0).numpy(), to_work, size, flags=cv2.INTER_CUBIC) for f in frames]
    landmarks = fits["landmarks"][:, :468, :2] @ to_work[:, :2].T + to_work[:, 2]
    pictures = torch.from_numpy(np.stack(seen)).permute(0, 3, 1, 2)
    return Clip(path.stem, face, pictures, landmarks.astype(np.float32), tracked_motion(fits, face, side))


def tracked(renderer: Renderer, clip: Clip, kept: Path | None) -> MotionBlock:
    file = kept / f"{clip.name}.safetensors" if kept else None
    if file and file.exists():
        return MotionBlock(**load_file(file))
    motion = track(renderer, clip.face, clip.frames, clip.landmarks, clip.by_landmarks)
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = file.with_suffix(".part")
        save_file({name: value.contiguous() for name, value in vars(motion).items()}, temporary)
        temporary.rename(file)
    return motion


def score(renderer: Renderer, clip: Clip, motion: MotionBlock | None) -> Scores:
    """[T - 3, 2] PSNR of face and lips; without motion the first frame is copied."""
    rows = []
    for start in range(FIRST, len(clip.frames), BLOCK):
        part = slice(start, min(start + BLOCK, len(clip.frames)))
        still = clip.face.picture.expand(part.stop - part.start, -1, -1, -1)
        made = renderer.render(clip.face, motion[part]) if motion else still
        for index, frame in zip(range(part.start, part.stop), made, strict=False):
            outlines = (clip.landmarks[index], clip.landmarks[index][LIPS])
            picture, real = (x.permute(1, 2, 0).cpu().numpy() for x in (frame, clip.frames[index]))
            rows.append([psnr_db(picture, real, outline) for outline in outlines])
    return np.asarray(rows)


def measure(data: Path, clips: int | None = None, tracks: Path | None = None) -> Rows:
    renderer = a_renderer()
    plain = a_renderer(networks=False)
    ways: dict[str, list[Scores]] = {"": [], "_warp_alone": [], "_lift": [], "_copy": []}
    for path in tqdm(sorted((data / "grid").glob("*.mpg"))[:clips], disable=not sys.stderr.isatty(), unit="clip"):
        clip = load_clip(renderer, path)
        motion = tracked(renderer, clip, tracks)
        ways[""].append(score(renderer, clip, motion))
        ways["_warp_alone"].append(score(plain, clip, motion))
        ways["_lift"].append(score(plain, clip, clip.by_landmarks))
        ways["_copy"].append(score(plain, clip, None))
        print(path.stem, {way or "ours": s[-1].mean(0).round(2).tolist() for way, s in ways.items()}, file=sys.stderr)
    rows: Rows = {}
    for way, scores in ways.items():
        for column, what in enumerate(("face", "lips")):
            means = [np.array([s[:, column].mean()]) for s in scores]
            value, interval = mean_interval(means)
            rows[f"grid_{what}_psnr{way}_db"] = {
                "value": value, "unit": "dB, mean over clips", "n": len(scores), "ci95": interval,
            }  # fmt: skip
    better = [bool((a.mean(0) > b.mean(0)).all()) for a, b in zip(ways[""], ways["_lift"], strict=True)]
    rows["grid_clips_better_than_lift"] = {"value": sum(better), "unit": "clips, face and lips", "n": len(better)}
    return {name: {**row, "command": "python -m benchmarks.reenactment --data FOLDER"} for name, row in rows.items()}


@click.command(help=(__doc__ or "").split("\n")[0])
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True)
@click.option("--clips", type=int, help="only the first N clips")
@click.option("--tracks", type=click.Path(file_okay=False, path_type=Path), help="keeps tracked motion")
def main(data: Path, clips: int | None, tracks: Path | None) -> None:
    print(json.dumps(measure(data, clips, tracks), indent=1))


if __name__ == "__main__":
    main()
