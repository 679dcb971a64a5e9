"""Thumbnails and contact sheets show the clip they were made from, at the times they name."""

import io
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from PIL import Image

from media import ClipWriter, FrameBlock
from vasari.reports import contact_sheet
from vasari.thumbnails import COUNT, SIDE_PX, pick_thumbnails


def grey_frames(count: int) -> torch.Tensor:
    """Frames that get brighter: frame i is grey 2 * i."""
    return torch.stack([torch.full((3, 64, 96), min(255, 2 * i), dtype=torch.uint8) for i in range(count)])


def blocks(count: int) -> list[FrameBlock]:
    """The frames in blocks of 7 at 25 frames/s."""
    frames = grey_frames(count)
    times = [Fraction(i, 25) for i in range(count)]
    return [FrameBlock(frames[i : i + 7], tuple(times[i : i + 7])) for i in range(0, count, 7)]


@pytest.mark.parametrize("count", [1, 3, 5, 50, 120])
def test_thumbnails_are_spread_over_a_stream_of_any_length(count: int) -> None:
    picked = pick_thumbnails(blocks(count))
    assert len(picked) == min(COUNT, count)
    times = [thumbnail.time_s for thumbnail in picked]
    assert times == sorted(set(times))
    if count >= 50:
        assert times[0] < 0.2 * count / 25
        assert times[-1] > 0.75 * count / 25


def test_a_thumbnail_shows_the_frame_of_its_time() -> None:
    for thumbnail in pick_thumbnails(blocks(100)):
        picture = Image.open(io.BytesIO(thumbnail.jpeg))
        assert max(picture.size) <= SIDE_PX
        assert picture.getpixel((10, 10))[0] == pytest.approx(2 * thumbnail.time_s * 25, abs=3)


def test_an_empty_stream_has_no_thumbnails() -> None:
    assert pick_thumbnails([]) == ()


def test_a_contact_sheet_holds_evenly_spaced_frames_in_reading_order(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    with ClipWriter(clip, width=96, height=64, fps=Fraction(25), sample_rate=None) as writer:
        writer.write_frames(grey_frames(100))
    sheet = Image.open(io.BytesIO(contact_sheet(clip, columns=3, rows=2, tile_px=96)))
    assert sheet.size == (10 + 3 * 106, 10 + 2 * (64 + 24 + 10))
    centres = [(10 + 106 * column + 48, 10 + 98 * row + 32) for row in range(2) for column in range(3)]
    greys = [sheet.getpixel(centre)[0] for centre in centres]
    assert greys == pytest.approx([200 * (i + 0.5) / 6 for i in range(6)], abs=8)
