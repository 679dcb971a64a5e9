"""Known colours survive every matrix and range tag."""

import pytest
import torch
from torch import Tensor

from media import read_frames
from tests.media.recordings import encoded

BARS = [
    (255, 255, 255),
    (255, 255, 0),
    (0, 255, 255),
    (0, 255, 0),
    (255, 0, 255),
    (255, 0, 0),
    (0, 0, 255),
    (0, 0, 0),
    (200, 120, 60),
    (128, 128, 128),
]


def colour_bars(height: int) -> Tensor:
    bars = torch.tensor(BARS, dtype=torch.uint8).T[:, None, :].repeat_interleave(32, dim=2)
    return bars.expand(3, height, -1)[None].expand(2, -1, -1, -1).contiguous()


def shown_bars(data: bytes) -> Tensor:
    frame = next(iter(read_frames(data))).frames[0]
    return frame[:, frame.shape[1] // 2, 16::32].T


@pytest.mark.parametrize("matrix", [1, 5, 6, 9])
@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_tagged_colours_read_within_three_levels(codec: str, matrix: int, full_range: bool) -> None:
    options = {"crf": "4"} | ({"x265-params": "log-level=none:bframes=0"} if codec == "libx265" else {})
    data = encoded(colour_bars(64), codec=codec, matrix=matrix, full_range=full_range, options=options)
    error = (shown_bars(data).int() - torch.tensor(BARS).int()).abs().max()
    assert error <= 3


@pytest.mark.parametrize(("height", "matrix"), [(64, 6), (576, 6), (720, 1)])
def test_untagged_colours_are_guessed_by_height(height: int, matrix: int) -> None:
    data = encoded(colour_bars(height), matrix=matrix, tagged=False, codec="mpeg4", options={"qscale": "1", "b": "40M"})
    error = (shown_bars(data).int() - torch.tensor(BARS).int()).abs().max()
    assert error <= 4


def test_a_wrong_matrix_would_be_seen() -> None:
    """The bars tell the matrices apart: read as BT.601, BT.709 colours are far off."""
    data = encoded(colour_bars(64), matrix=1, tagged=False, codec="mpeg4", options={"qscale": "1", "b": "40M"})
    assert (shown_bars(data).int() - torch.tensor(BARS).int()).abs().max() > 15


@pytest.mark.parametrize("pix_fmt", ["yuv420p10le", "yuv444p", "gray"])
def test_deeper_and_grey_formats_become_8_bit_rgb(pix_fmt: str) -> None:
    data = encoded(colour_bars(64), pix_fmt=pix_fmt, options={"crf": "4"})
    shown = shown_bars(data).int()
    expected = torch.tensor(BARS).int()
    if pix_fmt == "gray":
        assert (shown.amax(1) - shown.amin(1)).max() <= 2
        expected, shown = expected[[0, 7, 9]], shown[[0, 7, 9]]
    assert (shown - expected).abs().max() <= 4
