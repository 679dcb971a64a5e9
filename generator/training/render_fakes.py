"""Frames of this generator for the detector's training: real faces beside what the generator makes of them.

    python -m generator.training.render_fakes --checkpoint generator.safetensors --portraits FOLDER --speech FOLDER
        --out rendered.npz [--frames 3] [--seed 1]

Reads a raw checkpoint of `pack.py`, which exists only where training runs. Real and made frames are both cut from the
renderer's 512 px working picture, so both went through the same resampling. The .npz holds `people` [P], `crops`
uint8 [P, 1 + F, 384, 384, 3] (the real first) and `landmarks` float32 [P, 1 + F, 468, 2]. Portraits of real persons:
the result never leaves the training machine. Finished portraits are kept, so the script resumes.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from tqdm import tqdm

from generator import AUDIO_RATE, EMOTIONS, Controls, Generator, GeneratorError, MotionBlock
from media import find_faces, load_audio, read_portrait

LOOSE = 2.0  # crop side over face box, as in the detector's training
LOOSE_PX = 384
SAVE_EVERY = 40


def load_generator(path: Path) -> Generator:
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return Generator.from_tensors(tensors, json.loads(file.metadata()["config"]))


def motion_of(generator: Generator, speech: Path, random: np.random.Generator) -> MotionBlock:
    """All frames of one recording with random controls."""
    controls = Controls(
        gaze_yaw_deg=float(random.uniform(-8, 8)),
        gaze_pitch_deg=float(random.uniform(-5, 5)),
        distance=float(random.uniform(0.9, 1.15)),
        emotion=str(random.choice(list(EMOTIONS))),
        emotion_strength=float(random.uniform(0, 0.8)),
    )
    state = generator.start(controls=controls, seed=int(random.integers(2**31)))
    return generator.motion(load_audio(speech, max_s=60.0)[: 4 * AUDIO_RATE], state, final=True)[0]


def loose_crop(frame: torch.Tensor) -> tuple[NDArray[np.uint8], NDArray[np.float32]] | None:
    """uint8 [3, 512, 512] -> crop [384, 384, 3] and its landmarks [468, 2]; None without a face."""
    faces = find_faces(frame, max_faces=1)
    if not faces:
        return None
    points = faces[0].landmarks[:468, :2].numpy()
    low, high = points.min(0), points.max(0)
    scale = LOOSE_PX / (LOOSE * float((high - low).max()))
    shift = LOOSE_PX / 2 - (low + high) / 2 * scale
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]], np.float32)
    picture = frame.permute(1, 2, 0).contiguous().numpy()
    crop = cv2.warpAffine(picture, matrix, (LOOSE_PX, LOOSE_PX), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(crop, np.uint8), np.asarray(points * scale + shift, np.float32)


def one_person(
    generator: Generator, portrait: Path, speech: Path, frames: int, random: np.random.Generator
) -> dict[str, Any] | None:
    """The working picture and some frames made from it; None where portrait or frames are refused."""
    try:
        face = generator.encode(read_portrait(portrait))
    except GeneratorError as error:
        print(f"{portrait.name}: {error}", file=sys.stderr)
        return None
    motion = motion_of(generator, speech, random)
    chosen = sorted(random.choice(len(motion), frames, replace=False))
    made = [generator.render(face, motion[int(n) : int(n) + 1])[0] for n in chosen]
    real = face.picture.round().clamp(0, 255).to(torch.uint8)
    cuts = [loose_crop(picture) for picture in (real, *made)]
    if any(cut is None for cut in cuts):
        return None
    return {
        "people": portrait.stem,
        "crops": np.stack([cut[0] for cut in cuts if cut]),
        "landmarks": np.stack([cut[1] for cut in cuts if cut]),
    }


def save(path: Path, rows: list[dict[str, Any]]) -> None:
    partial = path.with_suffix(".part.npz")
    np.savez(partial, **{key: np.stack([row[key] for row in rows]) for key in ("people", "crops", "landmarks")})
    partial.replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True, help="safetensors of generator.training.pack")
    parser.add_argument("--portraits", type=Path, required=True)
    parser.add_argument("--speech", type=Path, required=True, help="folder of recordings")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--frames", type=int, default=3)
    parser.add_argument("--every", type=int, default=1, help="take every n-th portrait")
    parser.add_argument("--seed", type=int, default=1)
    settings = parser.parse_args()
    torch.set_num_threads(1)
    print(f"seed {settings.seed}")
    generator = load_generator(settings.checkpoint)
    portraits = sorted(p for p in settings.portraits.iterdir() if p.suffix in {".jpg", ".png"})[:: settings.every]
    speech = sorted(p for p in settings.speech.iterdir() if p.suffix in {".flac", ".wav"})
    rows: list[dict[str, Any]] = []
    if settings.out.exists():
        with np.load(settings.out) as kept:
            columns = {key: kept[key] for key in ("people", "crops", "landmarks")}
        rows = [{key: columns[key][n] for key in columns} for n in range(len(columns["people"]))]
    done = {str(row["people"]) for row in rows}
    for number, portrait in enumerate(tqdm(portraits, disable=not sys.stderr.isatty())):
        if portrait.stem in done:
            continue
        random = np.random.default_rng([settings.seed, number])
        row = one_person(generator, portrait, speech[number % len(speech)], settings.frames, random)
        if row is not None:
            rows.append(row)
        if number % SAVE_EVERY == SAVE_EVERY - 1:
            save(settings.out, rows)
    save(settings.out, rows)
    print(f"{settings.out}: {len(rows)} persons")


if __name__ == "__main__":
    main()
