"""A few small pictures of a clip, picked while it streams by."""

import io
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from PIL import Image

from media import FrameBlock

COUNT = 5
SIDE_PX = 240


@dataclass(frozen=True)
class Thumbnail:
    """One frame, at most `SIDE_PX` on its longer side, as JPEG."""

    time_s: float
    jpeg: bytes


def pick_thumbnails(blocks: Iterable[FrameBlock]) -> tuple[Thumbnail, ...]:
    """Evenly spaced frames of a stream whose length nobody knows, at most `COUNT`, in bounded memory.

    Every `stride`-th frame is kept; when too many are, every other one goes and the stride doubles.
    """
    kept: list[Thumbnail] = []
    stride, number = 1, 0
    for block in blocks:
        for frame, time_s in zip(block.frames, block.times, strict=True):
            if number % stride == 0:
                kept.append(Thumbnail(float(time_s), _jpeg(frame)))
            number += 1
            if len(kept) > 4 * COUNT:
                kept, stride = kept[::2], stride * 2
    middles = [int((i + 0.5) * len(kept) / COUNT) for i in range(COUNT)]
    return tuple(kept[i] for i in sorted(set(middles))) if kept else ()


def _jpeg(frame: torch.Tensor) -> bytes:
    """`frame`: uint8 [3, H, W]."""
    image = Image.fromarray(frame.permute(1, 2, 0).contiguous().numpy())
    image.thumbnail((SIDE_PX, SIDE_PX))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    return buffer.getvalue()
