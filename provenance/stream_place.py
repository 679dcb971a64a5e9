"""Where a segment stands in a live stream: an assertion of its manifest that names the segment before by hash."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from provenance.errors import ProvenanceError

STREAM_LABEL = "org.vasari.stream"
MAX_SEGMENTS = 1_000_000

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class StreamPlace:
    """Segment `number` (from 0) of the stream that the manifest's release id names.

    `previous_sha256`: the whole signed file of the segment before, lower-case hex, empty for segment 0; so each
    manifest vouches for the chain up to it. `last`: the stream ends with this one. Raises ProvenanceError.
    """

    number: int
    previous_sha256: str
    start_frame: int
    frames: int
    last: bool

    def __post_init__(self) -> None:
        for name, low, high in (("number", 0, MAX_SEGMENTS), ("start_frame", 0, 2**40), ("frames", 1, 2**40)):
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise ProvenanceError(f"{STREAM_LABEL}: {name} must be a whole number from {low} to {high}")
        if type(self.last) is not bool:
            raise ProvenanceError(f"{STREAM_LABEL}: last must be true or false")
        named = _SHA256.fullmatch(self.previous_sha256) is not None if self.number else self.previous_sha256 == ""
        if not named:
            raise ProvenanceError(f"{STREAM_LABEL}: previous_sha256 must name the segment before, none for number 0")

    def as_members(self) -> dict[str, object]:
        """The assertion's data."""
        return dict(vars(self))


def read_stream_place(data: object) -> StreamPlace:
    """Parse the assertion's data; raises ProvenanceError when a field is missing, unknown or off."""
    names = set(StreamPlace.__dataclass_fields__)
    if not isinstance(data, Mapping) or set(data) != names:
        raise ProvenanceError(f"{STREAM_LABEL}: expected the members {', '.join(sorted(names))}")
    if not isinstance(data["previous_sha256"], str):
        raise ProvenanceError(f"{STREAM_LABEL}: previous_sha256 must be text")
    return StreamPlace(**data)
