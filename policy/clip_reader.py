"""What a reader process does: decode one upload, or one clip that came back, and say what it is.

Decoders are where hostile files strike, so they run where no key and no file of the gate lies: a fresh process for
every task, which sees the one clip (or portrait and recording) and, for reading a mark, the mark key, which the worker
that made the clip has too. A clip that takes over its reader can make it lie about that clip, no more.
"""

from __future__ import annotations

import math
import os
import socket
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from media import MediaError
from policy.canonical import b64url_decode
from policy.marked_clip import Item, marked_seconds, read_back
from policy.media_facts import in_request, inspect_audio, inspect_portrait
from policy.performer import draw_motion
from policy.process_channel import Channel
from policy.process_messages import (
    Drawn,
    DrawPlot,
    FoundMark,
    Inspect,
    Progress,
    ReadClip,
    ReadMarks,
    Ready,
    SeenAudio,
    SeenPortrait,
    Unreadable,
)
from policy.worker import one_line, read_whole, read_wishes, serving
from watermark import Detection, MarkKey


def read(end: socket.socket, measures: dict[str, int]) -> None:
    """Entry of a reader process: one task."""
    channel = Channel(end)
    channel.send(Ready.model_validate(measures))
    with serving(channel):
        task, files = channel.receive_with_files(Inspect, ReadClip, DrawPlot)
        if isinstance(task, ReadClip):
            key = MarkKey.from_bytes(b64url_decode(task.mark_key))
            clip, again = (os.fdopen(one, "rb") for one in files[:2])
            with clip, again, os.fdopen(files[2], "r+b") as fingerprint:
                channel.send(_read_clip(channel, clip, again, fingerprint, key))
        elif isinstance(task, DrawPlot):
            numbers, audio, wishes = map(read_whole, files[:3])
            drawn = draw_motion(numbers, audio, read_wishes(wishes, b"", audio).controls, task.picture)
            with os.fdopen(files[3], "r+b") as picture:
                picture.write(drawn)
            channel.send(Drawn())
        else:
            portrait, audio = map(read_whole, files)
            channel.send(_portrait_seen(portrait))
            channel.send(_audio_seen(audio))


def _read_clip(channel: Channel, clip: BinaryIO, again: BinaryIO, fingerprint: BinaryIO, key: MarkKey) -> ReadMarks:
    seen = 0

    def watched(items: Iterable[Item]) -> Iterator[Item]:
        nonlocal seen
        for item in items:
            seen += 1
            channel.send(Progress(done=seen))
            yield item

    found = read_back(clip, again, key, watched=watched)
    marked_s = marked_seconds(clip, found.video, key, watched=watched)
    fingerprint.write(found.fingerprint)
    fingerprint.flush()
    measures = found.measures
    return ReadMarks(
        video=_found(found.video),
        audio=_found(found.audio),
        width_px=measures.width_px,
        height_px=measures.height_px,
        fps_numerator=measures.fps.numerator,
        fps_denominator=measures.fps.denominator,
        duration_s=measures.duration_s,
        tracks=measures.tracks,
        marked_s=marked_s,
    )


def _found(detection: Detection) -> FoundMark:
    return FoundMark(
        manifest_id=None if detection.payload is None else f"{detection.payload.manifest_id:016x}",
        key_id=detection.key_id,
        log10_false_positive=detection.log10_false_positive,
        pilot_z=detection.pilot_z,
        seconds_used=detection.seconds_used,
    )


def _portrait_seen(portrait: bytes) -> SeenPortrait | Unreadable:
    try:
        facts, embeddings = inspect_portrait(portrait)
    except MediaError as error:
        return Unreadable(fact=one_line(in_request("portrait", error)))
    return SeenPortrait(
        width_px=facts.width_px,
        height_px=facts.height_px,
        pixels_sha256=facts.pixels_sha256,
        face_heights_px=list(facts.face_heights_px),
        face_places=list(facts.face_places),
        embeddings=[list(one) for one in embeddings],
    )


def _audio_seen(audio: bytes) -> SeenAudio | Unreadable:
    try:
        facts = inspect_audio(audio)
    except MediaError as error:
        return Unreadable(fact=one_line(in_request("recording", error)))
    return SeenAudio(
        duration_s=facts.duration_s, loudest_dbfs=facts.loudest_dbfs if math.isfinite(facts.loudest_dbfs) else None
    )
