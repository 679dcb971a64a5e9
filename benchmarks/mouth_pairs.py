"""Pairs for the mouth network: what the renderer makes of GRID's tracked motion around the mouth, and the real frame.

    python -m benchmarks.mouth_pairs --data FOLDER --tracks TRACKS --out PAIRS

Writes PAIRS/<talker>_<clip>.safetensors for every clip that has a track of `benchmarks.track_clips`: what
`generator.training.train_mouth_refiner` reads. Drawn by the shipped renderer without its mouth network. A few seconds
per clip; existing files are kept. They hold pictures of people: keep them where the clips are kept.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click
import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from benchmarks.renderer import a_renderer
from benchmarks.renderer_reenactment import Clip, motion_of, talkers_of
from generator.face_landmarks import LIPS_OUTER_LOWER, LIPS_OUTER_UPPER
from generator.head_motion import head_motion
from generator.mouth_refiner import mouth_view, mouth_window
from generator.render import Renderer
from generator.working_picture import SIZE_PX


@torch.inference_mode()
def pairs_of(renderer: Renderer, clip: Clip, tracks: Path) -> dict[str, Tensor]:
    """float16 planes [T, 11, 72, 80], moves [T, 1, 72, 80], target [T, 3, 72, 80], masks [T, 2, 72, 80]; mean [3]."""
    face = renderer.encode(clip.frames[0])
    motion = motion_of(clip, face, tracks)
    columns: dict[str, list[Tensor]] = {"planes": [], "target": [], "moves": [], "masks": [], "mean": []}
    for index in range(len(motion)):
        moment = motion[index : index + 1]
        head, warped = head_motion(face, moment.pose), renderer.warp(face, moment)
        window = mouth_window(face, head)
        view = mouth_view(face, warped, head)
        marks = clip.marks(index)
        lips = marks[[*LIPS_OUTER_UPPER, *LIPS_OUTER_LOWER]]
        real = torch.from_numpy(clip.real(index)).permute(2, 0, 1).float()
        masks = torch.stack([_hull(lips), _hull(marks)])
        half = [F.avg_pool2d(window.cut(part[None]), 2) for part in (real, masks)]
        columns["planes"].append(view.planes.half())
        columns["target"].append((half[0] / view.mean - 1).half())
        columns["masks"].append(half[1].half())
        columns["moves"].append(view.moves.half())
        columns["mean"].append(view.mean.view(1, 3))
    joined = {name: torch.cat(parts).contiguous() for name, parts in columns.items()}
    return joined | {"mean": joined["mean"][0].clone()}


def _hull(points: NDArray[np.float64]) -> Tensor:
    mask = np.zeros((SIZE_PX, SIZE_PX), np.float32)
    return torch.from_numpy(cv2.fillConvexPoly(mask, cv2.convexHull(points.astype(np.int32)), 1.0))


@click.command(help=__doc__)
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True)
@click.option("--tracks", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True)
def main(data: Path, tracks: Path, out: Path) -> None:
    torch.set_num_threads(1)
    out.mkdir(parents=True, exist_ok=True)
    talkers, renderer = talkers_of(data / "grid"), a_renderer(mouth={})
    for path in tqdm(sorted((data / "grid").glob("*.mpg")), disable=not sys.stderr.isatty(), unit="clip"):
        target = out / f"{talkers[path.stem]}_{path.stem.replace('_', '-')}.safetensors"
        if target.exists() or not (tracks / f"{path.stem}.npz").exists():
            continue
        temporary = target.with_name(f".{target.name}.part")
        save_file(pairs_of(renderer, Clip.read(path), tracks), temporary)
        temporary.rename(target)


if __name__ == "__main__":
    main()
