"""What happens to a picture between camera and upload, drawn once and applied alike to a real frame and to its fakes.

Resizing, blur, noise, JPEG and H.264 (a third of the clips twice), as in "always the same codec chain on both sides".
"""

from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from media import codec_round_trip

Picture = NDArray[np.uint8]  # [H, W, 3] RGB
Frames = NDArray[np.uint8]  # [T, H, W, 3] RGB


@dataclass(frozen=True)
class ChainDraw:
    """One chain; 0 or 1.0 switches a link off."""

    reduction: float  # side after the first resize over side before
    enlarge_back: bool
    blur_px: float
    motion_blur_px: int
    noise: float  # standard deviation in 8-bit units
    noise_seed: int
    jpeg_quality: int
    crf: tuple[int, ...]  # H.264 encodes one after the other

    def covariates(self) -> dict[str, Any]:
        return asdict(self)


def draw_chain(random: np.random.Generator) -> ChainDraw:
    """Half of the chains are mild (a good camera, one encode), half are what platforms do to uploads."""
    harsh = random.random() < 0.5
    kind = random.random()
    crf: tuple[int, ...] = () if kind < 0.2 else (int(random.integers(16, 33 if harsh else 26)),)
    if crf and random.random() < 0.3:
        crf = (*crf, int(random.integers(18, 30)))
    return ChainDraw(
        reduction=float(random.uniform(0.4, 1.0)) if random.random() < (0.7 if harsh else 0.25) else 1.0,
        enlarge_back=bool(random.random() < 0.6),
        blur_px=float(random.uniform(0.3, 1.6)) if random.random() < (0.35 if harsh else 0.1) else 0.0,
        motion_blur_px=int(random.integers(2, 8)) if random.random() < 0.12 else 0,
        noise=float(random.uniform(1, 7)) if random.random() < 0.3 else 0.0,
        noise_seed=int(random.integers(2**31)),
        jpeg_quality=int(random.integers(30, 98)) if kind < 0.4 and random.random() < 0.8 else 0,
        crf=crf,
    )


def apply_chain(frames: Frames, draw: ChainDraw) -> Frames:
    """-> frames after the chain, [T, H, W, 3]; H and W even, smaller when reduced and not enlarged back."""
    side = frames.shape[1]
    small = max(64, round(side * draw.reduction) // 2 * 2)
    out = []
    for frame in frames:
        picture = cv2.resize(frame, (small, small), interpolation=cv2.INTER_AREA) if small < side else frame
        if draw.blur_px:
            picture = cv2.GaussianBlur(picture, (0, 0), draw.blur_px)
        if draw.motion_blur_px:
            angle = draw.noise_seed % 180
            picture = cv2.filter2D(picture, -1, _line_kernel(draw.motion_blur_px, angle))
        if draw.noise:
            noise = np.random.default_rng(draw.noise_seed).normal(0, draw.noise, picture.shape)
            picture = np.clip(picture + noise, 0, 255).astype(np.uint8)
        if draw.jpeg_quality:
            picture = jpeg_round_trip(picture, draw.jpeg_quality)
        if draw.enlarge_back and small < side:
            picture = cv2.resize(picture, (side // 2 * 2, side // 2 * 2), interpolation=cv2.INTER_CUBIC)
        out.append(picture)
    clip = torch.from_numpy(np.stack(out)).permute(0, 3, 1, 2)
    for crf in draw.crf:
        clip = codec_round_trip(clip, fps=Fraction(25), crf=crf)
    return clip.permute(0, 2, 3, 1).numpy()


def jpeg_round_trip(picture: Picture, quality: int) -> Picture:
    done, data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done
    return np.ascontiguousarray(cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1])


def _line_kernel(length_px: int, angle_deg: float) -> NDArray[np.float32]:
    size = 2 * (length_px // 2) + 3
    kernel = np.zeros((size, size), np.float32)
    middle, turn = size // 2, np.deg2rad(angle_deg)
    reach = np.array([np.cos(turn), np.sin(turn)]) * length_px / 2
    ends = [tuple(int(v) for v in np.round(middle + sign * reach)) for sign in (-1, 1)]
    cv2.line(kernel, ends[0], ends[1], 1.0)
    return np.asarray(kernel / kernel.sum(), np.float32)
