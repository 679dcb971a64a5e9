"""What gate and confined processes say to each other: small JSON objects of known kinds, and descriptors beside them.

The gate takes no descriptor: files that a process shall fill are the gate's own, handed over empty. Everything large (a
request's curves, a clip, a fingerprint) goes through such files, so that a message never needs more than `MOST_BYTES`.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, TypeVar

from pydantic import Field, StringConstraints

from policy.canonical import canonical_json, strict_json_object
from policy.claims import Identifier, Sha256, Strict, Thumbprint, parse_claims
from policy.errors import ProcessError, TokenError
from policy.face_commitment import COEFFICIENTS
from policy.grant import ManifestId
from policy.request import MAX_FACES

MOST_BYTES = 60_000
MOST_FILES = 4

Count = Annotated[int, Field(ge=0, lt=1 << 32)]
Side = Annotated[int, Field(ge=0, le=1 << 16)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Encoded = Annotated[str, StringConstraints(max_length=4000, pattern=r"^[A-Za-z0-9_-]*$")]
Sentence = Annotated[str, StringConstraints(max_length=1000, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")]


class Message(Strict):
    """One message. `files`: how many descriptors come with it."""

    files: ClassVar[int] = 0


# To a worker


class OpenWeights(Message):
    """The sealed weights (a file) and the content key, wrapped to the worker's own key for one grant."""

    files: ClassVar[int] = 1
    kind: Literal["open"] = "open"
    grant: Identifier
    wrapped: Encoded


class Begin(Message):
    """Portrait, recording, and what is wanted of them as JSON (`PerformanceWishes`): three files."""

    files: ClassVar[int] = 3
    kind: Literal["begin"] = "begin"


class MakeClip(Message):
    """Make the whole clip with this mark in it, into the file that comes along."""

    files: ClassVar[int] = 1
    kind: Literal["make"] = "make"
    mark_key: Encoded
    manifest_id: ManifestId
    video_strength: Annotated[float, Field(gt=0, le=10)]
    audio_strength: Annotated[float, Field(gt=0, le=10)]
    frames: Count


class Rehearse(Message):
    """Make the motion alone; the same three files as for `Begin`."""

    files: ClassVar[int] = 3
    kind: Literal["rehearse"] = "rehearse"


class TellMotion(Message):
    """Put the numbers of the latest motion into the file that comes along."""

    files: ClassVar[int] = 1
    kind: Literal["tell motion"] = "tell motion"


# To a clip reader


class Inspect(Message):
    """A portrait and a recording, two files."""

    files: ClassVar[int] = 2
    kind: Literal["inspect"] = "inspect"


class ReadClip(Message):
    """An encoded clip, opened twice, and an empty file for its fingerprint."""

    files: ClassVar[int] = 3
    kind: Literal["read"] = "read"
    mark_key: Encoded


class DrawPlot(Message):
    """The numbers of a motion, the recording, the wishes, and an empty file for the picture."""

    files: ClassVar[int] = 4
    kind: Literal["draw"] = "draw"
    picture: Literal["png", "svg"]


# From either


class Ready(Message):
    """Confined and waiting: under which user, by which Landlock (0: none). A worker names its ephemeral key."""

    kind: Literal["ready"] = "ready"
    user: Count
    landlock: Annotated[int, Field(ge=0, lt=1000)]
    filtered: Literal[1]
    public_key: Thumbprint | None = None


class Failed(Message):
    """It could not be done; `error` is the kind of error, `message` one line."""

    kind: Literal["failed"] = "failed"
    error: Literal["start", "seal", "grant", "media", "generator", "watermark", "release", "other"]
    message: Sentence


class Progress(Message):
    """So many frames are done."""

    kind: Literal["progress"] = "progress"
    done: Count


# From a worker


class Opened(Message):
    """The weights are open."""

    kind: Literal["opened"] = "opened"


class Begun(Message):
    """The portrait is encoded; frames will have this size."""

    kind: Literal["begun"] = "begun"
    width_px: Annotated[int, Field(ge=2, le=1 << 14)]
    height_px: Annotated[int, Field(ge=2, le=1 << 14)]


class Made(Message):
    """The clip is in the file."""

    kind: Literal["made"] = "made"
    frames: Count


class Rehearsed(Message):
    """The motion is made."""

    kind: Literal["rehearsed"] = "rehearsed"


class MotionTold(Message):
    """Its numbers are in the file."""

    kind: Literal["motion told"] = "motion told"


# From a clip reader


class SeenPortrait(Message):
    """`policy.media_facts.PortraitFacts`, without what only the gate can say."""

    kind: Literal["portrait"] = "portrait"
    width_px: Side
    height_px: Side
    pixels_sha256: Sha256
    face_heights_px: Annotated[list[Number], Field(max_length=MAX_FACES)]
    face_places: Annotated[list[Annotated[str, StringConstraints(max_length=100)]], Field(max_length=MAX_FACES)]
    embeddings: Annotated[
        list[Annotated[list[Number], Field(min_length=COEFFICIENTS, max_length=COEFFICIENTS)]],
        Field(max_length=MAX_FACES),
    ]


class SeenAudio(Message):
    """`policy.media_facts.AudioFacts`; no level: digital silence."""

    kind: Literal["audio"] = "audio"
    duration_s: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    loudest_dbfs: Number | None


class Unreadable(Message):
    """The file can't be used, and why."""

    kind: Literal["unreadable"] = "unreadable"
    fact: Sentence


class FoundMark(Strict):
    """What was read in one medium; no `manifest_id`: no mark."""

    manifest_id: ManifestId | None
    key_id: Annotated[int, Field(ge=0, lt=1 << 12)] | None
    log10_false_positive: Annotated[float, Field(le=0, allow_inf_nan=False)]
    pilot_z: Number
    seconds_used: Annotated[float, Field(ge=0, allow_inf_nan=False)]


class ReadMarks(Message):
    """The marks, and the clip's own measures; its fingerprint is in the file. `marked_s`: of its picture."""

    kind: Literal["marks"] = "marks"
    video: FoundMark
    audio: FoundMark
    width_px: Side
    height_px: Side
    fps_numerator: Count
    fps_denominator: Annotated[int, Field(ge=1, lt=1 << 32)]
    duration_s: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    tracks: Count
    marked_s: Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Drawn(Message):
    """The picture is in the file."""

    kind: Literal["drawn"] = "drawn"


Expected = TypeVar("Expected", bound=Message)


def write_message(message: Message) -> bytes:
    """The bytes of a message."""
    return canonical_json(message.model_dump())


def parse_message(data: bytes, expected: tuple[type[Expected], ...]) -> Expected:
    """One of the `expected` kinds; raises ProcessError for any other, and for what is no message."""
    if len(data) > MOST_BYTES:
        raise ProcessError(f"it sent a message of more than {MOST_BYTES} bytes")
    kinds = {kind.model_fields["kind"].default: kind for kind in expected}
    try:
        members = strict_json_object(data)
        kind = members.get("kind")
        if not isinstance(kind, str) or kind not in kinds:
            raise ProcessError(f"it sent {kind!r:.40}, expected {' or '.join(map(str, kinds))}")
        return parse_claims(kinds[kind], members)
    except (ValueError, TokenError) as error:
        raise ProcessError(f"it sent no good message: {str(error)[:300]}") from error
