"""What the renderer's warp alone makes of the studio's takes: the decoder's input, beside what it should have been.

    python -m generator.training.render_priors --render DIR/render --takes FOLDER --out FOLDER [--split train]

For each take a file with `warped` uint8 [K, 3, 192, 192] and `layers` uint8 [K, 2, 192, 192] (open, person). The
portrait's landmarks and person mask are the studio's exact ones. Existing files are kept, so the script resumes.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors.torch import load_file, save_file
from scipy.spatial.transform import Rotation
from torch import Tensor
from tqdm import tqdm

from generator.errors import GeneratorError
from generator.face_networks import CROP
from generator.face_state import FaceState
from generator.motion_block import MotionBlock
from generator.render import Renderer
from generator.training.studio_takes import BACKGROUND, Take, find_takes, load_take, turn_matrices
from generator.working_picture import SIZE_PX, TEXTURE_PX, WorkingPicture


def load_renderer(path: Path) -> Renderer:
    """From `<path>.safetensors` and `<path>.json`, without networks."""
    tensors = {f"render.{n.removeprefix('render.')}": t for n, t in load_file(path.with_suffix(".safetensors")).items()}
    return Renderer.from_tensors(tensors, json.loads(path.with_suffix(".json").read_text(encoding="utf-8")))


def working_picture(take: Take, frame: int = 0) -> WorkingPicture:
    rgb = take.frames[frame].permute(1, 2, 0).numpy()
    texture = cv2.resize(rgb, (TEXTURE_PX, TEXTURE_PX), interpolation=cv2.INTER_CUBIC).astype(np.float32)
    person = (take.mask[frame] != BACKGROUND).numpy().astype(np.float32)
    person = cv2.GaussianBlur(cv2.resize(person, (SIZE_PX, SIZE_PX), interpolation=cv2.INTER_LINEAR), (0, 0), 1.0)
    landmarks = take.landmarks[frame].numpy().astype(np.float32) * (SIZE_PX / rgb.shape[0])
    return WorkingPicture(texture, landmarks, person)


def motion_of(take: Take, face: FaceState) -> MotionBlock:
    """The take's frames relative to its first."""
    turns = turn_matrices(take.pose)
    relative = Rotation.from_matrix((turns @ turns[0].T).numpy()).as_euler("ZXY", degrees=True)
    place = take.place
    half = (CROP[2] - CROP[0]) / 2
    shift = (place.centre - place.centre[:1]) * torch.tensor([1.0, -1.0]) * half / face.face_width_px
    degrees = torch.from_numpy(relative[:, ::-1].copy()).float()
    pose = torch.cat([degrees, shift, place.scale[:, None]], 1)
    expression = (take.expression - take.expression[:1]).clamp(0, 1)
    return MotionBlock(pose.float(), expression.float(), take.gaze.float())


def to_bytes(maps: Tensor) -> Tensor:
    return (maps * 255 + 0.5).clamp(0, 255).to(torch.uint8)


def prior_of(renderer: Renderer, take: Take) -> dict[str, Tensor]:
    face = renderer.encode_known(working_picture(take))
    picture, layers = renderer.warp(face, motion_of(take, face)).half_size()
    return {"warped": to_bytes(picture), "layers": to_bytes(layers)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--render", type=Path, required=True, help="path of the render checkpoint, without ending")
    parser.add_argument("--takes", type=Path, required=True, help="folder of generator.studio.make_frames")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--split", choices=("train", "test"), default="train")
    args = parser.parse_args()
    torch.set_num_threads(1)
    renderer = load_renderer(args.render)
    for path in tqdm(find_takes(args.takes, split=args.split), disable=not sys.stderr.isatty(), unit="take"):
        out = args.out / path.parent.name / path.name
        if out.exists():
            continue
        try:
            prior = prior_of(renderer, load_take(path))
        except GeneratorError as error:
            print(f"{path}: {error}", file=sys.stderr)
            continue
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary = out.with_name(f".{out.name}.part")
        save_file(prior, temporary)
        temporary.rename(out)


if __name__ == "__main__":
    main()
