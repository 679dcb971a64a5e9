"""The keys of the marks: one that marks new clips, and those before it, by which older clips are still read.

    keys/mark.key        the active key
    keys/mark-XXX.key    a retired one, by its number in hexadecimal

A key is never deleted here: the clips that it marked would lose their way back to their manifests. The keys of a
folder share a pilot, by which a search finds a mark's place for all of them at once; every new pilot makes searches
longer.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from policy.errors import KeyFileError
from policy.keys import read_secret, write_secret
from watermark import KEY_IDS, MarkKey, WatermarkError

ACTIVE = "mark.key"
RETIRED = "mark-{:03x}.key"


@dataclass(frozen=True)
class StoredMarkKey:
    """A key, whether it marks new clips, and when its file was written."""

    key: MarkKey
    active: bool
    since: datetime


def create_mark_key(folder: Path) -> None:
    """The first key of a state folder's `keys/`."""
    write_secret(folder / ACTIVE, MarkKey.generate().to_bytes())


def read_mark_keys(folder: Path) -> tuple[StoredMarkKey, ...]:
    """The active key, then the retired ones, newest first; raises KeyFileError for a missing, open or foreign file."""
    active = _read(folder / ACTIVE, active=True)
    retired = [_read(path, active=False) for path in folder.glob("mark-*.key")]
    others = [one for one in retired if one.key.key_id != active.key.key_id]  # a rotation that was cut off
    return (active, *sorted(others, key=lambda one: one.since, reverse=True))


def rotate_mark_key(folder: Path, *, new_pilot: bool = False) -> tuple[MarkKey, MarkKey]:
    """Retire the active key and put a new one with an unused number in its place: the old key and the new.

    The new key shares the old one's pilot unless there shall be a `new_pilot`. The old key has its new name before the
    new key takes its place, so that none is ever lost.
    """
    stored = read_mark_keys(folder)
    taken = {one.key.key_id for one in stored}
    free = [number for number in range(KEY_IDS) if number not in taken]
    if not free:
        raise KeyFileError(f"{folder}: all {KEY_IDS} key numbers are taken; make a new authority with `vasari init`")
    old = stored[0].key
    new = MarkKey.generate(key_id=secrets.choice(free), beside=None if new_pilot else old)
    retired = folder / RETIRED.format(old.key_id)
    if not retired.exists():
        os.link(folder / ACTIVE, retired)
    write_secret(folder / ACTIVE, new.to_bytes(), overwrite=True)
    return old, new


def _read(path: Path, *, active: bool) -> StoredMarkKey:
    try:
        key = MarkKey.from_bytes(read_secret(path))
    except WatermarkError as error:
        raise KeyFileError(f"{path}: {error}") from error
    return StoredMarkKey(key, active, datetime.fromtimestamp(path.stat().st_mtime, UTC))
