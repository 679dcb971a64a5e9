"""Which files of a folder are looked at: clips, recordings and stills, told by their suffix."""

from collections.abc import Iterator, Sequence
from pathlib import Path

CLIPS = frozenset(
    {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".3gp", ".flv", ".wmv", ".ogv"}
)
RECORDINGS = frozenset({".wav", ".flac", ".mp3", ".m4a", ".aac", ".ogg", ".opus", ".aif", ".aiff"})
STILLS = frozenset({".png", ".jpg", ".jpeg", ".webp"})


def files_below(paths: Sequence[Path], suffixes: frozenset[str]) -> Iterator[Path]:
    """The named files, and those of these suffixes in the named folders, each once, in a stable order."""
    seen: set[Path] = set()
    for path in paths:
        inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in suffixes and p.is_file())
        for file in inside if path.is_dir() else [path]:
            if file.resolve() not in seen:
                seen.add(file.resolve())
                yield file
