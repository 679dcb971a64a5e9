"""Which releases a clip belongs to: by its watermark, and by its fingerprint where no mark can be read."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from media import MediaError, probe, read_audio, read_frames
from provenance import MATCH_DISTANCE, ManifestRepository, ProvenanceError, clip_fingerprint, fingerprint_distance
from watermark import MarkKey, detect_audio, detect_video

MAX_SIDE_PX = 512
MAX_SECONDS = 600.0
MAX_COMPARED = 10_000
_SAMPLE_RATE = 48_000


@dataclass(frozen=True)
class ContentMatch:
    """A release that the clip belongs to; `similarity` 0 to 100 compares the pictures, None where they can't be."""

    release: int
    similarity: int | None


Match = Callable[[Path], Sequence[ContentMatch]]
"""Finds releases for a file; raises MediaError when it is no clip."""


@dataclass(frozen=True)
class ContentMatcher:
    """Marks first; then the releases whose fingerprint is close."""

    repository: ManifestRepository
    mark_keys: Sequence[MarkKey]

    def __call__(self, path: Path) -> list[ContentMatch]:
        info = probe(path)
        if info.video_codec is None or info.duration_s > MAX_SECONDS:
            raise MediaError(str(path), expected=f"a clip of at most {MAX_SECONDS:.0f} s", came="something else",
                             remedy="Send a shorter video.")  # fmt: skip
        marked = self._marked(path, has_sound=info.audio_codec is not None)
        fingerprint = clip_fingerprint(read_frames(path, max_side_px=MAX_SIDE_PX))
        stored = {id_: self.repository.find(id_) for id_ in marked}
        found = [ContentMatch(id_, _similarity(fingerprint, kept.fingerprint)) for id_, kept in stored.items() if kept]
        return found or self._close(fingerprint, self.repository.fingerprints(MAX_COMPARED))

    def _marked(self, path: Path, *, has_sound: bool) -> list[int]:
        if not self.mark_keys:
            return []
        marks = [detect_video(read_frames(path), self.mark_keys)]
        if has_sound:
            blocks = read_audio(path, sample_rate=_SAMPLE_RATE)
            marks.append(detect_audio(blocks, self.mark_keys, sample_rate=_SAMPLE_RATE))
        return list(dict.fromkeys(mark.payload.manifest_id for mark in marks if mark.found and mark.payload))

    @staticmethod
    def _close(fingerprint: bytes, stored: Iterable[tuple[int, bytes]]) -> list[ContentMatch]:
        compared = ((release, _similarity(fingerprint, kept)) for release, kept in stored)
        close = [ContentMatch(release, score) for release, score in compared if _is_match(score)]
        return sorted(close, key=lambda match: -(match.similarity or 0))


def _similarity(a: bytes, b: bytes) -> int | None:
    try:
        return round(100 * (1 - fingerprint_distance(a, b)))
    except ProvenanceError:
        return None


def _is_match(similarity: int | None) -> bool:
    return similarity is not None and similarity >= 100 * (1 - MATCH_DISTANCE)
