"""`vasari scan`: a verdict on every clip of a folder, ranked."""

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from vasari.cli.session import CommandError, Exit, Session, progress, styled, with_session
from vasari.cli.verify import COLOURS, trust_option
from vasari.cli.whole_file import write_text
from vasari.plain_text import printable

if TYPE_CHECKING:
    from vasari.clip_audit import ClipAudit, ClipAuditor, UnreadableClip

CLIP_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".3gp", ".flv", ".wmv", ".ogv"}
)


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
    A file that can't be read becomes a row with its error and the scan goes on. With --json the lines go to
    stdout. Exit code 4 says that some files could not be read, 6 that there was no clip at all.

    \b
    Example:
      vasari scan uploads/ extra.mp4 --html scan.html --jsonl scan.jsonl
    """
    from vasari.cli.auditor import open_auditor
    from vasari.clip_audit import UnreadableClip
    from vasari.reports import scan_page

    files = list(clips_below(paths))
    if not files:
        raise CommandError(
            "no clip found; name files outright, or folders with " + ", ".join(sorted(CLIP_SUFFIXES)) + " files",
            Exit.NOTHING_FOUND,
        )
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
    raise SystemExit(Exit.BAD_MEDIA if unreadable else Exit.OK)


def clips_below(paths: Sequence[Path]) -> Iterator[Path]:
    """The named files, and the clips in the named folders, each once, in a stable order."""
    seen: set[Path] = set()
    for path in paths:
        inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in CLIP_SUFFIXES and p.is_file())
        for file in inside if path.is_dir() else [path]:
            if file.resolve() not in seen:
                seen.add(file.resolve())
                yield file


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
        lines.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")
        lines.flush()
