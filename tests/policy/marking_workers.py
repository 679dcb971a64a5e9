"""Worker processes that make real clips: one as it should be, and some that were taken over."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any, BinaryIO

import av
import torch
from torch import Tensor

from media import ClipWriter
from policy.marked_clip import SOUND_RATE, Mark, audio_blocks
from policy.performer import LocalPerformer, Look
from policy.process_channel import Channel
from policy.request import OUTPUT_FPS
from policy.worker import serve_job
from tests.policy.moving_picture import MovingPicture
from watermark import AudioEmbedder, Payload, VideoEmbedder

Make = Callable[[LocalPerformer, Mark, int, BinaryIO, Callable[[int], None]], None]


def picture(end: socket.socket, measures: dict[str, int]) -> None:
    """As it should be, with the moving picture in the generator's place."""
    torch.set_num_threads(1)
    serve_job(Channel(end), measures, lambda tensors, config: MovingPicture())


def _taken_over(end: socket.socket, measures: dict[str, int], make: Make) -> None:
    def instead(
        self: LocalPerformer, mark: Mark, frames: int, sink: BinaryIO, *, look: Look, on_block: Callable[[int], None]
    ) -> None:
        make(self, mark, frames, sink, on_block)

    LocalPerformer.make = instead  # type: ignore[method-assign]
    picture(end, measures)


def _whole(performer: LocalPerformer) -> tuple[Tensor, Tensor]:
    """Unmarked frames uint8 [N, 3, H, W] and sound float32 [n] of what was asked for."""
    state = performer.talker.start(controls=_Neutral(), seed=0)
    frames, sound = [], []
    for control, samples, final in audio_blocks(performer._wishes.audio):
        if samples is not None:
            sound.append(samples)
        if control is not None:
            block, state = performer.talker.motion(control, state, final=final)
            if len(block):
                frames.append(performer.talker.render(performer.face, block))
    return torch.cat(frames), torch.cat(sound)


class _Neutral:
    emotion = "neutral"


def _write(sink: BinaryIO, frames: Tensor, sound: Tensor) -> None:
    height, width = frames.shape[2:]
    with ClipWriter(sink, width=width, height=height, fps=Fraction(OUTPUT_FPS), sample_rate=SOUND_RATE) as writer:
        writer.write_frames(frames)
        writer.write_audio(sound)


def _marked(mark: Mark, frames: Tensor, sound: Tensor) -> tuple[Tensor, Tensor]:
    height, width = frames.shape[2:]
    video = VideoEmbedder(
        mark.key, mark.payload, width=width, height=height, fps=Fraction(OUTPUT_FPS), strength=mark.video_strength
    )
    audio = AudioEmbedder(mark.key, mark.payload, sample_rate=SOUND_RATE, strength=mark.audio_strength)
    return video.push(frames), torch.cat([audio.push(sound), audio.flush()])


def unmarked(end: socket.socket, measures: dict[str, int]) -> None:
    """A clip without a mark."""

    def make(performer: LocalPerformer, mark: Mark, frames: int, sink: BinaryIO, told: Callable[[int], None]) -> None:
        _write(sink, *_whole(performer))

    _taken_over(end, measures, make)


def another_payload(end: socket.socket, measures: dict[str, int]) -> None:
    """A clip that names another release."""
    made = LocalPerformer.make

    def make(performer: LocalPerformer, mark: Mark, frames: int, sink: BinaryIO, told: Callable[[int], None]) -> None:
        other = replace(mark, payload=Payload(mark.payload.manifest_id ^ 1))
        made(performer, other, frames, sink, look=lambda: None, on_block=told)

    _taken_over(end, measures, make)


def too_long(end: socket.socket, measures: dict[str, int]) -> None:
    """A clip of twice the length that was decided on, marked all through."""

    def make(performer: LocalPerformer, mark: Mark, frames: int, sink: BinaryIO, told: Callable[[int], None]) -> None:
        picture, sound = _whole(performer)
        _write(sink, *_marked(mark, picture.repeat(2, 1, 1, 1), sound.repeat(2)))

    _taken_over(end, measures, make)


def half_marked(end: socket.socket, measures: dict[str, int]) -> None:
    """A clip whose second half carries no mark in its picture."""

    def make(performer: LocalPerformer, mark: Mark, frames: int, sink: BinaryIO, told: Callable[[int], None]) -> None:
        picture, sound = _whole(performer)
        marked, heard = _marked(mark, picture, sound)
        half = len(picture) // 2
        _write(sink, torch.cat([marked[:half], picture[half:]]), heard)

    _taken_over(end, measures, make)


def second_track(end: socket.socket, measures: dict[str, int]) -> None:
    """A marked clip with an unmarked picture in a second track."""

    def make(performer: LocalPerformer, mark: Mark, frames: int, sink: BinaryIO, told: Callable[[int], None]) -> None:
        picture, sound = _whole(performer)
        with open(os.memfd_create("clip"), "w+b") as whole:  # noqa: PTH123  a file without a name
            _write(whole, *_marked(mark, picture, sound))
            whole.seek(0)
            with av.open(whole) as read, av.open(sink, "w", format="mp4") as written:
                copies: dict[Any, list[Any]] = {
                    stream: [written.add_stream_from_template(stream) for _ in range(1 + (stream.type == "video"))]
                    for stream in read.streams
                }
                for packet in read.demux():
                    if packet.dts is not None:
                        for stream in copies[packet.stream]:
                            packet.stream = stream
                            written.mux(packet)

    _taken_over(end, measures, make)
