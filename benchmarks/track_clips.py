"""Tracks the motion of GRID's clips by comparing pixels, for the renderer's re-enactment.

    python -m benchmarks.track_clips --data FOLDER --out TRACKS [--share 1/2] [--passes N]

Writes TRACKS/<clip>.npz with pose [T, 6], expression [T, 53] and gaze [T, 2] of a `MotionBlock`: all that the renderer
gets of a frame. Drawn without the mouth network, which has seen these talkers. Starts from the landmark tracks of the
data set; the method is in `generator.training.photometric_tracking`. About three minutes per clip on
one core; finished clips are kept.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click
import numpy as np
import torch
from tqdm import tqdm

from benchmarks.renderer import a_renderer
from benchmarks.renderer_reenactment import Clip, tracked_motion
from generator.motion_block import MotionBlock
from generator.render import Renderer
from generator.training.photometric_tracking import track


def motion_of(renderer: Renderer, clip: Clip, passes: int = 2) -> MotionBlock:
    """Found against the renderer that will draw it."""
    face = renderer.encode(clip.frames[0])
    count = len(clip.frames)
    frames = torch.stack([torch.from_numpy(clip.real(index)).permute(2, 0, 1) for index in range(count)])
    landmarks = np.stack([clip.marks(index) for index in range(count)]).astype(np.float32)
    return track(renderer, face, frames, landmarks, tracked_motion(clip.track, face, clip.side_px), passes=passes)


def save(motion: MotionBlock, path: Path) -> None:
    temporary = path.with_name(f".{path.name}.part")
    with temporary.open("wb") as file:
        np.savez(file, **{name: value.numpy() for name, value in vars(motion).items()})
    temporary.rename(path)


@click.command(help=__doc__)
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True)
@click.option("--share", default="1/1", show_default=True, help="K/N: every N-th clip from the K-th, for N processes.")
@click.option("--passes", default=2, show_default=True, help="Through each clip, forwards and backwards in turn.")
def main(data: Path, out: Path, share: str, passes: int) -> None:
    torch.set_num_threads(1)
    first, _, step = share.partition("/")
    if not (first.isdigit() and step.isdigit() and 1 <= int(first) <= int(step)):
        raise click.BadParameter(f"--share {share}: expected K/N with K from 1 to N, as 1/2")
    out.mkdir(parents=True, exist_ok=True)
    renderer = a_renderer(mouth={})
    for path in tqdm(
        sorted((data / "grid").glob("*.mpg"))[int(first) - 1 :: int(step)], disable=not sys.stderr.isatty(), unit="clip"
    ):
        target = out / f"{path.stem}.npz"
        if not target.exists():
            save(motion_of(renderer, Clip.read(path), passes), target)


if __name__ == "__main__":
    main()
