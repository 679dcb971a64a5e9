"""The one error of the media package."""

from __future__ import annotations


class MediaError(Exception):
    """Anything wrong with a media file; the message names the file, what was expected, what came, what to do."""

    def __init__(self, name: str, *, expected: str, came: str, remedy: str) -> None:
        super().__init__(f"{name}: expected {expected}, but {came}. {remedy}")
        self.name = name
        self.expected = expected
        self.came = came
        self.remedy = remedy
