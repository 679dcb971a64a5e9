"""From a portrait and a recording to a marked clip in an anonymous file, block by block.

Frames and samples are marked right after they are made and before they are encoded; unmarked ones exist
only as tensors of the current block. Memory does not grow with the length of the clip.
"""

from __future__ import annotations

import io
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import zip_longest
from typing import Any, BinaryIO, Generic, Protocol, Self, TypeVar

import torch
from torch import Tensor

from media import ClipWriter, probe, read_audio, read_frames
from policy.errors import ReleaseError
from policy.request import OUTPUT_FPS
from provenance import clip_fingerprint
from watermark import AudioEmbedder, Detection, MarkKey, Payload, VideoEmbedder, detect_audio, detect_video, locate_mark

CONTROL_RATE = 16_000
SOUND_RATE = 48_000
BLOCK_S = 0.16
"""Of sound at a time: as much as `RENDER_FRAMES` frames last, so that the first ones are made at once."""
RENDER_FRAMES = 4
RENDER_THREADS = min(4, os.cpu_count() or 1)
MOVES_AHEAD = 64
"""Motion blocks that may wait for their frames: some ten seconds, a few MB of sound."""
FINGERPRINT_SIDE_PX = 256
SWITCH_S = 0.001
"""Of Python's threads while frames are made: a fifth of what is usual, as most of their operations are that short."""
Item = TypeVar("Item")
STRENGTHS = (1.0, 1.5, 2.2)
SoundBlock = tuple[Tensor | None, Tensor | None, bool]
"""Float32 mono [n] at 16 kHz and at 48 kHz, and whether the first one is the last of its kind."""


class Watched(Protocol):
    """Hands items on, and raises in between when the job shall stop."""

    def __call__(self, items: Iterable[Item]) -> Iterator[Item]:
        """The same items."""
        ...


class TalkingFace(Protocol):
    """The generator, as far as the release needs it; states and blocks are only handed on."""

    def encode(
        self, portrait: Tensor, *, face: int | None = None, frame: str = "square", shoulders: str = "still"
    ) -> Any:
        """Face state of a portrait uint8 [3, H, W]."""
        ...

    def frame_size(self, face: Any) -> tuple[int, int]:
        """Width and height of the frames that `render` makes of it, even."""
        ...

    def start(self, *, controls: Any, seed: int) -> Any:
        """Motion state at the beginning of a clip."""
        ...

    def motion(self, audio: Tensor, state: Any, *, final: bool = False) -> tuple[Any, Any]:
        """Motion block and next state for float32 [n] at 16 kHz."""
        ...

    def render(self, face: Any, block: Any) -> Tensor:
        """Frames uint8 [N, 3, H, W]."""
        ...


Moved = tuple[Tensor | None, Any | None]
"""Float32 mono [n] at 48 kHz, and the motion block that became due."""


@dataclass(frozen=True)
class Performance:
    """What is to be drawn: a face, its motion with the sound, and how many frames that is."""

    talker: TalkingFace
    face: Any
    moves: Iterable[Moved]
    frames: int


class MotionRecorder:
    """A talking face that keeps the motion of its latest performance, some 250 bytes a frame."""

    def __init__(self, talker: TalkingFace) -> None:
        self._talker = talker
        self.blocks: list[Any] = []
        self.encode, self.frame_size, self.render = talker.encode, talker.frame_size, talker.render

    def start(self, *, controls: Any, seed: int) -> Any:
        """A new performance; what was kept is forgotten."""
        self.blocks = []
        return self._talker.start(controls=controls, seed=seed)

    def motion(self, audio: Tensor, state: Any, *, final: bool = False) -> tuple[Any, Any]:
        """As the face's own."""
        block, state = self._talker.motion(audio, state, final=final)
        self.blocks.append(block)
        return block, state


@dataclass(frozen=True)
class Mark:
    """Key and payload, and how strongly each medium is marked."""

    key: MarkKey
    payload: Payload
    video_strength: float
    audio_strength: float


def write_marked_clip(performance: Performance, mark: Mark, sink: BinaryIO, *, on_block: Callable[[int], None]) -> int:
    """Generate, mark and encode into `sink`; the number of frames.

    `on_block(frames done)` is called after each block; what it raises ends the job and empties the sink.
    """
    fps = Fraction(OUTPUT_FPS)
    width, height = performance.talker.frame_size(performance.face)
    video = VideoEmbedder(mark.key, mark.payload, width=width, height=height, fps=fps, strength=mark.video_strength)
    sound = AudioEmbedder(mark.key, mark.payload, sample_rate=SOUND_RATE, strength=mark.audio_strength)
    done = 0
    with (
        threads_side_by_side(),
        ClipWriter(sink, width=width, height=height, fps=fps, sample_rate=SOUND_RATE) as writer,
    ):
        for frames in rendered(performance, hear=lambda samples: writer.write_audio(sound.push(samples))):
            writer.write_frames(video.push(frames))
            done += frames.shape[0]
            on_block(done)
        writer.write_audio(sound.flush())
        if done != performance.frames:
            raise ReleaseError(f"the generator made {done} frames, expected {performance.frames}")
    return done


def performed(talker: TalkingFace, state: Any, blocks: Iterable[SoundBlock]) -> Iterator[Moved]:
    """The motion of a recording from `state` on, in step with its sound."""
    for control, samples, final in blocks:
        block = None
        if control is not None:
            block, state = talker.motion(control, state, final=final)
        yield samples, block


class Ahead(Generic[Item]):
    """Items in their order, made by a thread of its own, which starts at once and is at most `most` items ahead.

    What making an item raises is raised where it is missing. The thread ends with the context.
    """

    def __init__(self, items: Iterator[Item], most: int) -> None:
        self._items = items
        self._thread = ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(1,))
        self._waiting = deque(self._next() for _ in range(most))

    def _next(self) -> Future[Item | None]:
        return self._thread.submit(next, self._items, None)

    def __iter__(self) -> Iterator[Item]:
        while (item := self._waiting.popleft().result()) is not None:
            self._waiting.append(self._next())
            yield item

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown(cancel_futures=True)


def rendered(performance: Performance, *, hear: Callable[[Tensor], None]) -> Iterator[Tensor]:
    """Blocks of frames in order; a few are rendered ahead in threads while the caller marks and encodes.

    Frames don't depend on one another once their motion is known, so the order of rendering changes nothing.
    `hear` gets the 48 kHz samples in step with the frames.
    """
    ahead: deque[Future[Tensor]] = deque()
    with ThreadPoolExecutor(RENDER_THREADS) as threads:
        try:
            for samples, block in performance.moves:
                if samples is not None:
                    hear(samples)
                if block is None:
                    continue
                for start in range(0, len(block), RENDER_FRAMES):
                    piece = block[start : start + RENDER_FRAMES]
                    ahead.append(threads.submit(performance.talker.render, performance.face, piece))
                    if len(ahead) > RENDER_THREADS + 1:
                        yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for unwanted in ahead:
                unwanted.cancel()


@contextmanager
def threads_side_by_side() -> Iterator[None]:
    """Keep PyTorch from splitting single operations: whole frames side by side are 1.4 times as fast."""
    before, switched = torch.get_num_threads(), sys.getswitchinterval()
    torch.set_num_threads(1)
    sys.setswitchinterval(SWITCH_S)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        sys.setswitchinterval(switched)


def audio_blocks(audio: bytes) -> Iterator[SoundBlock]:
    """Of a whole recording: (16 kHz block, 48 kHz block, is the last 16 kHz block) of `BLOCK_S` each, in step."""
    control = _with_last(read_audio(io.BytesIO(audio), sample_rate=CONTROL_RATE, block_s=BLOCK_S))
    sound = read_audio(io.BytesIO(audio), sample_rate=SOUND_RATE, block_s=BLOCK_S)
    for block, samples in zip_longest(control, sound):
        yield (None, samples, False) if block is None else (block[0], samples, block[1])


def _with_last(blocks: Iterator[Tensor]) -> Iterator[tuple[Tensor, bool]]:
    held: Tensor | None = None
    for block in blocks:
        if held is not None:
            yield held, False
        held = block
    if held is not None:
        yield held, True


@dataclass(frozen=True)
class ClipMeasures:
    """What an encoded clip says of itself; sizes in pixels, as shown. `tracks`: of any kind."""

    width_px: int
    height_px: int
    fps: Fraction
    duration_s: float
    tracks: int


@dataclass(frozen=True)
class ReadBack:
    """What was read out of an encoded clip: both marks, the fingerprint of its frames, and its measures."""

    video: Detection
    audio: Detection
    fingerprint: bytes
    measures: ClipMeasures


def read_back(clip: BinaryIO, again: BinaryIO, key: MarkKey, *, watched: Watched) -> ReadBack:
    """Read both marks out of an encoded file, as anyone with the key would, while a thread takes the fingerprint.

    `again` is the same file, opened once more. Frames and sound go through `watched`, which may stop all reading by
    raising.
    """
    stop = threading.Event()
    with ThreadPoolExecutor(1) as beside:
        fingerprint = beside.submit(clip_fingerprint, _until(stop, read_frames(again, max_side_px=FINGERPRINT_SIDE_PX)))
        try:
            clip.seek(0)
            video = detect_video(watched(read_frames(clip)), [key])
            clip.seek(0)
            sound = watched(read_audio(clip, sample_rate=SOUND_RATE))
            audio = detect_audio(sound, [key], sample_rate=SOUND_RATE)
            return ReadBack(video, audio, fingerprint.result(), clip_measures(clip))
        finally:
            stop.set()


def marked_seconds(clip: BinaryIO, found: Detection, key: MarkKey, *, watched: Watched) -> float:
    """How much of an encoded clip's picture carries the mark that was found in it, in seconds."""
    if found.payload is None:
        return 0.0
    clip.seek(0)
    return sum(one.end_s - one.start_s for one in locate_mark(watched(read_frames(clip)), found, [key]))


def clip_measures(clip: BinaryIO) -> ClipMeasures:
    """Of an encoded clip; raises MediaError."""
    clip.seek(0)
    info = probe(clip)
    return ClipMeasures(info.width, info.height, info.fps or Fraction(0), info.duration_s, info.tracks)


def _until(stop: threading.Event, items: Iterable[Item]) -> Iterator[Item]:
    for item in items:
        if stop.is_set():
            raise CancelledError
        yield item


def reads_as(detection: Detection, mark: Mark) -> bool:
    """True when the mark that was read is exactly the one of the grant."""
    return detection.payload == mark.payload and detection.key_id == mark.key.key_id
