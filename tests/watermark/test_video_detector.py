"""The video mark is found blindly after what people do to clips, and nowhere else."""

from collections.abc import Iterator
from fractions import Fraction

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.watermark_clips import talking_head
from media import codec_round_trip
from tests.watermark.conftest import FPS, KEY, OTHER_KEY, PAYLOAD, Block, blocks, mark_video
from watermark import WatermarkError, detect_video
from watermark.frame_window import FrameWindow


def resized(frames: Tensor, side: int) -> Tensor:
    out = F.interpolate(frames.float(), size=(side, side), mode="bilinear", antialias=True, align_corners=False)
    return out.round().clamp(0, 255).to(torch.uint8)


def test_a_clean_mark_gives_payload_key_id_and_bound(marked_head: Tensor) -> None:
    detection = detect_video(blocks(marked_head), [OTHER_KEY, KEY])
    assert detection.found
    assert (detection.medium, detection.payload, detection.key_id) == ("video", PAYLOAD, KEY.key_id)
    assert detection.log10_false_positive <= -11
    assert detection.seconds_used == pytest.approx(3.0)


def test_it_survives_h264_at_crf_28(compressed_head: Tensor) -> None:
    assert detect_video(blocks(compressed_head), [KEY]).payload == PAYLOAD


@pytest.mark.parametrize("cut", [1, 6, 19])
def test_it_is_found_when_the_first_frames_are_cut(compressed_head: Tensor, cut: int) -> None:
    assert detect_video(blocks(compressed_head[cut:]), [KEY]).payload == PAYLOAD


def test_it_survives_scaling_to_three_quarters(marked_head: Tensor) -> None:
    assert detect_video(blocks(resized(marked_head, 288)), [KEY]).payload == PAYLOAD


@pytest.mark.parametrize(("top", "left"), [(0, 0), (41, 77)])
def test_it_survives_a_crop_to_three_quarters(marked_head: Tensor, top: int, left: int) -> None:
    cropped = marked_head[:, :, top : top + 288, left : left + 288]
    assert detect_video(blocks(cropped), [KEY]).payload == PAYLOAD


def test_it_survives_crop_then_scaling_then_crf_28() -> None:
    cropped = mark_video(talking_head(75, side=512, seed=8))[:, :, 40:424, 70:454]
    received = codec_round_trip(resized(cropped, 352), fps=FPS, crf=28)
    assert detect_video(blocks(received), [KEY]).payload == PAYLOAD


def turned(frames: Tensor, degrees: float) -> Tensor:
    matrix = cv2.getRotationMatrix2D((191.5, 191.5), degrees, 1.0)
    return warped(frames, np.vstack([matrix, [0, 0, 1]]))


def warped(frames: Tensor, matrix: NDArray[np.float64]) -> Tensor:
    pictures = (np.ascontiguousarray(frame.permute(1, 2, 0).numpy()) for frame in frames)
    moved = [cv2.warpPerspective(p, matrix, (p.shape[1], p.shape[0]), flags=cv2.INTER_CUBIC) for p in pictures]
    return torch.from_numpy(np.stack(moved)).permute(0, 3, 1, 2).contiguous()


@pytest.mark.parametrize("degrees", [13.0, -90.0, 180.0])
def test_it_is_found_in_a_turned_picture_and_the_turn_is_told(marked_head: Tensor, degrees: float) -> None:
    detection = detect_video(blocks(turned(marked_head, degrees)), [KEY])
    assert detection.payload == PAYLOAD
    assert detection.pose is not None
    assert abs((detection.pose.turned_deg + degrees + 180) % 360 - 180) < 0.5  # OpenCV turns counter-clockwise


def test_it_is_found_in_a_mirror(marked_head: Tensor) -> None:
    detection = detect_video(blocks(marked_head.flip(3)), [KEY])
    assert detection.payload == PAYLOAD
    assert detection.pose is not None
    assert detection.pose.mirrored


def test_it_is_found_in_a_stretched_picture(marked_head: Tensor) -> None:
    wide = F.interpolate(marked_head.float(), size=(360, 432), mode="bilinear").round().to(torch.uint8)
    assert detect_video(blocks(wide), [KEY]).payload == PAYLOAD


def test_it_is_found_in_a_picture_seen_from_the_side(marked_head: Tensor) -> None:
    corners = np.array([[0, 0], [384, 0], [384, 384], [0, 384]], np.float32)
    seen = np.array([[30, 12], [376, 20], [384, 372], [24, 384]], np.float32)
    received = warped(marked_head, cv2.getPerspectiveTransform(corners, seen))
    assert detect_video(blocks(received), [KEY]).payload == PAYLOAD


@pytest.mark.parametrize("factor", [0.92, 1.09])
def test_it_is_found_at_another_speed(marked_head: Tensor, factor: float) -> None:
    detection = detect_video(blocks(marked_head, fps=FPS * Fraction(factor).limit_denominator(100)), [KEY])
    assert detection.payload == PAYLOAD
    assert detection.pose is not None


def test_the_pose_of_a_crop_says_where_it_was_cut(marked_head: Tensor) -> None:
    detection = detect_video(blocks(marked_head[:, :, 40:330, 70:360]), [KEY])
    assert detection.pose is not None
    corners = torch.tensor(detection.pose.original_corners(290, 290))
    expected = torch.tensor([[70, 40], [360, 40], [360, 330], [70, 330]]) / 384
    assert float((corners - expected).abs().max()) < 0.01


def test_it_survives_half_the_brightness(compressed_head: Tensor) -> None:
    assert detect_video(blocks((compressed_head.float() * 0.5).to(torch.uint8)), [KEY]).payload == PAYLOAD


def test_dropped_frames_and_another_time_origin_do_not_matter(compressed_head: Tensor) -> None:
    kept = [i for i in range(len(compressed_head)) if i % 5 != 2]
    times = [Fraction(7) + i / FPS for i in kept]
    assert detect_video([Block(compressed_head[kept], times)], [KEY]).payload == PAYLOAD


@pytest.mark.parametrize("fps", [Fraction(30000, 1001), Fraction(24)])
def test_frame_rates_other_than_25_work(head: Tensor, fps: Fraction) -> None:
    frames = mark_video(head, fps=fps)
    assert detect_video(blocks(frames, fps=fps), [KEY]).payload == PAYLOAD


def test_frames_of_any_aspect_work(head: Tensor) -> None:
    wide = mark_video(head[:60, :, 60:276].contiguous())
    assert detect_video(blocks(wide), [KEY]).payload == PAYLOAD
    assert detect_video(blocks(wide[:, :, :, 50:300]), [KEY]).payload == PAYLOAD


def test_an_unmarked_clip_has_no_mark(head: Tensor) -> None:
    detection = detect_video(blocks(head), [KEY])
    assert not detection.found
    assert (detection.payload, detection.key_id) == (None, None)


def test_another_key_finds_nothing(compressed_head: Tensor) -> None:
    assert not detect_video(blocks(compressed_head), [OTHER_KEY]).found


def test_block_sizes_do_not_change_the_detection(compressed_head: Tensor) -> None:
    results = {detect_video(blocks(compressed_head, size=size), [KEY]) for size in (1, 16, 75)}
    assert len(results) == 1


def test_reading_stops_at_the_first_genuine_payload(marked_head: Tensor) -> None:
    taken = []

    def stream() -> Iterator[Block]:
        for index in range(20):
            taken.append(index)
            start_s = index * len(marked_head) / FPS
            yield from blocks(marked_head, start_s=start_s, size=75)

    assert detect_video(stream(), [KEY]).found
    assert len(taken) == 1


def test_memory_is_bounded_by_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[int] = []
    pictures = FrameWindow.pictures

    def spy(window: FrameWindow) -> tuple[Tensor, Tensor]:
        slots, stacked = pictures(window)
        kept.append(len(slots))
        return slots, stacked

    monkeypatch.setattr(FrameWindow, "pictures", spy)
    frame = talking_head(1, side=64, seed=2)
    long = (Block(frame, [Fraction(i, 5)]) for i in range(5 * 23))
    detection = detect_video(long, [KEY])
    assert detection.seconds_used == pytest.approx(23, abs=0.5)
    assert max(kept) <= 20 * 5 + 1


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        (torch.zeros(12, 3, 128, 128, dtype=torch.uint8), "0.48 s"),
        (torch.zeros(0, 3, 128, 128, dtype=torch.uint8), "0.00 s"),
        (torch.zeros(30, 3, 40, 128, dtype=torch.uint8), "128x40"),
        (torch.zeros(30, 3, 128, 128), "uint8"),
    ],
)
def test_input_that_can_not_be_searched_is_an_error(frames: Tensor, reason: str) -> None:
    with pytest.raises(WatermarkError, match=reason):
        detect_video(blocks(frames), [KEY])


def test_looking_without_a_key_is_an_error(head: Tensor) -> None:
    with pytest.raises(WatermarkError, match="key"):
        detect_video(blocks(head), [])


def test_flat_black_frames_hold_nothing() -> None:
    assert not detect_video(blocks(torch.zeros(60, 3, 128, 128, dtype=torch.uint8)), [KEY]).found
