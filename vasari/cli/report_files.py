"""The files of an audit report: page, JSON, signed note and public key, beside one another."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from vasari.cli.session import CommandError
from vasari.cli.whole_file import write_bytes, write_text

if TYPE_CHECKING:
    from vasari.audit_report import AuditReport


def require_free(page: Path, *, signed: bool, inputs: Iterable[Path], overwrite: bool) -> None:
    """Raise CommandError unless a report may be written to PAGE: an .html, over no input, and over no file unasked."""
    if page.suffix.lower() != ".html":
        raise CommandError(f"{page}: expected a name ending in .html; the JSON goes beside it")
    targets = [page, *(page.with_suffix(end) for end in (".json", *((".note", ".vkey") if signed else ())))]
    read = {path.resolve() for path in inputs}
    for path in targets:
        if path.resolve() in read:
            raise CommandError(f"{page}: the report would replace {path}, which it is made from; choose another name")
        if path.exists() and not overwrite:
            raise CommandError(f"{path} is there already; choose another name for the report, or give --overwrite")


def write_report(page: Path, made: "AuditReport", public_key: str = "") -> list[Path]:
    """PAGE with its JSON beside it, and where it is signed its note and the auditor's public key."""
    files = {page: made.html, page.with_suffix(".json"): made.json}
    for path, content in files.items():
        write_bytes(path, content)
    written = list(files)
    if made.note:
        for suffix, text in ((".note", made.note), (".vkey", public_key + "\n")):
            write_text(page.with_suffix(suffix), text)
            written.append(page.with_suffix(suffix))
    return written


def read_report(page: Path) -> "AuditReport":
    """The three files of a report; raises CommandError when one is missing, ReportError for a note that is no text."""
    from vasari.audit_report import AuditReport, ReportError

    note, content = page.with_suffix(".note"), page.with_suffix(".json")
    try:
        signed, said, shown = (path.read_bytes() for path in (note, content, page))
    except OSError as error:
        raise CommandError(
            f"{error.filename}: can't be read ({error.strerror}); a signed report is {page.name}, {content.name} and "
            f"{note.name} beside one another"
        ) from error
    try:
        return AuditReport(said, shown, signed.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ReportError(f"{note.name} is no text, and so no signed note") from error
