"""One frame is enough where it was saved well; nothing is found where nothing is."""

import pytest
import torch
from torch import Tensor

from benchmarks.watermark_clips import talking_head
from tests.watermark.conftest import KEY, OTHER_KEY, PAYLOAD, mark_video
from watermark import TooSmallError, WatermarkError, detect_still


@pytest.mark.parametrize("index", [0, 30, 74])
def test_a_single_frame_gives_payload_and_bound(marked_head: Tensor, index: int) -> None:
    detection = detect_still(marked_head[index], [OTHER_KEY, KEY])
    assert (detection.payload, detection.key_id, detection.seconds_used) == (PAYLOAD, KEY.key_id, 0.0)
    assert detection.log10_false_positive <= -10


def test_a_crop_of_a_frame_with_a_plain_background_is_found() -> None:
    frame = talking_head(1, side=512, seed=8)
    frame[..., :200] = 120
    frame[..., 400:] = 120
    marked = mark_video(frame)[0]
    assert detect_still(marked[:, 20:450, 33:463], [KEY]).payload == PAYLOAD


def test_unmarked_frames_and_wrong_keys_give_nothing(head: Tensor, marked_head: Tensor) -> None:
    assert not detect_still(head[30], [KEY]).found
    assert not detect_still(marked_head[30], [OTHER_KEY]).found


def test_what_is_no_picture_is_refused(head: Tensor) -> None:
    with pytest.raises(TooSmallError, match="48x48"):
        detect_still(head[0, :, :48, :48], [KEY])
    with pytest.raises(WatermarkError, match="uint8"):
        detect_still(head[0].float(), [KEY])
    with pytest.raises(WatermarkError, match="no key"):
        detect_still(torch.zeros(3, 128, 128, dtype=torch.uint8), [])
