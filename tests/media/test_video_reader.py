"""Frames come out as they are meant to be shown, at their exact times, in bounded memory."""

import gc
import io
import itertools
import weakref
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from torch import Tensor

from media import FrameBlock, MediaError, read_frames
from tests.media.recordings import encoded, moving_picture, tone


def joined(blocks: list[FrameBlock]) -> tuple[Tensor, list[Fraction]]:
    return torch.cat([block.frames for block in blocks]), [time for block in blocks for time in block.times]


def mean_error(a: Tensor, b: Tensor) -> float:
    return float((a.float() - b.float()).abs().mean())


@pytest.mark.parametrize(
    ("codec", "container", "options"),
    [
        ("libx264", "mp4", None),
        ("libx264", "matroska", None),
        ("libx264", "mpegts", None),
        ("libx265", "mp4", {"crf": "8", "x265-params": "log-level=none"}),
        ("libvpx-vp9", "webm", {"crf": "8", "b": "0", "cpu-used": "8", "deadline": "realtime"}),
        ("mpeg4", "avi", {"qscale": "2", "b": "4M"}),
    ],
)
def test_every_common_codec_and_container_gives_the_frames_that_went_in(
    codec: str, container: str, options: dict[str, str] | None
) -> None:
    frames = moving_picture()
    data = encoded(frames, codec=codec, container=container, options=options, matrix=6)
    read, times = joined(list(read_frames(data, block_frames=5)))
    assert read.shape == frames.shape
    assert mean_error(read, frames) < 4
    assert times == [Fraction(index, 25) for index in range(12)] or container in {"matroska", "webm"}
    assert max(abs(time - Fraction(index, 25)) for index, time in enumerate(times)) < Fraction(1, 1000)


def test_blocks_are_full_but_the_last() -> None:
    blocks = list(read_frames(encoded(moving_picture(13)), block_frames=5))
    assert [len(block.times) for block in blocks] == [5, 5, 3]
    assert all(block.frames.dtype == torch.uint8 and block.frames.is_contiguous() for block in blocks)


def test_a_variable_frame_rate_keeps_its_exact_times() -> None:
    pts = [0, 3000, 3600, 9000, 9001, 30000, 90000, 90900]
    data = encoded(moving_picture(8), pts=pts, time_base=Fraction(1, 90000))
    _, times = joined(list(read_frames(data)))
    assert times == [Fraction(p, 90000) for p in pts]


def test_times_count_from_the_start_of_the_file() -> None:
    late = encoded(moving_picture(4), pts=[250, 251, 252, 253], container="mpegts")
    _, times = joined(list(read_frames(late)))
    assert times == [Fraction(index, 25) for index in range(4)]


def test_a_picture_that_starts_after_the_sound_keeps_its_delay() -> None:
    data = encoded(moving_picture(4), pts=[25, 26, 27, 28], container="matroska", sound=tone(2.0))
    _, times = joined(list(read_frames(data)))
    assert abs(times[0] - 1) < Fraction(3, 100)


def test_missing_timestamps_are_counted_at_the_frame_rate() -> None:
    data = encoded(moving_picture(8), container="h264")
    _, times = joined(list(read_frames(data)))
    steps = {b - a for a, b in itertools.pairwise(times)}
    assert len(times) == 8
    assert times[0] == 0
    assert steps == {Fraction(1, 25)}


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
@pytest.mark.parametrize("mirrored", [False, True])
def test_the_display_matrix_is_applied(degrees: int, mirrored: bool) -> None:
    stored = moving_picture(3)
    data = encoded(stored, prepare=lambda stream: stream.set_display_rotation(degrees, hflip=mirrored))
    read, _ = joined(list(read_frames(data)))
    upright = torch.rot90(stored, degrees // 90, (2, 3))
    expected = upright.flip(3) if mirrored else upright
    assert read.shape == expected.shape
    assert mean_error(read, expected) < 4


def test_odd_sizes_are_read_whole() -> None:
    frames = moving_picture(3, 61, 93)
    read, _ = joined(list(read_frames(encoded(frames, pix_fmt="yuv444p"))))
    assert read.shape == frames.shape
    assert mean_error(read, frames) < 3


def test_max_side_px_scales_the_longer_side_down_and_never_up() -> None:
    data = encoded(moving_picture(3, 64, 96))
    small, _ = joined(list(read_frames(data, max_side_px=48)))
    same, _ = joined(list(read_frames(data, max_side_px=500)))
    assert small.shape[2:] == (32, 48)
    assert same.shape[2:] == (64, 96)
    pooled = torch.nn.functional.avg_pool2d(same.float(), 2)
    assert mean_error(small, pooled) < 2


@pytest.mark.parametrize("start_s", [0.0, 0.21, 1.0, 3.9])
def test_only_the_wanted_span_is_given(start_s: float) -> None:
    data = encoded(moving_picture(100, 32, 48), options={"crf": "20", "g": "30"})
    whole, all_times = joined(list(read_frames(data)))
    blocks = list(read_frames(data, start_s=start_s, end_s=start_s + 0.5))
    read, times = joined(blocks)
    wanted = [index for index, time in enumerate(all_times) if start_s <= time < start_s + 0.5]
    assert times == [all_times[index] for index in wanted]
    assert torch.equal(read, whole[wanted])


def test_path_bytes_and_file_object_give_the_same(tmp_path: Path) -> None:
    data = encoded(moving_picture())
    path = tmp_path / "clip.mp4"
    path.write_bytes(data)
    from_bytes, _ = joined(list(read_frames(data)))
    with path.open("rb") as file:
        file.seek(100)
        for source in (path, str(path), file, io.BytesIO(data)):
            assert torch.equal(joined(list(read_frames(source)))[0], from_bytes)


def test_a_size_change_in_mid_stream_keeps_the_first_size() -> None:
    small, large = moving_picture(4, 64, 96), moving_picture(4, 96, 144)
    # A raw stream may simply go on with another size.
    data = encoded(small, container="h264") + encoded(large, container="h264")
    read, times = joined(list(read_frames(data)))
    assert read.shape == (8, 3, 64, 96)
    assert times == sorted(set(times))


def test_an_hour_is_read_in_bounded_memory() -> None:
    still = torch.zeros(1, 3, 16, 16, dtype=torch.uint8).expand(3600, 3, 16, 16)
    options = {"crf": "40", "preset": "ultrafast", "g": "600"}
    data = encoded(still, time_base=Fraction(1), options=options)
    alive: list[weakref.ref[Tensor]] = []
    most = count = 0
    for block in read_frames(data, block_frames=32):
        alive = [ref for ref in alive if ref() is not None] + [weakref.ref(block.frames)]
        most = max(most, len(alive))
        count += len(block.times)
        last = block.times[-1]
    gc.collect()
    assert (count, last) == (3600, 3599)
    assert most <= 2


def test_reading_can_stop_at_any_block() -> None:
    blocks = read_frames(encoded(moving_picture(40)), block_frames=4)
    assert next(blocks).times[0] == 0
    blocks.close()


def test_senseless_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="counts from 1"):
        next(read_frames(b"x", block_frames=0))


def test_a_sound_file_has_no_frames() -> None:
    from tests.media.recordings import recorded

    sound = recorded(tone(0.2)[None].numpy(), 48000, layout="mono")
    with pytest.raises(MediaError, match="video track"):
        next(read_frames(sound))
