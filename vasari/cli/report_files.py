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
    """The three files of a report; raises CommandError when one is missing."""
    from vasari.audit_report import AuditReport

    try:
        note = page.with_suffix(".note").read_bytes().decode("utf-8")
        return AuditReport(page.with_suffix(".json").read_bytes(), page.read_bytes(), note)
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{page}: expected a report with .json and .note beside it ({error})") from error
