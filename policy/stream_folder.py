"""The folder of a live stream: signed segments that appear whole, and an HLS playlist of them (RFC 8216).

Nothing but signed segments and the playlist ever gets a name here. The playlist is of type EVENT: it only grows. Each
segment is a complete MP4 with a header of its own; the headers are alike and the times go on from one segment to the
next, so a player needs the header of the first only and plays on without a break.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from policy.errors import OutputError
from policy.hand_out import HandOut
from provenance.bmff_boxes import top_level_boxes

PLAYLIST = "index.m3u8"
SEGMENT_PATTERN = "segment_*.mp4"


def segment_name(number: int) -> str:
    """Name of a segment's file; names sort like numbers."""
    return f"segment_{number:06d}.mp4"


@dataclass(frozen=True)
class _Listed:
    name: str
    duration_s: float
    header_bytes: int
    media_bytes: int


class StreamFolder:
    """One folder for one stream. `prepare` before anything is reserved; `publish` puts segments in, in order."""

    def __init__(self, folder: Path, *, target_s: int, made: bool) -> None:
        self.folder = folder
        self._target_s = target_s
        self._made = made
        self._listed: list[_Listed] = []
        self._hand_out: HandOut | None = None

    @classmethod
    def prepare(cls, folder: Path, *, target_s: int) -> StreamFolder:
        """Make the folder if it is missing; raises OutputError when it can't be used or holds anything."""
        folder = Path(os.path.abspath(folder))  # noqa: PTH100 - as in HandOut
        made = not folder.exists()
        try:
            if made:
                folder.mkdir()
            if not folder.is_dir() or any(folder.iterdir()):
                raise OutputError(f"{folder} is not an empty folder; name a new one for the stream")
        except OSError as error:
            raise OutputError(f"{folder}: cannot be made or read ({error.strerror})") from error
        ready = cls(folder, target_s=target_s, made=made)
        try:
            HandOut.prepare(folder / segment_name(0), overwrite=False)
        except OutputError:
            ready.retract()
            raise
        return ready

    @property
    def playlist(self) -> Path:
        """Where the playlist is, once there is a segment."""
        return self.folder / PLAYLIST

    @property
    def segments(self) -> int:
        """How many are in the playlist."""
        return len(self._listed)

    def next_segment(self) -> HandOut:
        """Where the next segment will appear."""
        self._hand_out = HandOut.prepare(self.folder / segment_name(len(self._listed)), overwrite=False)
        return self._hand_out

    def publish(self, segment: BinaryIO, duration_s: float) -> None:
        """Make a signed segment appear at the place of `next_segment`, then list it."""
        assert self._hand_out is not None
        header, media = _ranges(segment)
        self._hand_out.publish(segment)
        self._listed.append(_Listed(self._hand_out.out.name, duration_s, header, media))
        self._write(ended=False)

    def end(self) -> None:
        """Tell players that no more segments come."""
        if self._listed:
            self._write(ended=True)

    def retract(self) -> None:
        """Leave nothing: only before the first segment counts."""
        if self._hand_out is not None:
            self._hand_out.retract()
        self.playlist.unlink(missing_ok=True)
        if self._made:
            self.folder.rmdir()

    def _write(self, *, ended: bool) -> None:
        """Replace the playlist in one step."""
        lines = [
            "#EXTM3U",
            "#EXT-X-VERSION:7",
            f"#EXT-X-TARGETDURATION:{self._target_s}",
            "#EXT-X-MEDIA-SEQUENCE:0",
            "#EXT-X-PLAYLIST-TYPE:EVENT",
            "#EXT-X-INDEPENDENT-SEGMENTS",
        ]
        first = self._listed[0]
        lines.append(f'#EXT-X-MAP:URI="{first.name}",BYTERANGE="{first.header_bytes}@0"')
        for one in self._listed:
            lines += [
                f"#EXTINF:{one.duration_s:.3f},",
                f"#EXT-X-BYTERANGE:{one.media_bytes}@{one.header_bytes}",
                one.name,
            ]
        lines += ["#EXT-X-ENDLIST"] if ended else []
        part = self.folder / f".{PLAYLIST}.{secrets.token_hex(6)}.part"
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write("\n".join(lines) + "\n")
                file.flush()
                os.fsync(file.fileno())
            part.replace(self.playlist)
        finally:
            part.unlink(missing_ok=True)


def _ranges(segment: BinaryIO) -> tuple[int, int]:
    """Bytes of the header (up to the first `moof`) and of the media after it (up to `mfra`)."""
    boxes = top_level_boxes(segment)
    header = next(box.offset for box in boxes if box.kind == "moof")
    end = next((box.offset for box in boxes if box.kind == "mfra"), boxes[-1].offset + boxes[-1].length)
    return header, end - header
