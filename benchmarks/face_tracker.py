"""Our own face landmarks (the motion encoder's) beside mediapipe's, on portraits nobody was trained on.

    python -m benchmarks.face_tracker --data FOLDER --networks FILE [--portraits 60] [--takes FOLDER]

FOLDER holds `portraits/`; FILE is a checkpoint of `generator.training.join_face_networks`. A portrait has no true
landmarks, so each tracker is held against itself: landmarks of the mirrored picture, mirrored back, against those of
the picture, in percent of the distance between the outer corners of the eyes (median over 468 points, then mean over
portraits). With `--takes` (studio frames of the split "test") both are also held against exact landmarks. mediapipe
finds the face for both.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import click
import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import load_file
from tqdm import tqdm

from benchmarks.interval import mean_interval
from benchmarks.results_page import Rows, number, write_results
from generator.face_networks import CODE_PX, CROP, MotionEncoder
from generator.working_picture import SIZE_PX, square_around
from media import find_faces, read_portrait

OUTER_CORNERS = [33, 263]
Array = NDArray[np.float32]
Tracker = Callable[[torch.Tensor], Array]


def load_encoder(checkpoint: Path) -> MotionEncoder:
    """Raises `SystemExit` when the checkpoint has no motion encoder."""
    prefix = "render.motion."
    own = {k.removeprefix(prefix): t.float() for k, t in load_file(checkpoint).items() if k.startswith(prefix)}
    if not own:
        raise SystemExit(f"{checkpoint} has no tensors {prefix}*; join one with generator.training.join_face_networks")
    encoder = MotionEncoder()
    encoder.load_state_dict(own)
    return encoder.eval()


def mediapipe_landmarks(picture: torch.Tensor) -> Array:
    """[468, 2] px of the largest face."""
    points: Array = find_faces(picture)[0].landmarks[:468, :2].numpy()
    return points


def own_tracker(encoder: MotionEncoder) -> Tracker:
    """Landmarks in the crop that mediapipe's face gives, twice: the second crop lies around the first answer."""

    @torch.inference_mode()
    def find(picture: torch.Tensor) -> Array:
        points = mediapipe_landmarks(picture)
        for _ in range(2):
            side, left, top = square_around(points)
            scale = side / SIZE_PX
            x0, y0 = left + CROP[0] * scale, top + CROP[1] * scale
            width = (CROP[2] - CROP[0]) * scale
            k = CODE_PX / width
            matrix = np.array([[k, 0, -x0 * k], [0, k, -y0 * k]])
            rgb = picture.permute(1, 2, 0).numpy()
            soft = cv2.GaussianBlur(rgb, (0, 0), max(0.35 / k, 0.01)) if k < 1 else rgb
            crop = cv2.warpAffine(soft, matrix, (CODE_PX, CODE_PX), borderMode=cv2.BORDER_REPLICATE)
            marks = encoder(torch.from_numpy(crop).permute(2, 0, 1)[None].float() / 255).landmarks[0, :468]
            points = (marks.numpy() * width + np.array([x0, y0])).astype(np.float32)
        return points

    return find


def mirror_order(shapes: Array) -> NDArray[np.int64]:
    """[468]: which landmark is another's mirror image; from mean shapes [P, 468, 2] of upright faces."""
    middle = shapes.mean((0, 1))
    mean = shapes.mean(0) - middle
    flipped = mean * np.array([-1, 1])
    return np.asarray(np.linalg.norm(mean[:, None] - flipped[None], axis=2).argmin(1))


def upright(points: Array) -> Array:
    """Centred, eyes level, outer corners one apart."""
    a, b = points[OUTER_CORNERS]
    along = b - a
    turn = np.array([[along[0], along[1]], [-along[1], along[0]]]) / float(along @ along)
    return np.asarray((points - (a + b) / 2) @ turn.T, np.float32)


def mirror_error_pct(find: Tracker, picture: torch.Tensor, order: NDArray[np.int64]) -> float:
    seen, mirrored = find(picture), find(picture.flip(2))
    back = mirrored[order] * np.array([-1, 1]) + np.array([picture.shape[2], 0])
    unit = float(np.linalg.norm(seen[OUTER_CORNERS[0]] - seen[OUTER_CORNERS[1]]))
    return float(np.median(np.linalg.norm(seen - back, axis=1)) / unit * 100)


def take_errors(trackers: dict[str, Tracker], takes: Path, limit: int) -> dict[str, list[float]]:
    """Median distance to exact, visible landmarks in percent of the eye distance, per frame of test takes."""
    from generator.training.studio_takes import find_takes, load_take

    errors: dict[str, list[float]] = {name: [] for name in trackers}
    for path in tqdm(find_takes(takes, split="test")[:limit], disable=not sys.stderr.isatty(), unit="take"):
        take = load_take(path)
        for frame, truth, seen in zip(take.frames[::5], take.landmarks[::5], take.visible[::5], strict=True):
            large = F.interpolate(frame[None].float(), scale_factor=2.0, mode="bicubic")[0].clamp(0, 255).byte()
            if not find_faces(large):
                continue
            known, use = truth[:468].numpy() * 2, seen[:468].numpy() > 0
            unit = float(np.linalg.norm(known[OUTER_CORNERS[0]] - known[OUTER_CORNERS[1]]))
            for name, find in trackers.items():
                distance = np.linalg.norm(find(large) - known, axis=1)[use]
                errors[name].append(float(np.median(distance) / unit * 100))
    return errors


def measure(data: Path, networks: Path, portraits: int = 60, takes: Path | None = None) -> Rows:
    trackers: dict[str, Tracker] = {"own": own_tracker(load_encoder(networks)), "mediapipe": mediapipe_landmarks}
    paths = sorted((data / "portraits").glob("*.jpg"))
    chosen = [paths[i] for i in np.random.default_rng(7).permutation(len(paths))[:portraits]]
    pictures = [p for p in map(read_portrait, chosen) if find_faces(p)]
    order = mirror_order(np.stack([upright(mediapipe_landmarks(p)) for p in pictures]))
    rows: Rows = {}
    command = "python -m benchmarks.face_tracker --data FOLDER --networks FILE"
    unit = "% of the eye distance, median of 468 points, mean"
    for name, find in trackers.items():
        values = np.array([mirror_error_pct(find, p, order) for p in tqdm(pictures, disable=not sys.stderr.isatty())])
        value, interval = mean_interval([values])
        rows[f"tracker_mirror_error_pct.{name}"] = {
            "value": value, "unit": unit, "n": len(values), "ci95": interval, "command": command,
        }  # fmt: skip
    if takes:
        for name, found in take_errors(trackers, takes, 20).items():
            rows[f"tracker_exact_error_pct.{name}"] = {
                "value": float(np.mean(found)), "unit": unit, "n": len(found), "command": command + " --takes TAKES",
            }  # fmt: skip
    return rows


@click.command(help=__doc__)
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True)
@click.option("--networks", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=True)
@click.option("--portraits", type=int, default=60, show_default=True)
@click.option("--takes", type=click.Path(exists=True, file_okay=False, path_type=Path), help="folder of studio takes")
def main(data: Path, networks: Path, portraits: int, takes: Path | None) -> None:
    torch.set_num_threads(1)
    rows = measure(data, networks, portraits, takes)
    write_results("renderer", rows)
    for key, row in rows.items():
        click.echo(f"{key:40s} {number(row['value']):>10s} {row['unit']}")


if __name__ == "__main__":
    main()
