"""The renderer: frames per second, still background, equal bits, re-enactment of real talkers.

    python -m benchmarks.renderer [--data FOLDER] [--clips N]

FOLDER holds `rig/` (the full rig) and `grid/` (eleven clips of GRID with tracked motion); neither ships here. Without
it speed, background and bits are measured with the small rig of the tests on the demo portrait.

Re-enactment: frame 0 of a clip is encoded, driven with the tracked motion of the others, and compared with them
inside the outline of the face and of the lips, in the 512 px working picture, from the fourth frame on.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from benchmarks.shipped_weights import shipped
from generator.face_landmarks import CHIN, FOREHEAD_TOP, LIPS_OUTER_LOWER, LIPS_OUTER_UPPER
from generator.face_state import FaceState
from generator.motion_block import MotionBlock
from generator.render import Renderer
from generator.rig import EXPRESSION_INDEX, EXPRESSION_NAMES
from generator.rig_fit import FOCAL
from generator.working_picture import FACE_HEIGHTS_WIDE, SIZE_PX
from media import read_frames, read_portrait

ROOT = Path(__file__).resolve().parents[1]
PORTRAIT = ROOT / "vasari" / "demo" / "portrait.png"
TRACK_PX = 384  # side of the crop in which the tracks were fitted
BLOCK = 16
Rows = dict[str, dict[str, Any]]


def a_renderer(device: str = "cpu") -> Renderer:
    """The shipped one."""
    tensors, config = shipped("render")
    return Renderer.from_tensors({f"render.{name}": tensor for name, tensor in tensors.items()}, config, device)


def lively_motion(frames: int) -> MotionBlock:
    """A slow head turn with speech-like lips, blinks and wandering gaze."""
    t = torch.arange(frames) / 25
    pose = torch.zeros(frames, 6)
    pose[:, 0], pose[:, 1] = 12 * torch.sin(1.3 * t), 6 * torch.sin(0.9 * t + 1)
    pose[:, 2], pose[:, 5] = 3 * torch.sin(0.7 * t), 1 + 0.04 * torch.sin(0.5 * t)
    expression = torch.zeros(frames, len(EXPRESSION_NAMES))
    expression[:, EXPRESSION_INDEX["jawOpen"]] = 0.2 + 0.2 * torch.sin(15 * t)
    expression[:, EXPRESSION_INDEX["mouthPucker"]] = (0.4 * torch.sin(6 * t)).clamp(min=0)
    for side in "LR":
        expression[:, EXPRESSION_INDEX[f"eyeBlink_{side}"]] = (6 * torch.sin(2.2 * t) - 5).clamp(0, 1)
    gaze = torch.stack([6 * torch.sin(0.8 * t), 3 * torch.sin(1.1 * t)], 1)
    return MotionBlock(pose, expression, gaze)


def measure(data: Path | None = None, *, clips: int | None = None) -> Rows:
    """Rows {id: {value, unit, n, command}}."""
    renderer = a_renderer()
    began = time.perf_counter()
    face = renderer.encode(read_portrait(PORTRAIT))
    encode_s = time.perf_counter() - began
    rows: Rows = {"encode_s": {"value": encode_s, "unit": "s per portrait, first call", "n": 1}}
    rows |= measure_speed(renderer, face) | measure_exactness(renderer, face)
    if torch.cuda.is_available():
        rows |= measure_gpu()
    if data:
        rows |= measure_reenactment(renderer, data / "grid", clips)
    return {key: {**row, "command": "python -m benchmarks.renderer --data FOLDER"} for key, row in rows.items()}


def measure_speed(renderer: Renderer, face: FaceState) -> Rows:
    """Blocks of 16 frames at 512 px, one and two threads."""
    threads, block, rows = torch.get_num_threads(), lively_motion(BLOCK), Rows()
    for count in (1, 2):
        torch.set_num_threads(count)
        renderer.render(face, block[:2])
        began, used = time.perf_counter(), time.process_time()
        for _ in range(3):
            renderer.render(face, block)
        fps = 3 * BLOCK / (time.perf_counter() - began)
        cpu_ms = (time.process_time() - used) / (3 * BLOCK) * 1e3
        rows[f"fps_{count}_threads"] = {"value": fps, "unit": "frames/s, 512 px, CPU", "n": 3 * BLOCK}
        rows[f"cpu_ms_{count}_threads"] = {"value": cpu_ms, "unit": "ms of CPU time per frame", "n": 3 * BLOCK}
    torch.set_num_threads(threads)
    return rows


def measure_gpu() -> Rows:
    """The same blocks on the first CUDA device."""
    renderer = a_renderer("cuda")
    face, block = renderer.encode(read_portrait(PORTRAIT)), lively_motion(BLOCK)
    renderer.render(face, block)
    torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(5):
        renderer.render(face, block)
    torch.cuda.synchronize()
    fps = 5 * BLOCK / (time.perf_counter() - began)
    return {"fps_gpu": {"value": fps, "unit": f"frames/s, 512 px, {torch.cuda.get_device_name()}", "n": 5 * BLOCK}}


def measure_exactness(renderer: Renderer, face: FaceState, frames: int = 24) -> Rows:
    """Pixels that change outside the dilated head, and bytes that differ between ways of cutting a clip."""
    block = lively_motion(frames)
    whole = renderer.render(face, block)
    matte = face.upper_texture[0, 3].view(SIZE_PX, 2, SIZE_PX, 2).amax((1, 3)).cpu().numpy()
    near = cv2.dilate((matte > 0).astype(np.uint8), np.ones((97, 97))) > 0
    outside = torch.from_numpy(~near)
    changed = (whole != face.picture.to(torch.uint8)).any(1)[:, outside].sum()
    threads = torch.get_num_threads()
    torch.set_num_threads(2 if threads == 1 else 1)
    cut = torch.cat([renderer.render(face, block[i : i + 5]) for i in range(0, frames, 5)])
    torch.set_num_threads(threads)
    pixels = int(outside.sum()) * frames
    return {
        "background_changed_px": {
            "value": int(changed),
            "unit": f"of {pixels} pixels 48 px off the person",
            "n": frames,
        },
        "differing_bytes": {"value": int((cut != whole).sum()), "unit": "blocks of 5, other thread count", "n": frames},
    }


def measure_reenactment(renderer: Renderer, grid: Path, clips: int | None) -> Rows:
    scores = np.array([reenact(renderer, clip) for clip in sorted(grid.glob("*.mpg"))[:clips]])
    names = ("face", "face_copy", "lips", "lips_copy")
    units = "dB PSNR, mean over clips"
    rows = {
        f"reenact_{name}_db": {"value": float(value), "unit": units, "n": len(scores)}
        for name, value in zip(names, scores.mean(0), strict=True)
    }
    better = (scores[:, [0, 2]] > scores[:, [1, 3]]).sum(0)
    for name, count in zip(("face", "lips"), better, strict=True):
        rows[f"reenact_{name}_better"] = {"value": int(count), "unit": "clips better than the copy", "n": len(scores)}
    return rows


def reenact(renderer: Renderer, clip: Path) -> NDArray[np.float64]:
    """[4] PSNR of one clip: face, face of the copied first frame, lips, lips of the copy."""
    track = np.load(clip.with_name(f"{clip.stem}_motion.npz"))
    real = [frame for block in read_frames(clip) for frame in block.frames]
    face = renderer.encode(real[0])
    side, left, top = _working_square(track["landmarks"][0])
    motion = tracked_motion(track, face, side)
    lips = [*LIPS_OUTER_UPPER, *LIPS_OUTER_LOWER]
    shrink = SIZE_PX / side
    to_work = np.array([[shrink, 0, -left * shrink], [0, shrink, -top * shrink]])
    copy = face.picture.permute(1, 2, 0).cpu().numpy()
    scores = []
    for index, made in _rendered(renderer, face, motion):
        if index < 3:
            continue
        frame = real[index].permute(1, 2, 0).numpy()
        target = cv2.warpAffine(frame, to_work, (SIZE_PX, SIZE_PX), flags=cv2.INTER_CUBIC)
        marks = track["landmarks"][index][:468, :2] @ to_work[:, :2].T + to_work[:, 2]
        scores.append([psnr_db(x, target, o) for o in (marks, marks[lips]) for x in (made, copy)])
    return np.asarray(np.mean(scores, 0))


def _rendered(renderer: Renderer, face: FaceState, motion: MotionBlock) -> Iterator[tuple[int, NDArray[np.uint8]]]:
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


@click.command(help=(__doc__ or "").split("\n")[0])
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path), help="holds rig/ and grid/")
@click.option("--clips", type=int, help="only the first N clips")
def main(data: Path | None, clips: int | None) -> None:
    print(json.dumps(measure(data, clips=clips), indent=1))


if __name__ == "__main__":
    main()
