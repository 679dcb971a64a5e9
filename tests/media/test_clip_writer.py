"""Clips play everywhere, are the same bytes for the same input, and appear whole or not at all."""

import io
import stat
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import pytest
import torch
from torch import Tensor

from media import ClipWriter, MediaError, load_audio, probe, read_frames
from tests.media.recordings import moving_picture, tone

FRAMES = moving_picture(50)
SOUND = tone(2.0)


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def writer(sink: object, **settings: object) -> ClipWriter:
    defaults: dict[str, object] = {"width": 96, "height": 64, "fps": Fraction(25), "sample_rate": 48000}
    return ClipWriter(sink, **(defaults | settings))  # type: ignore[arg-type]


def clip(pieces: Iterator[tuple[Tensor, Tensor]] | None = None, **settings: object) -> bytes:
    sink = io.BytesIO()
    with writer(sink, **settings) as out:
        for frames, samples in pieces or iter([(FRAMES, SOUND)]):
            out.write_frames(frames)
            out.write_audio(samples)
    return sink.getvalue()


@pytest.mark.parametrize("fragmented", [False, True])
def test_a_clip_reads_back_as_it_was_written(fragmented: bool) -> None:
    data = clip(fragmented=fragmented)
    blocks = list(read_frames(data, block_frames=50))
    assert blocks[0].times == tuple(Fraction(index, 25) for index in range(50))
    assert (blocks[0].frames.float() - FRAMES.float()).abs().mean() < 3
    read = load_audio(data, sample_rate=48000, max_s=3)
    assert abs(len(read) - 96000) <= 1024
    assert (read[2000:90000] - SOUND[2000:90000]).abs().max() < 0.03


@pytest.mark.parametrize("fragmented", [False, True])
def test_equal_input_gives_equal_bytes_whatever_the_block_sizes(fragmented: bool) -> None:
    whole = clip(fragmented=fragmented)
    pieces = ((FRAMES[i : i + 7], SOUND[i * 1920 : (i + 7) * 1920]) for i in range(0, 50, 7))
    assert clip(pieces, fragmented=fragmented) == whole


def test_a_file_carries_its_index_in_front() -> None:
    data = clip()
    assert 0 < data.find(b"moov") < data.find(b"mdat")


def test_a_path_gets_the_same_bytes_as_a_file_object(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    with writer(path) as out:
        out.write_frames(FRAMES)
        out.write_audio(SOUND)
    assert path.read_bytes() == clip()
    assert names(tmp_path) == ["clip.mp4"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_video_is_tagged_bt709_limited_yuv420p() -> None:
    with av.open(io.BytesIO(clip())) as container:
        context = container.streams.video[0].codec_context
        tags = (context.pix_fmt, context.colorspace, context.color_primaries, context.color_trc, context.color_range)
        audio = container.streams.audio[0].codec_context
        assert tags == ("yuv420p", 1, 1, 1, 1)
        assert (context.name, audio.name, audio.sample_rate, audio.channels) == ("h264", "aac", 48000, 1)


def test_the_container_carries_no_date_and_no_writers_name() -> None:
    with av.open(io.BytesIO(clip())) as container:
        assert not {"creation_time", "encoder"} & set(container.metadata)


def test_a_fragmented_clip_flows_out_while_it_is_written() -> None:
    class Pipe(io.RawIOBase):
        data = b""

        def writable(self) -> bool:
            return True

        def write(self, data: object) -> int:
            self.data += bytes(data)  # type: ignore[call-overload]
            return len(bytes(data))  # type: ignore[call-overload]

    pipe = Pipe()
    with writer(pipe, fragmented=True) as out:
        for index in range(0, 50, 10):
            out.write_frames(FRAMES[index : index + 10])
            out.write_audio(SOUND[index * 1920 : (index + 10) * 1920])
        early = len(pipe.data)
    assert early > 1000
    assert pipe.data.count(b"moof") >= 2
    assert pipe.data == clip(fragmented=True)


def test_a_clip_without_sound_has_one_track() -> None:
    sink = io.BytesIO()
    with writer(sink, sample_rate=None) as out:
        out.write_frames(FRAMES)
        with pytest.raises(ValueError, match="takes no sound"):
            out.write_audio(SOUND)
    assert probe(sink.getvalue()).audio_codec is None


@pytest.mark.parametrize("fps", [Fraction(30000, 1001), Fraction(24), Fraction(25, 2)])
def test_the_frame_rate_is_exact(fps: Fraction) -> None:
    sink = io.BytesIO()
    with writer(sink, fps=fps, sample_rate=None) as out:
        out.write_frames(FRAMES[:20])
    times = [time for block in read_frames(sink.getvalue()) for time in block.times]
    assert times == [index / fps for index in range(20)]


def test_a_coarser_quality_is_a_smaller_file() -> None:
    noise = torch.randint(0, 256, (10, 3, 64, 96), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    sizes = [len(clip(iter([(noise, SOUND)]), crf=crf)) for crf in (18, 28, 40)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 1.5 * sizes[2]


def write_and_fail(out: ClipWriter) -> None:
    out.write_frames(FRAMES)
    raise RuntimeError("consent withdrawn")


def test_an_exception_leaves_nothing_behind(tmp_path: Path) -> None:
    path, sink = tmp_path / "clip.mp4", io.BytesIO()
    for target in (path, sink):
        with pytest.raises(RuntimeError, match="withdrawn"), writer(target) as out:
            write_and_fail(out)
    assert names(tmp_path) == []
    assert sink.getvalue() == b""


def test_an_older_clip_stays_when_a_new_one_fails(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"older")
    with pytest.raises(ValueError, match="at least one frame"), writer(path):
        pass
    assert path.read_bytes() == b"older"
    assert names(tmp_path) == ["clip.mp4"]


def test_a_full_disk_is_a_media_error_and_leaves_nothing(tmp_path: Path) -> None:
    class FullDisk(io.BytesIO):
        def write(self, data: object) -> int:
            if self.tell() > 2000:
                raise OSError(28, "No space left on device")
            return super().write(data)  # type: ignore[arg-type]

    disk = FullDisk()
    with pytest.raises(MediaError, match="No space left on device"), writer(disk) as out:
        out.write_frames(torch.randint(0, 256, (50, 3, 64, 96), dtype=torch.uint8))
    assert disk.getvalue() == b""


def test_a_missing_folder_is_a_media_error(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="folder exists"):
        writer(tmp_path / "nowhere" / "clip.mp4")


def test_a_closed_clip_takes_no_more_frames() -> None:
    sink = io.BytesIO()
    out = writer(sink)
    out.write_frames(FRAMES)
    out.close()
    whole = sink.getvalue()
    out.close()
    with pytest.raises(ValueError, match="closed"):
        out.write_frames(FRAMES)
    assert sink.getvalue() == whole


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"width": 95}, "even"),
        ({"height": 0}, "even"),
        ({"fps": Fraction(0)}, "fps"),
        ({"sample_rate": 12345}, "sample_rate"),
        ({"crf": 99}, "crf"),
    ],
)
def test_senseless_settings_are_refused_and_leave_no_file(
    settings: dict[str, object], match: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=match):
        writer(tmp_path / "clip.mp4", **settings)
    assert names(tmp_path) == []


def test_frames_of_another_size_or_type_are_refused() -> None:
    with pytest.raises(ValueError, match=r"3, 64, 96"), writer(io.BytesIO()) as out:
        out.write_frames(FRAMES[:, :, :32])
