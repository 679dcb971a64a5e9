"""Make shards of paired crops: one real and its fakes, the same frame, motion, codec chain and crop on all of them.

    python -m detector.training.build_pairs --faces faces.npz --twins twins/ --split train --draws 0:8 --out pairs/
    python -m detector.training.build_pairs ... --split test --only nearest8 --out pairs_held_out/

A shard holds one draw per person: crops uint8 [P, 1 + F, 160, 160, 3] (the real first), masks uint8 [P, 1 + F, 10, 10],
kinds [P, 1 + F], person [P], chain (JSON of the draw) [P]. Finished shards are kept, so the script resumes.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from detector.face_crops import Box, crop_square
from detector.training.autoencoders import HELD_OUT, TwinAutoencoder, load_twin
from detector.training.codec_chain import Frames, apply_chain, draw_chain, jpeg_round_trip
from detector.training.fakes import Fake, Points, paste_back, self_blend, sharpened, smooth_flow, twin_of, warp
from detector.training.portrait_faces import LOOSE, LOOSE_PX, split_of

MASK_CELLS = 10
Twins = dict[str, TwinAutoencoder]


def camera_frames(crop: NDArray[np.uint8], points: Points, random: np.random.Generator) -> tuple[Frames, Points]:
    """One to three frames of a hand-held camera's look at the portrait: [T, G, G, 3], landmarks of the last one."""
    size = int(random.integers(52, 144)) * 2
    length = 1 if random.random() < 0.5 else 3
    factor = random.uniform(1.45, LOOSE * 0.97)  # frame side over face box
    angle, mirrored = random.normal(0, 5), random.random() < 0.5
    centre = np.array([LOOSE_PX / 2, LOOSE_PX / 2]) + random.normal(0, 4, 2)
    drift = random.normal(0, [0.6, 0.6, 0.25, 0.002], 4)  # px, px, degrees, scale per frame
    frames, moved = [], points
    for t in range(length):
        scale = size / (LOOSE_PX * factor / LOOSE) * (1 + t * drift[3])
        matrix = cv2.getRotationMatrix2D(tuple(centre), angle + t * drift[2], scale)
        matrix[:, 2] += size / 2 - centre + t * drift[:2]
        if mirrored:
            matrix = np.diag([-1.0, 1.0]) @ matrix + np.array([[0, 0, size - 1], [0, 0, 0]])
        soft = cv2.GaussianBlur(crop, (0, 0), 0.45 / scale) if scale < 0.8 else crop
        frames.append(cv2.warpAffine(soft, matrix, (size, size), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT))
        moved = points @ matrix[:, :2].T + matrix[:, 2]
    return np.stack(frames), moved.astype(np.float32)


def camera_look(crop: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    """Light, colour, beauty filter and an earlier JPEG of the picture, before anything is made from it."""
    picture = crop.astype(np.float32)
    gain = np.exp(random.normal(0, 0.12)) * np.exp(random.normal(0, 0.05, 3))
    picture = 255 * np.clip(picture / 255 * gain, 0, 1) ** np.exp(random.normal(0, 0.15))
    if random.random() < 0.15:
        grey = picture.mean(-1, keepdims=True)
        picture = grey + (picture - grey) * random.uniform(0, 0.8)
    done = np.clip(picture, 0, 255).astype(np.uint8)
    if random.random() < 0.15:
        done = cv2.bilateralFilter(done, 7, float(random.uniform(10, 40)), 5)
    if random.random() < 0.15:
        done = sharpened(done[None], random.uniform(0.2, 0.8))[0]
    if random.random() < 0.45:
        done = poor_camera(done, random)
    return jpeg_round_trip(done, int(random.integers(60, 96))) if random.random() < 0.3 else done


def poor_camera(picture: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    """A soft lens, few pixels, noise and an old codec, so that softness and blocks alone never mean a fake."""
    side = picture.shape[0]
    soft = cv2.GaussianBlur(picture, (0, 0), float(random.uniform(0.5, 2.5))) if random.random() < 0.6 else picture
    small = int(side * random.uniform(0.3, 0.8))
    soft = cv2.resize(soft, (small, small), interpolation=cv2.INTER_AREA)
    if random.random() < 0.5:
        noise = random.normal(0, random.uniform(1, 8), soft.shape)
        soft = np.clip(soft + noise, 0, 255).astype(np.uint8)
    if random.random() < 0.7:
        soft = jpeg_round_trip(soft, int(random.integers(25, 92)))
    how = cv2.INTER_CUBIC if random.random() < 0.5 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(soft, (side, side), interpolation=how), np.uint8)


def made_face(frames: Frames, points: Points, twins: Twins, random: np.random.Generator) -> tuple[str, Frames]:
    """The frame through a random decoder, half of the time re-posed by a smooth flow first, sometimes sharpened."""
    name = str(random.choice(sorted(twins)))
    source = frames
    if random.random() < 0.5:
        strength = random.uniform(0.01, 0.05) * float(np.ptp(points[:, 0]))
        source = warp(frames, smooth_flow(frames.shape[1], random, strength))
    made = twin_of(source, twins[name])
    if random.random() < 0.2:
        made = sharpened(made, random.uniform(0.3, 1.2))
    return name, made


def fakes_of(frames: Frames, points: Points, twins: Twins, random: np.random.Generator, only_twins: bool) -> list[Fake]:
    """A whole made frame, a pasted-back part, and one of self-blend, plain warp and a second whole frame."""
    whole = np.ones(frames.shape[1:3], np.float32)
    name, made = made_face(frames, points, twins, random)
    fakes = [Fake(f"twin {name}", made, whole)]
    if only_twins:
        return fakes
    name, made = made_face(frames, points, twins, random)
    fakes.append(paste_back(made, frames, points, random, f"part {name}"))
    third = random.random()
    if third < 0.45:
        fakes.append(self_blend(frames, points, random))
    elif third < 0.6:
        flow = smooth_flow(frames.shape[1], random, 0.05 * float(np.ptp(points[:, 0])))
        fakes.append(Fake("warp", warp(frames, flow), whole))
    else:
        name, made = made_face(frames, points, twins, random)
        fakes.append(Fake(f"twin {name}", made, whole))
    return fakes


def jittered_box(points: Points, random: np.random.Generator) -> Box:
    """The landmark box, off by what a face finder is off."""
    low, high = points.min(0), points.max(0)
    side = float((high - low).max())
    dx, dy = random.normal(0, 0.02 * side, 2)
    grow = 1 + random.normal(0, 0.03)
    middle, half = (low + high) / 2 + (dx, dy), (high - low) / 2 * grow
    return (*(middle - half), *(middle + half))


def network_crop(frames: Frames, made_from_side: int, box: Box) -> NDArray[np.uint8]:
    """The last frame of a clip, wherever the chain left its scale, cropped by the one rule: [160, 160, 3]."""
    scale = frames.shape[1] / made_from_side
    frame = torch.from_numpy(frames[-1]).permute(2, 0, 1)
    x0, y0, x1, y1 = (side * scale for side in box)
    return crop_square(frame, (x0, y0, x1, y1)).permute(1, 2, 0).numpy()


def one_person(
    crop: NDArray[np.uint8], points: Points, twins: Twins, random: np.random.Generator, only_twins: bool
) -> dict[str, Any]:
    frames, moved = camera_frames(camera_look(crop, random), points, random)
    whole = [Fake("real", frames, np.zeros(frames.shape[1:3], np.float32))]
    members = whole + fakes_of(frames, moved, twins, random, only_twins)
    box = jittered_box(moved, random)
    return through_chain(members, [box] * len(members), random)


def rendered_person(crops: NDArray[np.uint8], points: NDArray[np.float32], seed: list[int]) -> dict[str, Any]:
    """A real working picture and what a generator made of it: [1 + F, 384, 384, 3], landmarks [1 + F, 468, 2].

    Poses differ, so each face has its own box; light, camera and jitter are the same draw.
    """
    members, boxes = [], []
    for number, (crop, face) in enumerate(zip(crops, points, strict=True)):
        random = np.random.default_rng(seed)
        frames, moved = camera_frames(camera_look(crop, random), face, random)
        mask = np.full(frames.shape[1:3], 0.5 if number else 0.0, np.float32)  # its background is mostly real
        if number:
            cv2.fillConvexPoly(mask, cv2.convexHull(moved.astype(np.int32)), 1.0)
        members.append(Fake("rendered" if number else "real", frames, mask))
        boxes.append(jittered_box(moved, random))
    return through_chain(members, boxes, np.random.default_rng([*seed, 1]))


def through_chain(members: list[Fake], boxes: list[Box], random: np.random.Generator) -> dict[str, Any]:
    """One codec chain for all members, then the one crop rule."""
    chain, side, length = draw_chain(random), members[0].frames.shape[1], len(members[0].frames)
    crops = [
        network_crop(apply_chain(member.frames, chain), side, box) for member, box in zip(members, boxes, strict=True)
    ]
    masks = []
    for member, box in zip(members, boxes, strict=True):
        plane = np.repeat((member.mask * 255).astype(np.uint8)[None, ..., None], 3, -1)
        cut = network_crop(plane, side, box)[..., 0]
        masks.append(cv2.resize(cut, (MASK_CELLS, MASK_CELLS), interpolation=cv2.INTER_AREA))
    box = boxes[0]
    face_px = (box[2] - box[0]) * (chain.reduction if not chain.enlarge_back else 1.0)
    record = {**chain.covariates(), "frame_px": side, "face_px": face_px, "length": length}
    return {
        "crops": np.stack(crops),
        "masks": np.stack(masks),
        "kinds": [m.kind for m in members],
        "chain": json.dumps(record),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=Path, required=True)
    parser.add_argument("--twins", type=Path, help="folder of train_autoencoders.py")
    parser.add_argument(
        "--rendered", action="store_true", help="--faces is the .npz of generator.training.render_fakes"
    )
    parser.add_argument("--split", choices=["train", "calibration", "test"], required=True)
    parser.add_argument("--draws", default="0:4", help="FIRST:END")
    parser.add_argument("--only", default="", help="use this decoder alone, for whole frames alone")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=5)
    settings = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    settings.out.mkdir(parents=True, exist_ok=True)
    print(f"seed {settings.seed}")
    unseen = HELD_OUT.name if not settings.only else ""
    if not settings.rendered and not settings.twins:
        parser.error("--twins is needed unless --rendered")
    twins = {
        path.stem: load_twin(path)
        for path in sorted(settings.twins.glob("*.safetensors") if settings.twins else ())
        if path.stem.startswith(settings.only) and not (unseen and path.stem.startswith(unseen))
    }
    with np.load(settings.faces) as faces:
        chosen = np.array([split_of(str(person)) == settings.split for person in faces["people"]])
        crops, points, people = faces["crops"][chosen], faces["landmarks"][chosen], faces["people"][chosen]
    first, end = (int(part) for part in settings.draws.split(":"))
    for draw in range(first, end):
        shard = settings.out / f"{settings.split}-{draw:03d}.npz"
        if shard.exists():
            continue
        rows = []
        for number in tqdm(range(len(people)), desc=shard.stem, disable=not sys.stderr.isatty()):
            seed = [settings.seed, draw, number]
            if settings.rendered:
                rows.append(rendered_person(crops[number], points[number], seed))
            else:
                random = np.random.default_rng(seed)
                rows.append(one_person(crops[number], points[number], twins, random, bool(settings.only)))
        columns = {key: np.stack([row[key] for row in rows]) for key in ("crops", "masks", "kinds", "chain")}
        partial = shard.with_suffix(".part.npz")
        np.savez(partial, person=people, **columns)
        partial.rename(shard)
        print(f"{shard}: {len(people)} persons, twins {sorted(twins)}", flush=True)


if __name__ == "__main__":
    main()
