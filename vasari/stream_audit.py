"""A live stream as a chain: each segment's manifest names the signed file before it, so order and loss show.

Every segment is audited like a clip of its own. The chain is read from the manifests, in the order of the playlist, or
of the names where there is none: what is missing, swapped, repeated, of another stream, or not listed is named.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from provenance import StreamPlace
from vasari.clip_audit import ClipAudit

PLAYLIST = "index.m3u8"
MAX_PLAYLIST_BYTES = 64 << 20
_SEGMENT = re.compile(r"segment_[0-9]{6}\.mp4")


class StreamError(Exception):
    """A folder or playlist that can't be read as a stream; the message names it and says what was expected."""


@dataclass(frozen=True)
class ListedStream:
    """Segments in the order of the playlist, and files in the folder that it doesn't list; `ended` where it says so."""

    folder: Path
    segments: tuple[Path, ...]
    unlisted: tuple[Path, ...]
    missing_files: tuple[str, ...]
    has_playlist: bool
    ended: bool


@dataclass(frozen=True)
class Link:
    """What the chain needs to know of one segment; `place` None where no verified manifest gives one."""

    name: str
    sha256: str
    verified: bool
    manifest_id: int | None
    place: StreamPlace | None


@dataclass(frozen=True)
class StreamAudit:
    """`faults` break the chain; `notes` are worth knowing (an end that is missing, files that are not listed)."""

    audits: tuple[ClipAudit, ...]
    faults: tuple[str, ...]
    notes: tuple[str, ...]
    frames: int
    complete: bool

    @property
    def verified(self) -> bool:
        """Every segment is a verified release without a failed check, and the chain holds."""
        good = all(
            audit.verdict.state == "verified_release" and all(check.state != "failed" for check in audit.checks)
            for audit in self.audits
        )
        return good and not self.faults


def read_stream(path: Path) -> ListedStream:
    """`path`: the folder or its playlist. Raises StreamError."""
    folder = path if path.is_dir() else path.parent
    playlist = folder / PLAYLIST if path.is_dir() else path
    present = sorted(one for one in folder.iterdir() if _SEGMENT.fullmatch(one.name) and one.is_file())
    if not playlist.exists():
        if not present:
            raise StreamError(f"{folder}: expected a playlist {PLAYLIST} or files segment_000000.mp4, found neither")
        return ListedStream(folder, tuple(present), (), (), has_playlist=False, ended=False)
    if playlist.stat().st_size > MAX_PLAYLIST_BYTES:
        raise StreamError(f"{playlist}: expected at most {MAX_PLAYLIST_BYTES >> 20} MiB")
    lines = playlist.read_text(encoding="utf-8", errors="replace").splitlines()
    if not lines or lines[0].strip() != "#EXTM3U":
        raise StreamError(f"{playlist}: expected an HLS playlist that begins with #EXTM3U")
    named = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    foreign = [name for name in named if not _SEGMENT.fullmatch(name)]
    if foreign:
        raise StreamError(f"{playlist}: expected names like segment_000000.mp4, got {foreign[0]!r:.60}")
    if not named:
        raise StreamError(f"{playlist}: it lists no segment")
    listed = [folder / name for name in named if (folder / name).is_file()]
    return ListedStream(
        folder,
        tuple(listed),
        tuple(one for one in present if one.name not in named),
        tuple(name for name in named if not (folder / name).is_file()),
        has_playlist=True,
        ended="#EXT-X-ENDLIST" in lines,
    )


def audit_stream(stream: ListedStream, audit: Callable[[Path], ClipAudit]) -> StreamAudit:
    """Audit every segment, then the chain between them."""
    audits = tuple(audit(path) for path in stream.segments)
    links = [_link(one) for one in audits]
    faults = [f"{name} is in the playlist, but not in the folder" for name in stream.missing_files]
    faults += chain_faults(links)
    places = [link.place for link in links if link.place is not None]
    complete = not faults and bool(places) and places[-1].last
    notes = [f"{path.name} is in the folder, but not in the playlist" for path in stream.unlisted]
    if not faults and not complete:
        said = "the playlist says that it ended" if stream.ended else "it may still be running"
        notes.append(f"the stream's last segment is not here: it was stopped, or its end is missing ({said})")
    return StreamAudit(audits, tuple(faults), tuple(notes), sum(place.frames for place in places), complete)


def chain_faults(links: Sequence[Link]) -> list[str]:
    """What breaks the chain, in words; pure."""
    faults: list[str] = []
    seen: dict[int, str] = {}
    due, before = 0, ""
    due_frame: int | None = 0
    stream_id = next((link.manifest_id for link in links if link.verified and link.place is not None), None)
    for link in links:
        place = link.place
        if not link.verified:
            faults.append(f"{link.name} is no verified release")
            due, due_frame, before = due + 1, None, link.sha256
            continue
        if place is None:
            faults.append(f"{link.name} is a verified release, but no segment of a stream")
            continue
        if link.manifest_id != stream_id:
            faults.append(f"{link.name} belongs to another stream ({link.manifest_id or 0:016x})")
            continue
        if place.number in seen:
            faults.append(f"{link.name} repeats segment {place.number}, which is {seen[place.number]} already")
            continue
        seen[place.number] = link.name
        if place.number > due:
            gap = f"segment {due} is" if place.number == due + 1 else f"segments {due} to {place.number - 1} are"
            faults.append(f"{gap} missing before {link.name}")
        elif place.number < due:
            faults.append(f"{link.name} is segment {place.number}, out of its order")
        elif place.number and place.previous_sha256 != before:
            faults.append(f"{link.name} does not follow the file before it: that was replaced or changed")
        elif due_frame is not None and place.start_frame != due_frame:
            faults.append(f"{link.name} starts at frame {place.start_frame}, not at {due_frame}")
        due, due_frame, before = place.number + 1, place.start_frame + place.frames, link.sha256
        if place.last and link is not links[-1]:
            faults.append(f"{link.name} is the last segment of its stream, but others follow")
    return faults


def _link(audit: ClipAudit) -> Link:
    credentials = audit.evidence.credentials
    verified = credentials is not None and credentials.state == "verified"
    return Link(
        name=audit.name,
        sha256=audit.sha256,
        verified=verified,
        manifest_id=credentials.manifest_id if credentials is not None and verified else None,
        place=credentials.stream if credentials is not None and verified else None,
    )
