"""Encode and read back in memory: what a codec does to frames and sound, for training and tests."""

from __future__ import annotations

import io
from fractions import Fraction
from typing import Literal, cast

import av
import numpy as np
import torch
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from torch import Tensor
from torch.nn.functional import pad

from media.audio_reader import load_audio
from media.colour import Bt709Converter
from media.errors import MediaError
from media.video_encoder import VideoCodec, add_video_stream
from media.video_reader import read_frames

AudioCodec = Literal["aac", "opus", "mp3"]

# x265 leaves the decoding times of very short clips unset, which MP4 refuses; a bare stream needs none.
_CONTAINERS = {"h264": "mp4", "hevc": "hevc", "vp9": "webm"}
_AUDIO_ENCODERS = {"aac": ("aac", "mp4"), "opus": ("libopus", "ogg"), "mp3": ("libmp3lame", "mp3")}
_OPUS_RATE = 48000


def codec_round_trip(frames: Tensor, *, fps: Fraction = Fraction(25), crf: int, codec: VideoCodec = "h264") -> Tensor:
    """Frames uint8 [N, 3, H, W] after encoding at `crf` and decoding, same shape, on the CPU.

    Odd sizes are padded by their last row and column for the encoder and cut back.
    """
    if frames.dtype != torch.uint8 or frames.ndim != 4 or frames.shape[1] != 3 or not frames.numel():
        raise ValueError(f"expected uint8 [N, 3, H, W], got {frames.dtype} {list(frames.shape)}")
    height, width = frames.shape[2:]
    even = pad(frames.cpu(), (0, width % 2, 0, height % 2), mode="replicate")
    blocks = [block.frames for block in read_frames(_encoded_video(even, Fraction(fps), crf, codec))]
    decoded = torch.cat(blocks)[:, :, :height, :width]
    if len(decoded) != len(frames):
        raise MediaError(
            f"<{codec} round trip>",
            expected=f"{len(frames)} frames",
            came=f"{len(decoded)} were read back",
            remedy="Check that the installed FFmpeg build has a working encoder for it.",
        )
    return decoded.contiguous()


def audio_round_trip(samples: Tensor, *, sample_rate: int, codec: AudioCodec = "aac", bit_rate: int = 64000) -> Tensor:
    """Sound float32 [n] mono after encoding at `bit_rate` bit/s and decoding, same length, in step, on the CPU."""
    if samples.dtype != torch.float32 or samples.ndim != 1 or not samples.numel():
        raise ValueError(f"expected float32 [n], got {samples.dtype} {list(samples.shape)}")
    data = _encoded_audio(samples.cpu().numpy(), sample_rate, codec, bit_rate)
    decoded = load_audio(data, sample_rate=sample_rate, max_s=len(samples) / sample_rate + 1.0)
    return pad(decoded[: len(samples)], (0, max(0, len(samples) - len(decoded))))


def _encoded_video(frames: Tensor, fps: Fraction, crf: int, codec: VideoCodec) -> bytes:
    data = io.BytesIO()
    converter = Bt709Converter()
    with av.open(data, "w", format=_CONTAINERS.get(codec, "mp4")) as container:
        height, width = frames.shape[2:]
        stream = add_video_stream(container, codec, width=width, height=height, fps=fps, crf=crf)
        for index, frame in enumerate(frames):
            picture = converter.convert(frame)
            picture.pts, picture.time_base = index, 1 / fps
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return data.getvalue()


def _encoded_audio(
    samples: np.ndarray[tuple[int], np.dtype[np.float32]], sample_rate: int, codec: AudioCodec, bit_rate: int
) -> bytes:
    if codec not in _AUDIO_ENCODERS:
        raise ValueError(f"codec is one of {sorted(_AUDIO_ENCODERS)}")
    encoder, form = _AUDIO_ENCODERS[codec]
    data = io.BytesIO()
    with av.open(data, "w", format=form) as container:
        rate = _OPUS_RATE if codec == "opus" else sample_rate
        stream = cast(AudioStream, container.add_stream(encoder, rate=rate, layout="mono"))
        stream.codec_context.bit_rate = bit_rate
        stream.codec_context.open()
        resampler = av.AudioResampler(
            stream.codec_context.format,
            "mono",
            stream.codec_context.sample_rate,
            stream.codec_context.frame_size,
        )
        frame = AudioFrame.from_ndarray(samples.clip(-1, 1)[None], format="fltp", layout="mono")
        frame.sample_rate, frame.time_base, frame.pts = sample_rate, Fraction(1, sample_rate), 0
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
    return data.getvalue()
