"""The clock of a media file: exact times from its start, and whether it was read to its stated end."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import av
import av.container
from av.stream import Stream
from av.video.stream import VideoStream

from media.errors import MediaError
from media.guarded_input import OpenMedia
from media.limits import MAX_DURATION_S
from media.stated_length import stated_length

_MICROSECOND = Fraction(1, 1_000_000)
_FORMATS_WITHOUT_LENGTH = {"mp3", "aac", "ac3", "amr", "h264", "hevc", "mpegvideo", "mpeg", "mpegts", "ogg"}
"""Formats that state no length; FFmpeg's figure is an estimate there and proves no cut."""

_FALLBACK_STEP_S = Fraction(1, 25)


def container_origin(container: av.container.InputContainer) -> Fraction:
    """Start of the file in seconds: its earliest video or sound stream, never after a negative one's zero."""
    streams = [*container.streams.video, *container.streams.audio]
    starts = [
        stream.start_time * stream.time_base
        for stream in streams
        if stream.start_time is not None and stream.time_base is not None
    ]
    return max(min(starts, default=Fraction(0)), Fraction(0))


class FrameClock:
    """Gives each decoded frame its exact time; repairs missing and non-rising timestamps by one frame step."""

    def __init__(self, stream: VideoStream, origin: Fraction, name: str) -> None:
        rate = stream.average_rate or stream.guessed_rate
        self._step = 1 / Fraction(rate) if rate else _FALLBACK_STEP_S
        # Not the frame's own time base: flushed frames carry the decoder's.
        self._tick = Fraction(stream.time_base) if stream.time_base else None
        self._origin = origin
        self._name = name
        self.last: Fraction | None = None

    def time_of(self, frame: av.VideoFrame) -> Fraction:
        """Seconds from the start of the file. Raises MediaError beyond MAX_DURATION_S."""
        follows = Fraction(0) if self.last is None else self.last + self._step
        time = follows
        if frame.pts is not None and self._tick:
            time = frame.pts * self._tick - self._origin
            if self.last is not None and time <= self.last:
                time = follows
        check_time(time, self._name)
        self.last = time
        return time


def check_time(time_s: Fraction | float, name: str) -> None:
    """Raises MediaError for a presentation time that no real file has."""
    if not -MAX_DURATION_S <= time_s <= MAX_DURATION_S:
        raise MediaError(
            name,
            expected=f"times within {MAX_DURATION_S // 3600} hours of its start",
            came=f"a frame is stamped {float(time_s):.0f} s",
            remedy="Cut it into shorter files, or remux it to mend its timestamps.",
        )


class Completeness:
    """Follows the packets of a file to tell a whole file from one that was cut off or damaged."""

    def __init__(self, media: OpenMedia) -> None:
        self._container = media.container
        self._file = media.file
        self._read: dict[int, int] = {}
        self._last_end: dict[int, int] = {}

    def packets(self, wanted: Stream) -> Iterator[av.Packet[Stream] | None]:
        """The packets of one stream and None at the end, to flush its decoder.

        Raises MediaError for a packet whose bytes are incomplete. Empty packets (frames that the writer
        dropped) are left out: a decoder would take one for the end.
        """
        for packet in self._container.demux():
            if packet.size or packet.dts is not None:
                self._follow(packet, wanted)
            if packet.size and packet.stream_index == wanted.index:
                yield packet
        yield None

    def _follow(self, packet: av.Packet[Stream], wanted: Stream) -> None:
        self._read[packet.stream_index] = self._read.get(packet.stream_index, 0) + 1
        start = packet.pts if packet.pts is not None else packet.dts
        if start is not None:
            end = start + (packet.duration or 0)
            self._last_end[packet.stream_index] = max(self._last_end.get(packet.stream_index, end), end)
        if packet.is_corrupt and packet.stream_index == wanted.index and not _is_pcm(wanted):
            raise self._damaged("a part of its data is missing")

    def check(self, stream: Stream) -> None:
        """At the end of the data. Raises MediaError if the file promised more than came."""
        stated = stated_length(self._file.read_at, self._file.size)
        if stated is not None and stated > self._file.size:
            raise self._damaged(f"it ends after {self._file.size} of {stated} bytes")
        formats = set(self._container.format.name.split(","))
        if "mp4" in formats:
            promised, came = len(stream.index_entries), self._read.get(stream.index, 0)
            if came < promised:
                raise self._damaged(f"it ends after {came} of {promised} packets")
        elif self._container.duration and not formats & _FORMATS_WITHOUT_LENGTH:
            promised_s = self._container.duration * _MICROSECOND
            ends = (end * self._tick(index) for index, end in self._last_end.items())
            came_s = max(ends, default=Fraction(0)) - container_origin(self._container)
            if came_s < promised_s * Fraction(98, 100) - 1:
                raise self._damaged(f"it ends after {float(came_s):.2f} of {float(promised_s):.2f} s")

    def _tick(self, stream_index: int) -> Fraction:
        return Fraction(self._container.streams[stream_index].time_base or 0)

    def _damaged(self, came: str) -> MediaError:
        return MediaError(
            self._file.label,
            expected="a whole file",
            came=came,
            remedy="It was cut off or damaged; copy, download or export it again.",
        )


def _is_pcm(stream: Stream) -> bool:
    """Raw sound: a last short packet is its normal end, although it is flagged."""
    return stream.codec_context is not None and stream.codec_context.name.startswith("pcm_")
