"""`vasari mark`: which release a file carries in picture and sound, and the keys that mark and read."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vasari.cli.session import CommandError, Exit, Session, progress, styled, table, with_session
from vasari.file_kinds import CLIPS, RECORDINGS, STILLS, files_below
from vasari.plain_text import printable

if TYPE_CHECKING:
    from vasari.mark_reading import FileMarks, MarkReading
    from watermark import Detection, MarkedStretch, MarkKey, Payload

COLOURS = {"found": "green", "none": "yellow", "stopped": "yellow", "corrupt": "red"}


@click.group()
def mark() -> None:
    """Find the marks of releases in clips, recordings and stills; list and rotate the keys."""


@mark.command(short_help="Which release a file carries in picture and sound.")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--key-id", "key_ids", type=int, multiple=True, help="Look with these keys only; all by default.")
@with_session
def detect(session: Session, paths: Sequence[Path], key_ids: tuple[int, ...]) -> None:
    """Look for the authority's marks, blindly: no original, start, crop, angle or speed need be known.

    Takes clips, recordings and stills (PNG, JPEG, WebP); folders are searched for them by their suffix. Picture and
    sound each have a state: found, none, stopped, too_short, too_small, no_video, no_audio or corrupt. What is found is
    wrong with at most the probability that is given; it is a proven bound. A clip cut together from several releases
    names each with its seconds. With --json each file is one line.

    Exit code 0 when a mark was found, 6 when none was, 4 when a file could not be looked at.

    \b
    Example:
      vasari mark detect upload.mp4
      vasari mark detect uploads/ --json
    """
    from policy import Authority
    from vasari.mark_reading import read_file_marks

    files = list(files_below(paths, CLIPS | RECORDINGS | STILLS))
    if not files:
        raise CommandError("no clip, recording or still found; name files outright", Exit.NOTHING_FOUND)
    with Authority.open(session.state) as authority:
        keys = chosen_keys(authority.mark_keys, key_ids)
    active = keys[0].key_id if not key_ids else None
    found = unusable = 0
    with progress("looking", total=len(files), unit="file") as bar:
        for path in files:
            marks = read_file_marks(path, keys, progress=lambda at_s: bar.set_postfix_str(f"{at_s:.0f} s"))
            found, unusable = found + marks.found, unusable + marks.unusable
            bar.clear()
            session.result(members(marks), lines_of(marks, active))
            bar.update()
    session.note(f"{found} of {len(files)} files carry a mark of {len(keys)} key{'s' * (len(keys) > 1)}")
    raise SystemExit(Exit.BAD_MEDIA if unusable else Exit.OK if found else Exit.NOTHING_FOUND)


@mark.group()
def keys() -> None:
    """The keys of the marks: list them, or mark new clips with a new one."""


@keys.command("list", short_help="All mark keys by number; no secret is shown.")
@with_session
def list_keys(session: Session) -> None:
    """List the mark keys by number: the one that marks new clips, and those that still read older ones.

    Keys with the same pilot are looked for together: what a search costs grows with the pilots, hardly with the keys.

    \b
    Example:
      vasari mark keys list
    """
    from policy import Authority

    with Authority.open(session.state) as authority:
        stored = authority.stored_mark_keys()
    pilots = list(dict.fromkeys(one.key.pilot for one in stored))
    rows = [
        {
            "key_id": one.key.key_id,
            "pilot": pilots.index(one.key.pilot) + 1,
            "active": one.active,
            "since": one.since.isoformat(timespec="seconds"),
        }
        for one in stored
    ]
    lines = [
        f"{row['key_id']:5d}  {'marks and reads' if row['active'] else 'reads only':16s}"
        f" pilot {row['pilot']:<3d} {row['since']}"
        for row in rows
    ]
    session.result({"keys": rows, "folder": str(session.state / "keys")}, lines)


@keys.command(short_help="Mark new clips with a new key.")
@click.option("--new-pilot", is_flag=True, help="Also draw a new pilot; searches take longer from then on.")
@with_session
def rotate(session: Session, new_pilot: bool) -> None:
    """Mark new clips with a new key from now on. The old key stays and reads the clips that it marked.

    The new key shares the old one's pilot, which tells where a mark lies and not who made it. Ask for a new pilot when
    a key has leaked. Jobs that run meanwhile end with the old key. The change is logged.

    \b
    Example:
      vasari mark keys rotate
    """
    from policy import Authority

    with Authority.open(session.state) as authority:
        receipt = authority.rotate_mark_key(new_pilot=new_pilot)
        active, *retired = (key.key_id for key in authority.mark_keys)
    data = {"active": active, "retired": retired, "log_index": receipt.log_index}
    session.result(data, table([("new key", active), ("still read", retired), ("log entry", receipt.log_index)]))


def chosen_keys(known: Sequence["MarkKey"], key_ids: Sequence[int]) -> list["MarkKey"]:
    """The keys with these numbers, or all; raises CommandError for a number that the authority has not."""
    by_id = {key.key_id: key for key in known}
    missing = [number for number in key_ids if number not in by_id]
    if missing:
        raise CommandError(f"no mark key {missing[0]} here; there are {', '.join(map(str, sorted(by_id)))}")
    return [by_id[number] for number in dict.fromkeys(key_ids)] or list(known)


def members(marks: "FileMarks") -> dict[str, Any]:
    """The JSON form of one file's marks."""
    return {
        "path": marks.path,
        "kind": marks.kind,
        "found": marks.found,
        "at_odds": marks.at_odds,
        "picture": _reading_members(marks.picture),
        "sound": _reading_members(marks.sound),
    }


def _reading_members(reading: "MarkReading") -> dict[str, Any]:
    row: dict[str, Any] = {"state": reading.state, "explanation": reading.explanation}
    detection = reading.detection
    if detection is None:
        return row
    row |= {
        "log10_false_positive": detection.log10_false_positive,
        "pilot_z": detection.pilot_z,
        "seconds_used": detection.seconds_used,
    }
    if detection.payload is not None:
        row |= _mark_members(detection, detection.payload, reading.stretches)
        row["others"] = [
            {
                **_mark_members(other.detection, other.detection.payload, other.stretches),
                "log10_false_positive": other.detection.log10_false_positive,
            }
            for other in reading.others
            if other.detection.payload is not None
        ]
    return row


def _mark_members(detection: "Detection", payload: "Payload", stretches: "Sequence[MarkedStretch]") -> dict[str, Any]:
    return {
        "manifest_id": f"{payload.manifest_id:016x}",
        "key_id": detection.key_id,
        "segments": [{"start_s": round(s.start_s, 2), "end_s": round(s.end_s, 2)} for s in stretches],
        "pose": _pose_members(detection),
    }


def _pose_members(detection: "Detection") -> dict[str, Any] | None:
    """How the picture that was read lies in the original frame."""
    pose = detection.pose
    if pose is None:
        return None
    return {
        "shown": round(pose.shown, 4),
        "turned_deg": round(pose.turned_deg, 2),
        "mirrored": pose.mirrored,
        "stretch": round(pose.stretch, 4),
        "speed": round(pose.speed, 4),
    }


def lines_of(marks: "FileMarks", active: int | None) -> list[str]:
    """One file's marks for people."""
    lines = [styled(printable(marks.path), bold=True)]
    readings = [("picture", marks.picture), ("sound", marks.sound)]
    for name, reading in [("file", marks.picture)] if marks.kind == "unreadable" else readings:
        word = styled(reading.state.replace("_", " ").ljust(9), fg=COLOURS.get(reading.state))
        said = _said(reading, active, still=marks.kind == "still")
        lines.append(f"  {name:8s} {word} {printable(said, 500)}".rstrip())
        lines += [
            f"  {'':8s} {'and':9s} {_release(other.detection, other.stretches, active)}" for other in reading.others
        ]
    if marks.at_odds:
        lines.append(f"  {styled('picture and sound carry marks of different releases: one was replaced', fg='red')}")
    return lines


def _said(reading: "MarkReading", active: int | None, *, still: bool) -> str:
    detection = reading.detection
    if detection is None:
        return reading.explanation
    if detection.payload is not None:
        words = _release(detection, reading.stretches, active)
    else:
        words = "" if still else f"{detection.seconds_used:.1f} s looked at"
    return "; ".join(filter(None, (words, reading.explanation)))


def _release(detection: "Detection", stretches: "Sequence[MarkedStretch]", active: int | None) -> str:
    """Release, key, bound and seconds of one mark."""
    from vasari.reports import odds

    assert detection.payload is not None
    retired = "" if active is None or detection.key_id == active else ", retired"
    words = [
        f"release {detection.payload.manifest_id:016x}",
        f"key {detection.key_id}{retired}",
        f"false positive at most {odds(detection.log10_false_positive)}",
    ]
    if detection.seconds_used > 0:
        words.append(f"read from {detection.seconds_used:.1f} s")
    if stretches:
        words.append("in " + ", ".join(f"{s.start_s:.1f} to {s.end_s:.1f} s" for s in stretches))
    return ", ".join(words)
