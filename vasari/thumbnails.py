"""A few small pictures of a clip, picked while it streams by."""

import io
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from media import FrameBlock
from PIL import Image

COUNT = 5
SIDE_PX = 240


@dataclass(frozen=True)
class Thumbnail:
    """One frame, at most `SIDE_PX` on its longer side, as JPEG."""

    time_s: float
    jpeg: bytes


def pick_thumbnails(blocks: Iterable[FrameBlock], *, duration_s: float, count: int = COUNT) -> tuple[Thumbnail, ...]:
    """`count` evenly spaced frames; fewer when the stream is shorter than its header says."""
    wanted = [duration_s * (i + 0.5) / count for i in range(count)]
    picked: list[Thumbnail] = []
    for block in blocks:
        for frame, time_s in zip(block.frames, block.times, strict=True):
            if len(picked) < count and (float(time_s) >= wanted[len(picked)] - 1e-6):
                picked.append(Thumbnail(float(time_s), _jpeg(frame)))
    return tuple(picked)


def _jpeg(frame: torch.Tensor) -> bytes:
    """`frame`: uint8 [3, H, W]."""
    image = Image.fromarray(frame.permute(1, 2, 0).contiguous().numpy())
    image.thumbnail((SIDE_PX, SIDE_PX))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    return buffer.getvalue()
