"""`vasari scan`: a verdict on every clip of a folder, ranked."""

import json
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from vasari.cli.session import CommandError, Exit, Session, progress, styled, with_session
from vasari.cli.verify import COLOURS, trust_option
from vasari.cli.whole_file import require_writable, write_text
from vasari.file_kinds import CLIPS, RECORDINGS, STILLS, files_below
from vasari.plain_text import printable

if TYPE_CHECKING:
    from vasari.clip_audit import ClipAudit, ClipAuditor, UnreadableClip


@click.command(short_help="Audit files and folders; one ranked page.")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="Write one HTML page here.")
@click.option(
    "--jsonl", type=click.Path(path_type=Path, dir_okay=False), help="Write one JSON line per file here, as they come."
)
@trust_option
@with_session
def scan(session: Session, paths: Sequence[Path], html: Path | None, jsonl: Path | None, trust: Path | None) -> None:
    """Audit files and folders; each clip is decoded once for watermark and detector.

    Folders are searched for clips by their suffix, with all folders below; files named outright are always tried.
    Stills and recordings are counted and left alone; `vasari mark detect` looks for marks in them.
    A file that can't be read becomes a row with its error and the scan goes on. With --json the lines go to
    stdout. Exit code 4 says that some files could not be read, 6 that there was no clip at all.

    \b
    Example:
      vasari scan uploads/ extra.mp4 --html scan.html --jsonl scan.jsonl
    """
    from vasari.cli.auditor import open_auditor
    from vasari.clip_audit import UnreadableClip
    from vasari.reports import scan_page

    files = list(files_below(paths, CLIPS))
    others = len(list(files_below([path for path in paths if path.is_dir()], RECORDINGS | STILLS)))
    left_alone = f"{others} recordings and stills were left alone: vasari mark detect looks into them" if others else ""
    if not files:
        known = ", ".join(sorted(CLIPS))
        told = f"no clip found; name files outright, or folders with {known} files"
        raise CommandError("; ".join(filter(None, (told, left_alone))), Exit.NOTHING_FOUND)
    _require_places(files, html, jsonl)
    audits: list[ClipAudit] = []
    unreadable: list[UnreadableClip] = []
    with ExitStack() as stack:
        auditor = stack.enter_context(open_auditor(session, trust))
        lines = stack.enter_context(jsonl.open("w", encoding="utf-8")) if jsonl is not None else None
        bar = stack.enter_context(progress("scanning", total=len(files), unit="file"))
        for path in files:
            outcome = audit_one(auditor, path)
            if isinstance(outcome, UnreadableClip):
                unreadable.append(outcome)
            else:
                audits.append(outcome)
            bar.clear()
            _tell(session, outcome, lines)
            bar.update()
    if html is not None:
        write_text(html, scan_page(audits, unreadable, made_at=datetime.now(UTC)))
        session.note(f"page: {html}")
    session.note(f"{len(audits)} of {len(files)} files audited")
    if left_alone:
        session.note(left_alone)
    raise SystemExit(Exit.BAD_MEDIA if unreadable else Exit.OK)


def _require_places(files: Sequence[Path], html: Path | None, jsonl: Path | None) -> None:
    """Raises CommandError, before the first clip is looked at, unless page and lines have places of their own."""
    taken = {file.resolve() for file in files}
    for place in (html, jsonl):
        if place is None:
            continue
        if place.resolve() in taken:
            raise CommandError(f"{place}: page and lines need names of their own, not one another's or a clip's")
        taken.add(place.resolve())
        require_writable(place)


def audit_one(auditor: "ClipAuditor", path: Path) -> "ClipAudit | UnreadableClip":
    """The audit of `path`, or why there is none; nothing a file contains stops a scan."""
    from vasari.clip_audit import UnreadableClip

    try:
        return auditor.audit(path)
    except Exception as error:  # noqa: BLE001  one hostile file must not end the scan of the others
        message = " ".join(str(error).split()) or type(error).__name__
        return UnreadableClip(str(path), message.removeprefix(f"{path}: "))


def _tell(session: Session, outcome: "ClipAudit | UnreadableClip", lines: IO[str] | None) -> None:
    from vasari.audit_json import audit_json, unreadable_json
    from vasari.clip_audit import UnreadableClip

    if isinstance(outcome, UnreadableClip):
        row: dict[str, Any] = unreadable_json(outcome)
        label = styled("Could not be read".ljust(38), fg="yellow")
        text = f"{label}{printable(outcome.path)}\n  {printable(outcome.error)}"
    else:
        row = audit_json(outcome)
        verdict = outcome.verdict
        text = f"{styled(verdict.title.ljust(38), fg=COLOURS[verdict.state])}{printable(outcome.path)}"
    session.result(row, [text])
    if lines is not None:
        lines.write(json.dumps(row, allow_nan=False) + "\n")
        lines.flush()
