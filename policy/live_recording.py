"""What stands in a request in place of a recording that is still to be spoken: how long it may become at most.

The sound itself can't be hashed before it was spoken. The consent must therefore allow any recording; one that lists
recordings by hash refuses this one like any other that it does not list.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Final

from policy.canonical import canonical_json, strict_json_object

LIVE_TYPE: Final = "vasari-live-recording"
LONGEST_LIVE_S: Final = 3_600
_MOST_BYTES: Final = 200


@dataclass(frozen=True)
class LiveRecording:
    """At most `max_s` whole seconds, an even number, since a stream is cut into segments of two."""

    max_s: int
    nonce: str


def live_recording(max_s: int) -> bytes:
    """The stand-in for a recording of at most `max_s` seconds; ValueError when that is odd or out of range."""
    recording = {"type": LIVE_TYPE, "max_s": max_s, "nonce": secrets.token_hex(16)}
    data = canonical_json(recording)
    if read_live(data) is None:
        raise ValueError(f"a live recording has an even number of seconds from 2 to {LONGEST_LIVE_S}, not {max_s!r}")
    return data


def read_live(audio: bytes) -> LiveRecording | None:
    """What a stand-in says; None for anything else, which then is judged as a sound file."""
    if len(audio) > _MOST_BYTES or not audio.startswith(b"{"):
        return None
    try:
        members = strict_json_object(audio)
    except ValueError:
        return None
    max_s, nonce = members.get("max_s"), members.get("nonce")
    known = set(members) == {"type", "max_s", "nonce"} and members["type"] == LIVE_TYPE
    if not known or type(max_s) is not int or not 2 <= max_s <= LONGEST_LIVE_S or max_s % 2:
        return None
    if not isinstance(nonce, str) or len(nonce) != 32 or canonical_json(members) != audio:
        return None
    return LiveRecording(max_s, nonce)
