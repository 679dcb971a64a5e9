"""The marks of one file and nothing else: what was found in its picture and in its sound, each with a state of its own.

A search that could not be made is never told as a mark that was not found.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Literal

from torch import Tensor

from media import FrameBlock, MediaError, probe, read_audio, read_frames, read_portrait
from vasari.file_kinds import STILLS
from vasari.further_marks import Locate, PlacedMark, Search, Span, marks_beside
from watermark import (
    Detection,
    MarkedStretch,
    MarkKey,
    Payload,
    TooShortError,
    TooSmallError,
    WatermarkError,
    detect_audio,
    detect_still,
    detect_video,
    locate_mark,
    locate_sound_mark,
)

SAMPLE_RATE = 48_000
BLOCK_BYTES = 24 * 2**20
SMALLEST_STILL_PX = 1  # the mark's detector says what is too small

ReadingState = Literal["found", "none", "stopped", "too_short", "too_small", "no_video", "no_audio", "corrupt"]
Kind = Literal["video", "sound", "still", "unreadable"]

STILL_CONFIDENCE = (
    "a still holds one moment of the mark: what is found is as certain as in a clip, but that nothing is found says "
    "little, because strong compression, scaling or a crop leave too little in a single picture"
)

STOPPED = (
    "as many tags were compared as the false-positive bound allows; the rest was not looked at: look at a part of the "
    "file, or with fewer keys"
)

UNSEARCHED = "not every second beside it was searched for marks of other releases: look at the parts alone"


@dataclass(frozen=True)
class MarkReading:
    """What one search said. `detection` is None where it could not be made; `explanation` says why."""

    state: ReadingState
    explanation: str = ""
    detection: Detection | None = None
    stretches: tuple[MarkedStretch, ...] = ()
    """From when to when picture or sound carries the mark; a clip that is cut together carries it in parts."""
    others: tuple[PlacedMark, ...] = ()
    """Marks of other releases, in the seconds that this one leaves."""

    @property
    def releases(self) -> set[tuple[int | None, Payload]]:
        """Key id and payload of every mark."""
        marks = [] if self.detection is None else [self.detection, *(other.detection for other in self.others)]
        return {(mark.key_id, mark.payload) for mark in marks if mark.payload is not None}


@dataclass(frozen=True)
class FileMarks:
    """The marks of one file."""

    path: str
    kind: Kind
    picture: MarkReading
    sound: MarkReading

    @property
    def found(self) -> bool:
        """Whether picture or sound carries a mark of one of the keys."""
        return "found" in (self.picture.state, self.sound.state)

    @property
    def at_odds(self) -> bool:
        """Whether picture and sound carry marks of different releases: one of the two was replaced."""
        picture, sound = self.picture.releases, self.sound.releases
        return bool(picture and sound) and picture.isdisjoint(sound)

    @property
    def unusable(self) -> bool:
        """Whether the file is damaged or none that can be looked at."""
        return "corrupt" in (self.picture.state, self.sound.state)


def read_file_marks(
    path: Path, keys: Sequence[MarkKey], *, progress: Callable[[float], None] | None = None
) -> FileMarks:
    """Look for marks of any of `keys` in a video, recording or still; `progress` gets seconds of picture or sound.

    Raises OSError when the file can't be opened; whatever is wrong with its content becomes a state.
    """
    if path.suffix.lower() in STILLS:
        return FileMarks(
            str(path), "still", _still(path, keys), MarkReading("no_audio", "a still picture has no sound")
        )
    try:
        info = probe(path)
    except MediaError as error:
        damaged = MarkReading("corrupt", _without_name(error, path))
        return FileMarks(str(path), "unreadable", damaged, damaged)
    if info.video_codec is None:
        picture = MarkReading("no_video", "the file has no video track")
    else:
        block_frames = max(1, min(16, BLOCK_BYTES // max(1, info.width * info.height * 3)))
        picture = _outcome(
            path, lambda: detect_video(_told(read_frames(path, block_frames=block_frames), progress), keys)
        )
        picture = _placed(path, picture, info.duration_s, *_in_picture(path, block_frames, keys))
    if info.audio_codec is None:
        sound = MarkReading("no_audio", "the file has no sound track")
    else:
        blocks = read_audio(path, sample_rate=SAMPLE_RATE)
        sound = _outcome(path, lambda: detect_audio(blocks, keys, sample_rate=SAMPLE_RATE))
        sound = _placed(path, sound, info.duration_s, *_in_sound(path, keys))
    return FileMarks(str(path), "sound" if info.video_codec is None else "video", picture, sound)


def _placed(path: Path, reading: MarkReading, length_s: float, search: Search, locate: Locate) -> MarkReading:
    """A found mark with its place in time, and the marks of other releases beside it; the clip is read again."""
    if reading.detection is None or reading.state != "found":
        return reading
    try:
        first = PlacedMark(reading.detection, locate((0.0, inf), reading.detection))
        marks = marks_beside(first, length_s, search, locate)
    except MediaError as error:
        return replace(reading, explanation=f"found before the damage of this file: {_without_name(error, path)}")
    explanation = "" if marks.complete else UNSEARCHED
    return replace(reading, stretches=marks.first.stretches, others=marks.others, explanation=explanation)


def _in_picture(path: Path, block_frames: int, keys: Sequence[MarkKey]) -> tuple[Search, Locate]:
    """How a mark is searched and placed in a span of the picture."""

    def frames(span: Span) -> Iterator[FrameBlock]:
        return read_frames(path, block_frames=block_frames, start_s=span[0], end_s=span[1])

    return (
        lambda span: _if_any(lambda: detect_video(frames(span), keys)),
        lambda span, mark: locate_mark(frames(span), mark, keys),
    )


def _in_sound(path: Path, keys: Sequence[MarkKey]) -> tuple[Search, Locate]:
    """How a mark is searched and placed in a span of the sound."""

    def sound(span: Span) -> Iterator[Tensor]:
        at = 0
        for block in read_audio(path, sample_rate=SAMPLE_RATE):
            first, last = (int(min(max(0.0, s * SAMPLE_RATE - at), len(block))) for s in span)
            at += len(block)
            if first < last:
                yield block[first:last]

    def located(span: Span, mark: Detection) -> tuple[MarkedStretch, ...]:
        placed = locate_sound_mark(sound(span), mark, keys, sample_rate=SAMPLE_RATE)
        return tuple(replace(one, start_s=one.start_s + span[0], end_s=one.end_s + span[0]) for one in placed)

    return lambda span: _if_any(lambda: detect_audio(sound(span), keys, sample_rate=SAMPLE_RATE)), located


def _if_any(search: Callable[[], Detection]) -> Detection | None:
    """None where picture or sound ends before there is enough to search."""
    try:
        return search()
    except TooShortError:
        return None


def _still(path: Path, keys: Sequence[MarkKey]) -> MarkReading:
    reading = _outcome(path, lambda: detect_still(read_portrait(path, min_px=SMALLEST_STILL_PX), keys))
    if reading.state in ("found", "none"):
        return MarkReading(reading.state, STILL_CONFIDENCE, reading.detection)
    return reading


def _outcome(path: Path, search: Callable[[], Detection]) -> MarkReading:
    try:
        detection = search()
    except MediaError as error:
        return MarkReading("corrupt", _without_name(error, path))
    except TooShortError as error:
        return MarkReading("too_short", str(error))
    except TooSmallError as error:
        return MarkReading("too_small", str(error))
    except WatermarkError as error:  # frames that change their size on the way, rates beyond all use
        return MarkReading("corrupt", str(error))
    if detection.stopped:
        return MarkReading("stopped", STOPPED, detection)
    return MarkReading("found" if detection.found else "none", "", detection)


def _told(blocks: Iterator[FrameBlock], progress: Callable[[float], None] | None) -> Iterator[FrameBlock]:
    for block in blocks:
        yield block
        if progress is not None and block.times:
            progress(float(block.times[-1]))


def _without_name(error: MediaError, path: Path) -> str:
    return " ".join(str(error).split()).removeprefix(f"{path}: ")
