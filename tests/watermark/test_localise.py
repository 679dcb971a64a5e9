"""A mark that was read is placed in time, wherever the marked part was cut in."""

import pytest
import torch
from torch import Tensor

from benchmarks.watermark_clips import talking_head
from media import codec_round_trip
from tests.watermark.conftest import FPS, KEY, OTHER_KEY, PAYLOAD, blocks
from watermark import WatermarkError, detect_video, locate_mark


@pytest.fixture(scope="module")
def other() -> Tensor:
    return talking_head(75, side=384, seed=11)


def test_a_marked_part_in_an_unmarked_clip_is_placed(marked_head: Tensor, other: Tensor) -> None:
    received = codec_round_trip(torch.cat([other[:40], marked_head, other[40:]]), fps=FPS, crf=23)
    found = detect_video(blocks(received), [KEY])
    assert found.payload == PAYLOAD
    (stretch,) = locate_mark(blocks(received), found, [OTHER_KEY, KEY][1:])
    assert stretch.start_s == pytest.approx(1.6, abs=0.25)
    assert stretch.end_s == pytest.approx(4.6, abs=0.25)
    assert stretch.payload == PAYLOAD


def test_an_unmarked_part_in_a_marked_clip_is_placed(marked_head: Tensor, other: Tensor) -> None:
    received = torch.cat([marked_head[:45], other[:30], marked_head[45:]])
    found = detect_video(blocks(received), [KEY])
    first, *_ = locate_mark(blocks(received), found, [KEY])
    assert (first.start_s, first.end_s) == pytest.approx((0, 1.8), abs=0.25)


def test_only_what_was_read_can_be_placed(head: Tensor) -> None:
    nothing = detect_video(blocks(head), [KEY])
    with pytest.raises(WatermarkError, match="only a mark that was read"):
        locate_mark(blocks(head), nothing, [KEY])
