"""Loose face crops and landmarks of a folder of portraits, cached as one array: the first step of training.

    python -m detector.training.portrait_faces --portraits FOLDER --out faces.npz

One square crop per picture, LOOSE times the face box, resized to LOOSE_PX. The split into train, calibration and
test goes by a hash of the person, so that no face is on two sides.
"""

import argparse
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from media import MediaError, find_faces, read_portrait

LOOSE = 2.0
LOOSE_PX = 384
SPLIT = (("train", 0.64), ("calibration", 0.82), ("test", 1.01))  # upper ends of the hash interval


def split_of(person: str) -> str:
    """train, calibration or test, fixed by the SHA-256 of the person's id."""
    place = int.from_bytes(hashlib.sha256(person.encode()).digest()[:4], "big") / 2**32
    return next(name for name, end in SPLIT if place < end)


def loose_crop(picture: NDArray[np.uint8], landmarks: NDArray[np.float32]) -> tuple[Any, NDArray[np.float32]]:
    """-> crop [LOOSE_PX, LOOSE_PX, 3], landmarks [468, 2] in it. What lies outside the picture is mirrored."""
    low, high = landmarks.min(0), landmarks.max(0)
    side = LOOSE * float((high - low).max())
    x0, y0 = (low + high - side) / 2
    scale = LOOSE_PX / side
    to_crop = np.array([[scale, 0, -x0 * scale], [0, scale, -y0 * scale]], np.float32)
    if scale < 0.7:  # warpAffine does not average: take out first what the crop cannot hold
        picture = cv2.GaussianBlur(picture, (0, 0), 0.45 / scale)
    crop = cv2.warpAffine(picture, to_crop, (LOOSE_PX, LOOSE_PX), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    return crop, landmarks * scale + to_crop[:, 2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--portraits", type=Path, required=True, help="folder of one picture per person, name = person")
    parser.add_argument("--out", type=Path, required=True, help=".npz to write")
    settings = parser.parse_args()
    torch.set_num_threads(1)
    crops, points, people, skipped = [], [], [], []
    files = sorted(p for p in settings.portraits.iterdir() if p.suffix.lower() in {".jpg", ".jpeg", ".png"})
    for path in tqdm(files, disable=not sys.stderr.isatty()):
        try:
            picture = read_portrait(path)
        except MediaError as error:
            skipped.append(f"{path.name}: {error}")
            continue
        faces = find_faces(picture, max_faces=1)
        if not faces:
            skipped.append(f"{path.name}: no face found")
            continue
        crop, landmarks = loose_crop(picture.permute(1, 2, 0).numpy(), faces[0].landmarks[:468, :2].numpy())
        crops.append(crop)
        points.append(landmarks)
        people.append(path.stem)
    splits = [split_of(person) for person in people]
    np.savez(
        settings.out,
        crops=np.stack(crops),
        landmarks=np.stack(points),
        people=np.array(people),
        splits=np.array(splits),
    )
    counts = {name: splits.count(name) for name, _ in SPLIT}
    settings.out.with_suffix(".json").write_text(
        json.dumps({"portraits": len(people), "splits": counts, "skipped": skipped}, indent=1)
    )
    print(counts, f"{len(skipped)} skipped")


if __name__ == "__main__":
    main()
