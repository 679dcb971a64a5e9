"""Opens the sealed weights for one job and makes what was allowed: the only module that knows the generator.

A job asks a `Performer`: `LocalPerformer` works in the gate's own process, `remote_performer.RemotePerformer` has one
work in a confined process of its own. Neither decides, signs, or hands anything out.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Literal, Protocol, Self

import torch
from torch import Tensor

import generator
from media import read_audio, read_portrait
from policy.broker import WorkerKey
from policy.errors import OutputError
from policy.locked_memory import guard_process
from policy.marked_clip import (
    MOVES_AHEAD,
    Ahead,
    Mark,
    MotionRecorder,
    Moved,
    Performance,
    SoundBlock,
    TalkingFace,
    audio_blocks,
    performed,
    write_marked_clip,
)
from policy.media_facts import MAX_PORTRAIT_PX
from policy.request import Controls, Framing, GenerationRequest
from policy.seal import open_sealed

MakeTalker = Callable[[Mapping[str, Tensor], Mapping[str, object]], TalkingFace]
Look = Callable[[], None]
PlotKind = Literal["png", "svg"]
OWN_FAILURES = (generator.GeneratorError,)
"""Errors of the generator, for those who don't know it."""


@dataclass(frozen=True)
class Wishes:
    """What of a request shows in the clip. `portrait` and `audio` are whole files."""

    portrait: bytes = field(repr=False)
    audio: bytes = field(repr=False)
    controls: Controls
    framing: Framing
    seed: int

    @classmethod
    def of(cls, request: GenerationRequest) -> Wishes:
        """Of a request."""
        return cls(request.portrait, request.audio, request.controls, request.framing, request.seed)


class Performer(Protocol):
    """Who makes the clip of one job, as a context manager; its end is the end of the opened weights.

    `look` is called from time to time while a step lasts, and may raise to end it.
    """

    @property
    def public_bytes(self) -> bytes:
        """Raw X25519 public key (32 bytes), to which alone the content key is wrapped."""
        ...

    def __enter__(self) -> Self:
        """Itself."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it."""
        ...

    def open(self, wrapped: bytes, grant_id: str, *, look: Look) -> None:
        """Open the weights with the content key; raises GrantError, SealError."""
        ...

    def begin(self, wishes: Wishes, *, look: Look) -> tuple[int, int]:
        """Encode the portrait; width and height of the frames."""
        ...

    def make(self, mark: Mark, frames: int, sink: BinaryIO, *, look: Look, on_block: Callable[[int], None]) -> None:
        """Make the whole marked clip in the emptied `sink`; `on_block(frames done)` may raise to end it."""
        ...

    def rehearse(self, wishes: Wishes, *, look: Look) -> None:
        """Make the motion alone."""
        ...

    def plot(self, kind: PlotKind, *, look: Look) -> bytes:
        """The latest motion over the waveform, as a picture."""
        ...


class LocalPerformer:
    """Works in this process. `make_talker` builds the generator of opened weights; `key`: a fresh one, else its own."""

    def __init__(self, weights: Path | BinaryIO, make_talker: MakeTalker, *, key: WorkerKey | None = None) -> None:
        self._key = key or WorkerKey()
        self._weights, self._make_talker = weights, make_talker
        self._ahead: Ahead[Moved] | None = None

    @property
    def public_bytes(self) -> bytes:
        """See Performer."""
        return self._key.public_bytes

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._ahead is not None:
            self._ahead.__exit__()

    def open(self, wrapped: bytes, grant_id: str, *, look: Look) -> None:
        """See Performer."""
        guard_process()
        with self._key.unwrap(wrapped, grant_id) as key:
            opened = open_sealed(self._weights, key.view)
        self.talker = MotionRecorder(self._make_talker(opened.tensors, opened.config))
        look()

    def begin(self, wishes: Wishes, *, look: Look) -> tuple[int, int]:
        """See Performer. The motion is begun meanwhile, in a thread of its own."""
        self._wishes = wishes
        self._ahead = self._moves()
        self.face = self._encoded(wishes)
        look()
        return self.talker.frame_size(self.face)

    def make(self, mark: Mark, frames: int, sink: BinaryIO, *, look: Look, on_block: Callable[[int], None]) -> None:
        """See Performer. The motion is made once for each call."""
        ahead, self._ahead = self._ahead or self._moves(), None
        sink.seek(0)
        sink.truncate()
        with ahead as moves:
            write_marked_clip(Performance(self.talker, self.face, moves, frames), mark, sink, on_block=on_block)
        look()

    def begin_stream(self, wishes: Wishes) -> Any:
        """Encode the portrait; the motion state to begin with."""
        self._wishes = wishes
        self.face = self._encoded(wishes)
        return self._start()

    def rehearse(self, wishes: Wishes, *, look: Look) -> None:
        """See Performer."""
        self._wishes = wishes
        for _ in performed(self.talker, self._start(), _heard(audio_blocks(wishes.audio))):
            look()

    def motion_numbers(self) -> bytes:
        """The latest motion as float32 [N, 61]: pose, expression and gaze of each frame."""
        motion = generator.MotionBlock.join(self.talker.blocks)
        rows = torch.cat([motion.pose, motion.expression, motion.gaze], dim=1).cpu()
        return bytes(rows.contiguous().numpy().tobytes())

    def plot(self, kind: PlotKind, *, look: Look) -> bytes:
        """See Performer."""
        look()
        return draw_motion(self.motion_numbers(), self._wishes.audio, self._wishes.controls, kind)

    def _encoded(self, wishes: Wishes) -> Any:
        portrait = read_portrait(wishes.portrait, min_px=1, max_px=MAX_PORTRAIT_PX)
        return self.talker.encode(portrait, **wishes.framing.as_members())

    def _start(self) -> Any:
        return self.talker.start(controls=performed_controls(self._wishes.controls), seed=self._wishes.seed)

    def _moves(self) -> Ahead[Moved]:
        """The motion of the whole clip, made ahead of its frames."""
        return Ahead(performed(self.talker, self._start(), audio_blocks(self._wishes.audio)), MOVES_AHEAD)


def generator_on(device: str) -> MakeTalker:
    """Builds the generator on a device."""

    def make(tensors: Mapping[str, Tensor], config: Mapping[str, object]) -> TalkingFace:
        talker: TalkingFace = generator.Generator.from_tensors(tensors, config, device=device)
        return talker

    return make


def draw_motion(numbers: bytes, audio: bytes, controls: Controls, kind: PlotKind) -> bytes:
    """Motion as `LocalPerformer.motion_numbers` gives it, over the waveform; GeneratorError for what is none."""
    nothing = generator.MotionBlock.still(0)
    widths = [part.shape[1] for part in (nothing.pose, nothing.expression, nothing.gaze)]
    if not numbers or len(numbers) % (4 * sum(widths)):
        raise generator.GeneratorError(f"motion has {sum(widths)} numbers a frame, not {len(numbers)} bytes in all")
    rows = torch.frombuffer(bytearray(numbers), dtype=torch.float32).reshape(-1, sum(widths))
    ends = list(accumulate(widths))
    motion = generator.MotionBlock(*(rows[:, end - width : end] for end, width in zip(ends, widths, strict=True)))
    sound = torch.cat(list(read_audio(io.BytesIO(audio), sample_rate=generator.AUDIO_RATE)))
    return generator.plot_motion(motion, performed_controls(controls), sound, kind=kind)


def plot_kind(plot: Path) -> PlotKind:
    """What a plot of this name is; raises OutputError when none can be made."""
    kinds: dict[str, PlotKind] = {".png": "png", ".svg": "svg"}
    if plot.suffix.lower() not in kinds:
        raise OutputError(f"{plot}: a plot's name ends in .png or .svg")
    try:
        generator.require_plotting()
    except generator.GeneratorError as error:
        raise OutputError(str(error)) from error
    return kinds[plot.suffix.lower()]


def performed_controls(controls: Controls) -> generator.Controls:
    """The controls of the request as the generator takes them."""
    wanted: dict[str, Any] = {}
    for name, value in vars(controls).items():
        curve = generator.EmotionCurve if name == "emotion" else generator.Curve
        wanted[name] = curve(value) if isinstance(value, tuple) else value
    return generator.Controls(**wanted)


def _heard(blocks: Iterator[SoundBlock]) -> Iterator[SoundBlock]:
    """Those that move the face."""
    return (block for block in blocks if block[0] is not None)
