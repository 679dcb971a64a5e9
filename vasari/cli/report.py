"""`vasari report`: check a signed audit report offline, or make it again and compare."""

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vasari.cli.report_files import read_report
from vasari.cli.session import FILE, CommandError, Exit, Session, progress, styled, table, with_session
from vasari.cli.verify import advance, digests_of, sha256_of, trust_option
from vasari.plain_text import printable

if TYPE_CHECKING:
    from vasari.audit_report import AuditReport
    from vasari.evidence import Source


@click.group()
def report() -> None:
    """Check a signed audit report offline, or make it again and compare."""


@report.command(short_help="Check a signed report offline.")
@click.argument("page", type=FILE)
@click.option("--key", type=FILE, required=True, help="The auditor's public key (name+hash+base64).")
@click.option("--clip", type=FILE, help="The clip it is about, to compare its SHA-256.")
@click.option("--portrait", type=FILE, help="With --again: the portrait, where the audit compared it.")
@click.option("--audio", type=FILE, help="With --again: the recording, where the audit compared it.")
@click.option("--again", is_flag=True, help="Audit --clip again at the report's time and compare every byte.")
@trust_option
@with_session
def check(
    session: Session, page: Path, key: Path, clip: Path | None, portrait: Path | None, audio: Path | None, again: bool,
    trust: Path | None,
) -> None:  # fmt: skip
    """Check the report PAGE (.html, with .json and .note beside it): signature, files, and the clip if given.

    Needs no authority and no network; --again needs the lists that the audit used. Exit code 5 when anything differs.

    \b
    Example:
      vasari report check clip.html --key auditor.vkey --clip clip.mp4
    """
    from provenance import ProofError, parse_log_key
    from vasari.audit_report import ReportError, check_report

    if again and clip is None:
        raise CommandError("--again: give the clip too (--clip)")
    if page.suffix.lower() != ".html":
        raise CommandError(f"{page}: expected the report's page, a file ending in .html")
    try:
        auditor = dict([parse_log_key(key.read_text(encoding="utf-8"))])
    except (ProofError, UnicodeDecodeError) as error:
        raise CommandError(f"{key}: this is no public key of an auditor ({error})") from error
    try:
        found = read_report(page)
        content = check_report(found, auditor)
    except (ReportError, ProofError) as error:
        raise CommandError(f"{page}: {error}", Exit.VERIFICATION_FAILED) from error
    audit = content["audit"]
    if clip is not None and sha256_of(clip) != audit["sha256"]:
        raise CommandError(f"{clip}: the report is about another clip", Exit.VERIFICATION_FAILED)
    if again and clip is not None:
        _compare(session, found, content, clip, digests_of(portrait, audio), trust)
    data = {"holds": True, "verdict": audit["verdict"]["state"], "clip": audit["sha256"], "time": content["time"],
            "made_again": again}  # fmt: skip
    session.result(data, [styled("The report holds", fg="green", bold=True), *table(
        (name.replace("_", " "), printable(value)) for name, value in data.items() if name != "holds")])  # fmt: skip


def _compare(
    session: Session, found: "AuditReport", content: dict[str, Any], clip: Path, given: "dict[Source, str]",
    trust: Path | None,
) -> None:  # fmt: skip
    """Make the report again; CommandError when a byte differs."""
    from vasari.audit_report import make_report
    from vasari.cli.auditor import open_auditor

    time = datetime.fromisoformat(content["time"])
    with open_auditor(session, trust) as auditor, progress("auditing again", unit="s") as bar:
        audit = auditor.audit(clip, progress=lambda seconds: advance(bar, seconds), at=time, given=given)
        made = make_report(replace(audit, path=str(content["audit"]["path"])), auditor)
    for name, kept, new in (("JSON", found.json, made.json), ("HTML", found.html, made.html)):
        if kept != new:
            lines = zip(kept.splitlines(), new.splitlines(), strict=False)
            first = next((a.decode("utf-8", "replace").strip() for a, b in lines if a != b), "its end")
            raise CommandError(f"made again, the {name} differs at: {printable(first, 200)}", Exit.VERIFICATION_FAILED)
