"""The video mark is invisible, the same for every way of cutting the stream, and says what it can't do."""

from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.watermark_clips import lively_scene
from tests.watermark.conftest import FPS, KEY, PAYLOAD, mark_video
from watermark import VideoEmbedder, WatermarkError
from watermark.video_embedder import dither
from watermark.visibility import FLAT_RMS, luma_of


def psnr_db(original: Tensor, marked: Tensor) -> Tensor:
    """Luma PSNR of each frame."""
    return 10 * torch.log10(255**2 / (luma_of(original) - luma_of(marked)).square().mean((1, 2)))


@pytest.fixture(scope="module")
def lively() -> Tensor:
    return lively_scene(4, side=384, seed=1)


def test_luma_psnr_is_at_least_46_db_in_every_frame(head: Tensor, marked_head: Tensor, lively: Tensor) -> None:
    assert float(psnr_db(head, marked_head).min()) >= 46
    quality = psnr_db(lively, mark_video(lively))
    assert float(quality.min()) >= 46
    assert float(quality.max()) <= 47, "where there is texture enough, it is used"


def test_nothing_is_seen_on_flat_places() -> None:
    flat = torch.full((8, 3, 512, 512), 128, dtype=torch.uint8)
    flat[:, :, 160:] = lively_scene(8, side=512, seed=2)[:, :, 160:]
    change = luma_of(mark_video(flat)) - luma_of(flat)
    cells = F.avg_pool2d(change[:, None], 8)[:, 0, :16]
    assert float(cells.square().mean().sqrt()) <= FLAT_RMS
    assert float(change[:, :128].abs().max()) <= 2
    assert float(change[:, 256:].square().mean().sqrt()) > 2 * float(change[:, :128].square().mean().sqrt())


def test_fractions_of_a_grey_level_are_kept() -> None:
    thresholds = dither(64, 96)
    for share in (0.1, 0.45, 0.8):
        above = (share + thresholds).floor()
        assert float(F.avg_pool2d(above[None], 8).sub(share).abs().max()) < 0.08


def test_block_sizes_do_not_change_a_bit(head: Tensor, marked_head: Tensor) -> None:
    embedder = VideoEmbedder(KEY, PAYLOAD, width=384, height=384, fps=FPS)
    parts = [embedder.push(part) for part in head[:30].split([1, 7, 2, 20])]
    assert torch.equal(torch.cat(parts), marked_head[:30])


def test_double_strength_costs_six_db(lively: Tensor) -> None:
    embedder = VideoEmbedder(KEY, PAYLOAD, width=384, height=384, fps=FPS, strength=2.0)
    assert float(psnr_db(lively, embedder.push(lively)).mean()) == pytest.approx(40.5, abs=0.5)


def test_the_input_is_left_as_it_was(head: Tensor) -> None:
    before = head[:2].clone()
    mark_video(head[:2])
    assert torch.equal(head[:2], before)


@pytest.mark.parametrize(("width", "height"), [(127, 512), (512, 100), (1300, 300)])
def test_sizes_the_lattice_does_not_fit_are_refused(width: int, height: int) -> None:
    with pytest.raises(WatermarkError, match=f"{width}x{height}"):
        VideoEmbedder(KEY, PAYLOAD, width=width, height=height, fps=FPS)


@pytest.mark.parametrize("frames", [torch.zeros(1, 3, 128, 128), torch.zeros(3, 128, 128, dtype=torch.uint8)])
def test_frames_of_another_type_or_shape_are_refused(frames: Tensor) -> None:
    with pytest.raises(WatermarkError, match="uint8"):
        VideoEmbedder(KEY, PAYLOAD, width=128, height=128, fps=FPS).push(frames)


def test_frames_of_another_size_are_refused() -> None:
    embedder = VideoEmbedder(KEY, PAYLOAD, width=128, height=160, fps=FPS)
    with pytest.raises(WatermarkError, match="128x160"):
        embedder.push(torch.zeros(1, 3, 128, 128, dtype=torch.uint8))


@pytest.mark.parametrize("option", [{"strength": 0.0}, {"strength": -1.0}, {"fps": Fraction(0)}])
def test_senseless_options_are_refused(option: dict[str, object]) -> None:
    with pytest.raises(WatermarkError):
        VideoEmbedder(KEY, PAYLOAD, **({"width": 128, "height": 128, "fps": FPS} | option))  # type: ignore[arg-type]
