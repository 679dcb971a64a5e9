"""Which face of a portrait is animated, what of the portrait the frames show, and what the shoulders do."""

from __future__ import annotations

from dataclasses import dataclass

from generator.errors import GeneratorError
from generator.working_picture import SIZE_PX
from media import MAX_FACES

FRAMES: tuple[str, ...] = ("square", "portrait")
SHOULDERS: tuple[str, ...] = ("still", "follow")
LONGEST_SIDE_PX = 1280


@dataclass(frozen=True)
class Framing:
    """Raises `GeneratorError` on a value that is none of these.

    face: number of the face from the left, the first is 1; None = the only one. frame: "square" is 512x512 around the
    head, "portrait" the whole picture with the head pasted back. shoulders: "still", or "follow" the head a little.
    """

    face: int | None = None
    frame: str = "square"
    shoulders: str = "still"

    def __post_init__(self) -> None:
        if self.face is not None and not (type(self.face) is int and 1 <= self.face <= MAX_FACES):
            raise GeneratorError(f"face is {self.face!r}; faces are numbered from the left, 1 to {MAX_FACES}")
        if self.frame not in FRAMES:
            raise GeneratorError(f"frame is {self.frame!r}; choose one of {', '.join(FRAMES)}")
        if self.shoulders not in SHOULDERS:
            raise GeneratorError(f"shoulders is {self.shoulders!r}; choose one of {', '.join(SHOULDERS)}")


def frame_size_px(width: int, height: int, frame: str) -> tuple[int, int]:
    """Width and height of the frames made of a portrait: even, and at most LONGEST_SIDE_PX for "portrait"."""
    if frame == "square":
        return SIZE_PX, SIZE_PX
    shrink = min(1.0, LONGEST_SIDE_PX / max(width, height))
    return max(2, int(width * shrink) // 2 * 2), max(2, int(height * shrink) // 2 * 2)
