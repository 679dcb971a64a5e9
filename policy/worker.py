"""What a worker process does: one job, as its gate tells it, with weights that only its own key opens.

It holds no signing key and no file of the gate but those it was handed: the sealed weights, portrait, recording, and an
empty file to fill. Which payload is marked is the gate's word, and the gate reads it back.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from typing import Annotated

from pydantic import Field

from media import MediaError
from policy.broker import WorkerKey
from policy.canonical import b64url, b64url_decode, canonical_json, strict_json_object
from policy.claims import Strict, parse_claims
from policy.errors import GrantError, ReleaseError, SealError, TokenError
from policy.marked_clip import Mark
from policy.performer import OWN_FAILURES, LocalPerformer, MakeTalker, Wishes, generator_on
from policy.process_channel import Channel, ChannelEndedError
from policy.process_messages import (
    Begin,
    Begun,
    Failed,
    Made,
    MakeClip,
    MotionTold,
    Opened,
    OpenWeights,
    Progress,
    Ready,
    Rehearse,
    Rehearsed,
    TellMotion,
)
from policy.request import Controls, Framing
from watermark import MarkKey, Payload, WatermarkError

KINDS: Mapping[type[Exception] | tuple[type[Exception], ...], str] = {
    SealError: "seal", GrantError: "grant", MediaError: "media", WatermarkError: "watermark", ReleaseError: "release",
    OWN_FAILURES: "generator",
}  # fmt: skip
LONGEST_REASON = 600


class PerformanceWishes(Strict):
    """`Wishes` without the two files: members of `Controls` and `Framing`, and the seed."""

    controls: dict[str, object]
    framing: dict[str, object]
    seed: Annotated[int, Field(ge=-(1 << 63), lt=1 << 63)]

    @classmethod
    def of(cls, wishes: Wishes) -> bytes:
        """As it is sent."""
        members = {
            "controls": wishes.controls.as_members(),
            "framing": wishes.framing.as_members(),
            "seed": wishes.seed,
        }
        return canonical_json(members)


def read_wishes(data: bytes, portrait: bytes, audio: bytes) -> Wishes:
    """The inverse of `PerformanceWishes.of`; raises ReleaseError for what no request can ask."""
    try:
        sent = parse_claims(PerformanceWishes, strict_json_object(data))
        controls, framing = Controls.of_members(sent.controls), Framing(**sent.framing)  # type: ignore[arg-type]
        wrong = controls.faults() + framing.faults()
    except (ValueError, TypeError, TokenError) as error:
        raise ReleaseError(f"no wishes for a clip: {str(error)[:300]}") from error
    if wrong:
        raise ReleaseError(f"no wishes for a clip: {'; '.join(wrong)[:300]}")
    return Wishes(portrait, audio, controls, framing, sent.seed)


def generate(end: socket.socket, measures: dict[str, int]) -> None:
    """Entry of a worker process."""
    serve_job(Channel(end), measures, generator_on("cpu"))


def serve_job(channel: Channel, measures: dict[str, int], make_talker: MakeTalker) -> None:
    """One job, from key to clip, until the gate hangs up."""

    def told(done: int) -> None:
        channel.send(Progress(done=done))

    key = WorkerKey()
    channel.send(Ready.model_validate({**measures, "public_key": b64url(key.public_bytes)}))
    with serving(channel):
        opening, (weights,) = channel.receive_with_files(OpenWeights)
        with os.fdopen(weights, "rb") as file, LocalPerformer(file, make_talker, key=key) as performer:
            performer.open(b64url_decode(opening.wrapped), opening.grant, look=_nothing)
            channel.send(Opened())
            asked, files = channel.receive_with_files(Begin, Rehearse)
            portrait, audio, sent = map(read_whole, files)
            wishes = read_wishes(sent, portrait, audio)
            if isinstance(asked, Rehearse):
                steps = count(1)
                performer.rehearse(wishes, look=lambda: told(next(steps)))
                channel.send(Rehearsed())
            else:
                width, height = performer.begin(wishes, look=_nothing)
                channel.send(Begun(width_px=width, height_px=height))
            while True:
                task, (filled,) = channel.receive_with_files(MakeClip, TellMotion)
                with os.fdopen(filled, "r+b") as sink:
                    if isinstance(task, MakeClip):
                        performer.make(mark_of(task), task.frames, sink, look=_nothing, on_block=told)
                    else:
                        sink.write(performer.motion_numbers())
                channel.send(Made(frames=task.frames) if isinstance(task, MakeClip) else MotionTold())


def _nothing() -> None:
    """The gate looks after the consent, and ends this process when it must."""


def mark_of(task: MakeClip) -> Mark:
    """The mark that a message names; raises WatermarkError."""
    key = MarkKey.from_bytes(b64url_decode(task.mark_key))
    return Mark(key, Payload(int(task.manifest_id, 16)), task.video_strength, task.audio_strength)


@contextmanager
def serving(channel: Channel) -> Iterator[None]:
    """Whatever fails within is told to the gate in one line; that the gate hung up is no failure."""
    try:
        yield
    except ChannelEndedError:
        return
    except Exception as error:  # noqa: BLE001  whatever it was: the gate hears of it, and has no clip
        kind = next((name for kinds, name in KINDS.items() if isinstance(error, kinds)), "other")
        channel.send(Failed.model_validate({"error": kind, "message": one_line(f"{type(error).__name__}: {error}")}))


def one_line(text: str) -> str:
    """So that it fits a message: printable, and not too long."""
    return "".join(letter if letter.isprintable() else " " for letter in text)[:LONGEST_REASON]


def read_whole(descriptor: int) -> bytes:
    """All of a file from its beginning, which is then closed."""
    with os.fdopen(descriptor, "rb") as file:
        file.seek(0)
        return file.read()
