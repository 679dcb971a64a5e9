"""Fakes of one real frame, aligned with it: decoder twins, re-posed twins, partial twins, self-blends, plain warps.

Self-blended images follow the words of Shiohara and Yamasaki, CVPR 2022; autoencoder twins those of TwinD. Each fake is
returned with a mask 0..1 that says which pixels were made.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from detector.training.autoencoders import TwinAutoencoder
from detector.training.codec_chain import Frames

Mask = NDArray[np.float32]  # [H, W] in 0..1
Points = NDArray[np.float32]  # [468, 2] pixels

MOUTH = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146)
RIGHT_EYE = (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246)
LEFT_EYE = (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466)
CHIN = (152, 148, 176, 149, 150, 136, 172, 377, 400, 378, 379, 365, 397)


@dataclass(frozen=True)
class Fake:
    kind: str
    frames: Frames
    mask: Mask


def twin_of(frames: Frames, autoencoder: TwinAutoencoder) -> Frames:
    """Every frame seen through the autoencoder; any size, padded to multiples of 16 inside."""
    height, width = frames.shape[1:3]
    batch = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255
    pad = (0, -width % 16, 0, -height % 16)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        made = autoencoder(torch.nn.functional.pad(batch, pad, mode="reflect"))
    made = made[..., :height, :width].float().mul(255).round().clamp(0, 255)
    return np.ascontiguousarray(made.to(torch.uint8).permute(0, 2, 3, 1).numpy())


def smooth_flow(size: int, random: np.random.Generator, strength_px: float) -> NDArray[np.float32]:
    """A flow [size, size, 2] like a small turn of the head: a few Gaussian bumps and a global tilt."""
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    flow = np.zeros((size, size, 2), np.float32)
    for _ in range(int(random.integers(2, 6))):
        centre, width = random.uniform(0.25, 0.75, 2) * size, random.uniform(0.08, 0.3) * size
        bump = np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (2 * width**2))
        flow += bump[..., None] * random.uniform(-strength_px, strength_px, 2).astype(np.float32)
    return flow


def warp(frames: NDArray[Any], flow: NDArray[np.float32]) -> Frames:
    y, x = np.mgrid[0 : frames.shape[1], 0 : frames.shape[2]].astype(np.float32)
    moved = [
        cv2.remap(frame, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
        for frame in frames
    ]
    return np.stack(moved)


def part_mask(points: Points, size: int, random: np.random.Generator) -> Mask:
    """Mouth, mouth and chin, eyes, half a face or the whole face, with a soft edge."""
    width = float(np.ptp(points[:, 0]))
    kind = random.choice(["mouth", "mouth and chin", "eyes", "half", "face", "face"])
    mask = np.zeros((size, size), np.float32)
    groups: dict[str, list[Any]] = {
        "mouth": [points[list(MOUTH)]],
        "mouth and chin": [points[list(MOUTH + CHIN)]],
        "eyes": [points[list(RIGHT_EYE)], points[list(LEFT_EYE)]],
    }
    for group in groups.get(str(kind), [points]):
        cv2.fillConvexPoly(mask, cv2.convexHull(group.astype(np.int32)), 1.0)
    if kind == "half":
        middle = points.mean(0)
        normal = random.normal(size=2)
        y, x = np.mgrid[0:size, 0:size]
        mask *= ((x - middle[0]) * normal[0] + (y - middle[1]) * normal[1] > 0).astype(np.float32)
    if kind in {"mouth", "mouth and chin", "eyes"}:
        reach = max(3, int(width * random.uniform(0.05, 0.16)))
        mask = cv2.dilate(mask, np.ones((reach, reach), np.uint8))
    soft = cv2.GaussianBlur(mask, (0, 0), width * random.uniform(0.01, 0.05) + 0.5)
    return np.asarray(np.clip(soft, 0, 1), np.float32)


def blend(over: Frames, under: Frames, mask: Mask) -> Frames:
    weight = mask[None, ..., None]
    return np.clip(over * weight + under * (1 - weight) + 0.5, 0, 255).astype(np.uint8)


def paste_back(made: Frames, real: Frames, points: Points, random: np.random.Generator, kind: str) -> Fake:
    """A made face blended into the real frame it came from."""
    mask = part_mask(points, real.shape[1], random)
    return Fake(kind, blend(made, real, mask), mask)


def self_blend(frames: Frames, points: Points, random: np.random.Generator) -> Fake:
    """A slightly changed copy of the face blended onto itself (self-blended image)."""
    size, width = frames.shape[1], float(np.ptp(points[:, 0]))
    draw = int(random.integers(2**31))
    source = np.stack([_statistics_changed(frame, np.random.default_rng(draw)) for frame in frames])
    shift = random.uniform(-1, 1, 2) * (0.03 * width, 0.015 * width)
    scale = random.uniform(0.95, 1.05)
    middle = points.mean(0)
    move = np.array([[scale, 0, (1 - scale) * middle[0] + shift[0]], [0, scale, (1 - scale) * middle[1] + shift[1]]])
    source = np.stack([cv2.warpAffine(frame, move, (size, size), borderMode=cv2.BORDER_REFLECT) for frame in source])
    hull = (
        points if random.random() < 0.7 else points[points[:, 1] > np.quantile(points[:, 1], random.uniform(0.1, 0.5))]
    )
    mask = np.zeros((size, size), np.float32)
    cv2.fillConvexPoly(mask, cv2.convexHull(hull.astype(np.int32)), 1.0)
    flow = smooth_flow(size, random, 0.06 * width)
    mask = warp(mask[None, ..., None], flow)[0]
    mask = cv2.GaussianBlur(mask, (0, 0), width * random.uniform(0.015, 0.06))
    mask = np.clip((mask - 0.45) * 2, 0, 1)
    mask = cv2.GaussianBlur(mask, (0, 0), width * random.uniform(0.01, 0.08))
    mask *= random.choice([0.25, 0.5, 0.75, 1, 1, 1]) / max(float(mask.max()), 1e-3)
    return Fake("self-blend", blend(source, frames, mask.astype(np.float32)), (mask > 0.1).astype(np.float32))


def _statistics_changed(frame: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    """Colour, contrast, and either reduced and enlarged or sharpened."""
    picture = frame.astype(np.float32)
    if random.random() < 0.3:
        picture += random.uniform(-20, 20, 3).astype(np.float32)
    picture = (picture - 128) * random.uniform(0.9, 1.1) + 128 + random.uniform(-0.1, 0.1) * 128
    picture = np.clip(picture, 0, 255)
    side = frame.shape[0]
    if random.random() < 0.5:
        small = side // int(random.choice([2, 4]))
        reduced = cv2.resize(picture, (small, small), interpolation=cv2.INTER_NEAREST)
        picture = cv2.resize(reduced, (side, side), interpolation=cv2.INTER_LINEAR)
    else:
        picture += random.uniform(0.2, 0.5) * 2 * (picture - cv2.GaussianBlur(picture, (0, 0), 1.2))
    return np.asarray(np.clip(picture, 0, 255), np.uint8)


def sharpened(frames: Frames, amount: float) -> Frames:
    """What enlargers and editors do to a made clip."""
    soft = np.stack([cv2.GaussianBlur(frame, (0, 0), 1.5) for frame in frames]).astype(np.float32)
    return np.clip(frames + amount * (frames - soft), 0, 255).astype(np.uint8)
