"""Makes small real media files, in memory, for the tests of the media package."""

import io
from collections.abc import Callable, Sequence
from fractions import Fraction

import av
import numpy as np
import torch
from av.audio.frame import AudioFrame
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from torch import Tensor

MATRICES = {
    1: Colorspace.ITU709,
    2: Colorspace.ITU601,
    5: Colorspace.ITU601,
    6: Colorspace.ITU601,
    9: Colorspace.BT2020,
}


def moving_picture(frames: int = 12, height: int = 64, width: int = 96) -> Tensor:
    """Smooth colours that shift from frame to frame, uint8 [N, 3, H, W]."""
    rows = torch.linspace(0, 1, height)[:, None].expand(height, width)
    columns = torch.linspace(0, 1, width)[None, :].expand(height, width)
    made = []
    for index in range(frames):
        phase = index / max(frames, 2)
        made.append(torch.stack([rows * (1 - phase) + phase / 2, columns, (rows + columns + phase) / 3]))
    return (torch.stack(made) * 255).to(torch.uint8)


def tone(seconds: float = 1.0, rate: int = 48000, hertz: float = 440.0) -> Tensor:
    """A sine of half amplitude, float32 [n]."""
    return (torch.arange(round(seconds * rate)) / rate * 2 * torch.pi * hertz).sin() / 2


def encoded(
    frames: Tensor,
    *,
    pts: Sequence[int] | None = None,
    time_base: Fraction = Fraction(1, 25),
    codec: str = "libx264",
    container: str = "mp4",
    matrix: int = 1,
    full_range: bool = False,
    tagged: bool = True,
    pix_fmt: str = "yuv420p",
    options: dict[str, str] | None = None,
    movflags: str = "",
    prepare: Callable[[av.VideoStream], None] | None = None,
    sound: Tensor | None = None,
    sound_starts_s: float = 0.0,
) -> bytes:
    """Frames uint8 [N, 3, H, W] in a file; `pts` counts `time_base`; `sound` is 48 kHz mono AAC."""
    data = io.BytesIO()
    scaler = VideoReformatter()
    height, width = frames.shape[2:]
    with av.open(data, "w", format=container, container_options={"movflags": movflags} if movflags else {}) as out:
        stream = out.add_stream(codec, rate=Fraction(25), width=width, height=height)
        stream.pix_fmt = pix_fmt
        stream.time_base = stream.codec_context.time_base = time_base
        stream.options = {"crf": "8"} if options is None else options
        if tagged:
            stream.codec_context.colorspace = matrix
            stream.codec_context.color_range = ColorRange.JPEG if full_range else ColorRange.MPEG
        if prepare:
            prepare(stream)
        audio = out.add_stream("aac", rate=48000, layout="mono") if sound is not None else None
        for index, frame in enumerate(frames):
            picture = scaler.reformat(
                av.VideoFrame.from_ndarray(np.ascontiguousarray(frame.permute(1, 2, 0).numpy()), "rgb24"),
                format=pix_fmt,
                dst_colorspace=MATRICES[matrix],
                src_color_range=ColorRange.JPEG,
                dst_color_range=ColorRange.JPEG if full_range else ColorRange.MPEG,
                interpolation=Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INP,
            )
            picture.pts, picture.time_base = pts[index] if pts else index, time_base
            out.mux(stream.encode(picture))
        out.mux(stream.encode(None))
        if audio is not None and sound is not None:
            whole = AudioFrame.from_ndarray(sound.numpy()[None], format="fltp", layout="mono")
            whole.sample_rate, whole.time_base, whole.pts = 48000, Fraction(1, 48000), 0
            resampler = av.AudioResampler("fltp", "mono", 48000, 1024)
            for piece in [*resampler.resample(whole), *resampler.resample(None)]:
                piece.pts = (piece.pts or 0) + round(sound_starts_s * 48000)
                out.mux(audio.encode(piece))
            out.mux(audio.encode(None))
    return data.getvalue()


def recorded(
    samples: np.ndarray,
    rate: int,
    *,
    layout: str,
    container: str = "wav",
    codec: str = "pcm_s16le",
    pause_s: float = 0.0,
) -> bytes:
    """Samples float [channels, n] as a sound file; `pause_s` is left out of its timestamps half-way."""
    data = io.BytesIO()
    with av.open(data, "w", format=container) as out:
        stream = out.add_stream(codec, rate=rate, layout=layout)
        stream.codec_context.open()
        frame = AudioFrame.from_ndarray(np.ascontiguousarray(samples, dtype=np.float32), format="fltp", layout=layout)
        frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), 0
        resampler = av.AudioResampler(
            stream.codec_context.format, layout, rate, stream.codec_context.frame_size or 4096
        )
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            if piece.pts is not None and piece.pts >= samples.shape[1] // 2:
                piece.pts += round(pause_s * rate)
            out.mux(stream.encode(piece))
        out.mux(stream.encode(None))
    return data.getvalue()
