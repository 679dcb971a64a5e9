"""Streaming video decode: blocks of RGB frames with exact presentation times, in bounded memory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import av
import av.container
import torch
from av.stream import Disposition
from av.video.stream import VideoStream
from torch import Tensor

from media.colour import RgbConverter
from media.errors import MediaError
from media.guarded_input import DECODER_OPTIONS, OpenMedia, Source, opened_container, reading
from media.limits import MAX_EMPTY_PACKETS, MAX_FRAME_PIXELS, MAX_FRAMES_PER_PACKET, MAX_SIDE_PX
from media.orientation import frame_orientation
from media.timeline import Completeness, FrameClock, container_origin

_DECODER_THREADS = min(4, os.cpu_count() or 1)


@dataclass(frozen=True)
class FrameBlock:
    """Consecutive frames, uint8 [N, 3, H, W] RGB, with their exact presentation times in seconds."""

    frames: Tensor
    times: tuple[Fraction, ...]


def read_frames(
    source: Source,
    *,
    block_frames: int = 16,
    max_side_px: int | None = None,
    start_s: float = 0.0,
    end_s: float | None = None,
) -> Iterator[FrameBlock]:
    """Decodes the first video stream of `source` in blocks of up to `block_frames` frames.

    Frames are as they are meant to be shown: turned and mirrored by the display matrix, colours by their
    matrix and range tags. The pixel aspect ratio is not applied. All frames have the size of the first
    one. Times are exact, strictly rising, and count from the start of the file (its earliest stream); a
    variable frame rate is kept. `max_side_px` scales down so that the longer side is no more than that.
    Only frames with start_s <= time < end_s are given.

    Raises MediaError when the file is no video or is beyond a limit of `media.limits`. Of a file that is
    damaged or cut off every frame before the damage is given, then MediaError is raised: a loop over the
    blocks that ends normally has seen the whole clip.
    """
    if block_frames < 1 or (max_side_px is not None and max_side_px < 1):
        raise ValueError("block_frames and max_side_px are counts from 1 on")
    frames: list[Tensor] = []
    times: list[Fraction] = []
    failure: MediaError | None = None
    timed_frames = _timed_frames(source, max_side_px, start_s, end_s)
    while True:
        try:
            time, frame = next(timed_frames)
        except StopIteration:
            break
        except MediaError as error:
            failure = error
            break
        frames.append(frame)
        times.append(time)
        if len(frames) == block_frames:
            yield _block(frames, times)
            frames, times = [], []
    if frames:
        yield _block(frames, times)
    if failure is not None:
        raise failure


def _block(frames: list[Tensor], times: list[Fraction]) -> FrameBlock:
    return FrameBlock(torch.stack(frames), tuple(times))


def _timed_frames(
    source: Source, max_side_px: int | None, start_s: float, end_s: float | None
) -> Iterator[tuple[Fraction, Tensor]]:
    """Times and shown frames [3, H, W] of a source, within the wanted span."""
    with opened_container(source) as media:
        container, name = media.container, media.name
        stream = video_stream(media)
        completeness = Completeness(media)
        clock = FrameClock(stream, container_origin(container), name)
        sought = start_s > 0 and _seek(container, start_s)
        picture: _Picture | None = None
        for frame in decoded_frames(stream, name, completeness):
            time = clock.time_of(frame)
            if end_s is not None and time >= end_s:
                return
            if time < start_s:
                continue
            picture = picture or _Picture(frame, max_side_px)
            yield time, picture.shown(frame)
        if clock.last is None and not sought:
            raise no_picture(name)
        if not sought:
            completeness.check(stream)


def video_stream(media: OpenMedia) -> VideoStream:
    """The first real video stream, its decoder limited. Cover pictures of sound files don't count."""
    container = media.container
    for stream in container.streams.video:
        if stream.codec_context is not None and not stream.disposition & Disposition.attached_pic:
            _check_size(stream.codec_context.width, stream.codec_context.height, media.name)
            stream.codec_context.options = dict(DECODER_OPTIONS)
            stream.codec_context.thread_type = "AUTO"
            stream.codec_context.thread_count = _DECODER_THREADS
            return stream
    raise MediaError(
        media.name,
        expected="a file with a video track that can be decoded",
        came=f"it has none (container {container.format.name}, {len(container.streams)} track(s))",
        remedy="Give a video such as H.264 in MP4, VP9 in WebM or HEVC in MOV.",
    )


def decoded_frames(stream: VideoStream, name: str, completeness: Completeness) -> Iterator[av.VideoFrame]:
    """Every decoded frame of a stream in presentation order, checked against the limits."""
    empty = 0
    with reading(name):
        for packet in completeness.packets(stream):
            frames = stream.decode(packet)
            empty = 0 if frames else empty + 1
            if len(frames) > MAX_FRAMES_PER_PACKET or empty > MAX_EMPTY_PACKETS:
                raise no_picture(name)
            for frame in frames:
                _check_size(frame.width, frame.height, name)
                if frame.is_corrupt:
                    raise MediaError(
                        name,
                        expected="undamaged pictures",
                        came="a frame decodes only in part",
                        remedy="Copy, download or export it again.",
                    )
                yield frame


def no_picture(name: str) -> MediaError:
    """The error for a video track from which nothing can be shown."""
    return MediaError(
        name,
        expected="a video whose frames decode",
        came="its video track gives no picture",
        remedy="Check that it plays elsewhere, or export it again as H.264 MP4.",
    )


def _check_size(width: int, height: int, name: str) -> None:
    # Zero means that the container doesn't tell; the decoded frames do.
    if max(width, height) > MAX_SIDE_PX or width * height > MAX_FRAME_PIXELS:
        raise MediaError(
            name,
            expected=f"frames of at most {MAX_SIDE_PX} px a side and {MAX_FRAME_PIXELS} pixels",
            came=f"they are {width}x{height}",
            remedy="Scale the video down.",
        )


def _seek(container: av.container.InputContainer, start_s: float) -> bool:
    """Moves to the key frame before a time where the container allows it; else decoding starts at the front."""
    if not container.duration:
        return False
    target_s = float(container_origin(container)) + start_s
    try:
        container.seek(int(target_s * av.time_base))
    except (av.FFmpegError, OverflowError):
        return False
    return True


class _Picture:
    """How the frames of one stream are shown: the size and orientation of its first frame."""

    def __init__(self, frame: av.VideoFrame, max_side_px: int | None) -> None:
        scale = min(1.0, (max_side_px or MAX_SIDE_PX) / max(frame.width, frame.height))
        self._orientation = frame_orientation(frame)
        self._converter = RgbConverter(max(1, round(frame.width * scale)), max(1, round(frame.height * scale)))

    def shown(self, frame: av.VideoFrame) -> Tensor:
        """The frame as uint8 [3, H, W]."""
        return self._orientation.apply(self._converter.convert(frame))
