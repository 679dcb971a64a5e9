"""Writes talking clips: H.264 and AAC in MP4, tagged BT.709, equal bytes for equal input."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from types import TracebackType
from typing import Self

import av
import numpy as np
import torch
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.codec.context import Flags
from torch import Tensor

from media.clip_sink import ClipSink, Sink
from media.colour import Bt709Converter
from media.errors import MediaError
from media.limits import MAX_SIDE_PX
from media.video_encoder import add_video_stream

AUDIO_BIT_RATE = 128_000
"""AAC-LC bit rate of the mono track, in bit/s: transparent for speech."""

AUDIO_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000)
"""Sample rates that AAC knows."""

_FILE_FLAGS = "faststart"
_STREAM_FLAGS = "frag_keyframe+delay_moov+default_base_moof"
# delay_moov: the header comes with the first fragment and then knows the sound's encoder delay.


class ClipWriter:
    """One MP4 clip: H.264 yuv420p (BT.709, limited range), constant frame rate, and AAC mono.

    A plain clip carries its index in front, so it plays while it downloads; its sink must be a path or a
    seekable, readable file object. `fragmented=True` writes about one fragment a second to any sink as
    the frames come. Width and height must be even, as 4:2:0 colour needs. `sample_rate` None means no
    sound. Video and sound may be pushed in any order and any block sizes; the bytes of a clip depend
    only on the frames and samples themselves.

    As a context manager it closes at the end of the block; on an exception it aborts: a path shows
    nothing, a seekable file object is emptied. Failures to write are MediaError, wrong arguments ValueError.
    """

    def __init__(
        self,
        sink: Sink,
        *,
        width: int,
        height: int,
        fps: Fraction,
        sample_rate: int | None,
        crf: int = 18,
        fragmented: bool = False,
    ) -> None:
        _check_arguments(width, height, fps, sample_rate)
        self._shape = (3, height, width)
        self._converter = Bt709Converter()
        self._frames_written = 0
        self._sink = _open_sink(sink, seekable=not fragmented)
        try:
            self._container = av.open(
                self._sink,
                "w",
                format="mp4",
                container_options={
                    "movflags": _STREAM_FLAGS if fragmented else _FILE_FLAGS,
                    "fflags": "+bitexact" + ("+flush_packets" if fragmented else ""),
                },
                io_open=None if fragmented else self._sink.second_look,
            )
            self._video = add_video_stream(
                self._container, "h264", width=width, height=height, fps=fps, crf=crf, streaming=fragmented, quick=True
            )
            self._sound = None if sample_rate is None else _SoundTrack(self._container, sample_rate)
        except BaseException:
            self._sink.discard()
            raise

    def write_frames(self, frames: Tensor) -> None:
        """Appends frames, uint8 [N, 3, H, W] RGB."""
        if frames.dtype != torch.uint8 or frames.ndim != 4 or tuple(frames.shape[1:]) != self._shape:
            raise ValueError(
                f"expected uint8 [N, {', '.join(map(str, self._shape))}], got {frames.dtype} {list(frames.shape)}"
            )
        with self._writing():
            for frame in frames.cpu():
                picture = self._converter.convert(frame)
                picture.pts = self._frames_written
                picture.time_base = self._video.codec_context.time_base
                self._frames_written += 1
                self._container.mux(self._video.encode(picture))

    def write_audio(self, samples: Tensor) -> None:
        """Appends sound, float32 [n] mono within [-1, 1]; values beyond are clipped."""
        if self._sound is None:
            raise ValueError("this clip was opened without a sample rate and takes no sound")
        if samples.dtype != torch.float32 or samples.ndim != 1:
            raise ValueError(f"expected float32 [n], got {samples.dtype} {list(samples.shape)}")
        with self._writing():
            self._sound.push(samples.detach().cpu().numpy())

    def close(self) -> None:
        """Finishes the clip: after this it is whole and, for a path, visible. A second call does nothing."""
        if self._sink.closed:
            return
        if self._frames_written == 0:
            self.abort()
            raise ValueError("a clip needs at least one frame")
        with self._writing():
            self._container.mux(self._video.encode(None))
            if self._sound is not None:
                self._sound.finish()
            self._container.close()
            self._sink.finish()

    def abort(self) -> None:
        """Throws the clip away; nothing of it is left at the sink."""
        if not self._sink.closed:
            self._sink.discard()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Aborts the clip on any failure, and says so in a MediaError if the sink or the encoder failed."""
        if self._sink.closed:
            raise ValueError("this clip is closed")
        try:
            yield
        except (OSError, av.FFmpegError) as error:
            self.abort()
            raise _write_error(self._sink.label, error) from error
        except BaseException:
            self.abort()
            raise


class _SoundTrack:
    """Cuts pushed samples into AAC frames."""

    def __init__(self, container: av.container.OutputContainer, sample_rate: int) -> None:
        self._container = container
        self._stream: AudioStream = container.add_stream("aac", rate=sample_rate, layout="mono")
        self._stream.codec_context.bit_rate = AUDIO_BIT_RATE
        self._stream.codec_context.flags |= Flags.bitexact
        self._stream.codec_context.time_base = Fraction(1, sample_rate)
        self._rate = sample_rate
        self._written = 0
        self._waiting = np.zeros(0, dtype=np.float32)
        self._stream.codec_context.open()
        self._frame_size = self._stream.codec_context.frame_size or 1024

    def push(self, samples: np.ndarray[tuple[int], np.dtype[np.float32]]) -> None:
        joined = np.concatenate([self._waiting, np.clip(samples, -1.0, 1.0)])
        whole = len(joined) - len(joined) % self._frame_size
        for start in range(0, whole, self._frame_size):
            self._encode(joined[start : start + self._frame_size])
        self._waiting = joined[whole:]

    def finish(self) -> None:
        if len(self._waiting):
            self._encode(self._waiting)
        self._container.mux(self._stream.encode(None))

    def _encode(self, samples: np.ndarray[tuple[int], np.dtype[np.float32]]) -> None:
        frame = AudioFrame.from_ndarray(np.ascontiguousarray(samples)[None], format="fltp", layout="mono")
        frame.sample_rate = self._rate
        frame.time_base = Fraction(1, self._rate)
        frame.pts = self._written
        self._written += len(samples)
        self._container.mux(self._stream.encode(frame))


def _check_arguments(width: int, height: int, fps: Fraction, sample_rate: int | None) -> None:
    if width % 2 or height % 2 or not 2 <= width <= MAX_SIDE_PX or not 2 <= height <= MAX_SIDE_PX:
        raise ValueError(f"width and height must be even and 2 to {MAX_SIDE_PX} px, got {width}x{height}")
    if not 0 < fps <= 240:
        raise ValueError(f"fps must be above 0 and at most 240, got {fps}")
    if sample_rate is not None and sample_rate not in AUDIO_RATES:
        raise ValueError(f"sample_rate must be one of {AUDIO_RATES}, got {sample_rate}")


def _open_sink(sink: Sink, *, seekable: bool) -> ClipSink:
    try:
        return ClipSink(sink, seekable=seekable)
    except OSError as error:
        raise _write_error(str(sink), error) from error


def _write_error(name: str, error: Exception) -> MediaError:
    return MediaError(
        name,
        expected="to write a clip here",
        came=f"writing failed ({getattr(error, 'strerror', None) or error})",
        remedy="Check that the folder exists, is writable and has free space.",
    )
