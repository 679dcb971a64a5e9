"""Clips made on the fly: real MP4 files with the demo's synthetic person, or with nobody."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from torch import Tensor

from detector import Detector
from media import ClipWriter, read_portrait

PORTRAIT = Path(__file__).resolve().parents[2] / "vasari" / "demo" / "portrait.png"


@pytest.fixture(scope="session")
def detector() -> Detector:
    torch.set_num_threads(1)
    return Detector.load()


@pytest.fixture(scope="session")
def portrait() -> Tensor:
    """The demo's synthetic person, uint8 [3, H, W]."""
    return read_portrait(PORTRAIT)


def panned(picture: Tensor, count: int, side_px: int) -> Tensor:
    """A camera that drifts over a picture: uint8 [count, 3, side_px, side_px]."""
    side = min(picture.shape[-2:]) - 2 * count
    cuts = [picture[:, t : t + side, 2 * t : 2 * t + side] for t in range(count)]
    resized = torch.nn.functional.interpolate(
        torch.stack(cuts).float(), size=(side_px, side_px), mode="bilinear", antialias=True
    )
    return resized.round().clamp(0, 255).to(torch.uint8)


def write_clip(path: Path, frames: Tensor, fps: int = 25) -> Path:
    height, width = frames.shape[-2:]
    with ClipWriter(path, width=width, height=height, fps=Fraction(fps), sample_rate=None) as clip:
        clip.write_frames(frames)
    return path


@pytest.fixture(scope="session")
def clip_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Tensor], Path]:
    """Frames uint8 [N, 3, H, W] at 25 fps -> an MP4."""
    folder = tmp_path_factory.mktemp("clips")
    names = iter(range(1_000_000))
    return lambda frames: write_clip(folder / f"{next(names)}.mp4", frames)


@pytest.fixture(scope="session")
def face_clip(portrait: Tensor, clip_of: Callable[[Tensor], Path]) -> Path:
    """1.6 s of the demo person, 320 px."""
    return clip_of(panned(portrait, 40, 320))
