"""`vasari verify`: who made this clip, and was it changed."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click
from tqdm import tqdm

from vasari.cli.report_files import require_free
from vasari.cli.session import FILE, CommandError, Exit, Session, progress, styled, table, with_session
from vasari.cli.whole_file import write_bytes
from vasari.plain_text import printable

if TYPE_CHECKING:
    from provenance import CredentialsReport, ManifestRepository
    from vasari.audit_report import AuditReport
    from vasari.clip_audit import ClipAudit
    from vasari.evidence import Source
    from watermark import Detection

COLOURS = {
    "verified_release": "green",
    "known_generator_credentials_stripped": "blue",
    "credentials_broken": "red",
    "likely_synthetic": "red",
    "no_evidence_of_synthesis": None,
    "cant_tell": "yellow",
}
EXITS = {
    "verified_release": Exit.OK,
    "known_generator_credentials_stripped": Exit.VERIFICATION_FAILED,
    "credentials_broken": Exit.VERIFICATION_FAILED,
    "likely_synthetic": Exit.VERIFICATION_FAILED,
    "no_evidence_of_synthesis": Exit.NOTHING_FOUND,
    "cant_tell": Exit.NOTHING_FOUND,
}

CHECK_MARKS: dict[str, tuple[str, str | None]] = {
    "passed": ("+", "green"),
    "failed": ("x", "red"),
    "warning": ("!", "yellow"),
    "not checked": ("-", None),
}

time_option = click.option(
    "--time",
    type=click.DateTime(["%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d"]),
    callback=lambda _context, _option, value: value and value.replace(tzinfo=UTC),
    help="Judge certificates and lists as of this time (UTC); now by default.",
)

trust_option = click.option(
    "--trust",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Public folder of another authority, to check its clips instead of one's own.",
)


@click.command(short_help="Say who made a clip and whether it was changed.")
@click.argument("clip", type=click.Path(path_type=Path, exists=True))
@click.option(
    "--report",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write an HTML report here, and the same as JSON beside it.",
)
@click.option(
    "--sign",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Sign the report with this key of the auditor's; made new, mode 0600, when missing.",
)
@click.option("--auditor", default="auditor", show_default=True, help="The auditor's name in the signature.")
@click.option("--portrait", type=FILE, help="The portrait it should be made from, to compare its SHA-256.")
@click.option("--audio", type=FILE, help="The recording it should be made from, to compare its SHA-256.")
@click.option(
    "--recover",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the registered manifest of a marked clip here (.c2pa).",
)
@click.option("--overwrite", is_flag=True, help="Replace a report that is there.")
@time_option
@trust_option
@with_session
def verify(
    session: Session,
    clip: Path,
    report: Path | None,
    sign: Path | None,
    auditor: str,
    portrait: Path | None,
    audio: Path | None,
    recover: Path | None,
    overwrite: bool,
    time: datetime | None,
    trust: Path | None,
) -> None:
    """Say where CLIP comes from: credentials by two engines, watermark, log proof and detector.

    Every question that an auditor asks is answered in one sentence with the clause behind it; what was not checked is
    said too.

    The report gives the same bytes for the same clip, lists and --time; signed, it is checked by `vasari report check`.
    Works on clips whose metadata was stripped: the watermark leads back to the registered release. The verdict
    names the evidence that decided. Only a verified release ends with exit code 0. Third parties check an
    authority's clips with nothing but its public folder (--trust); marks and the repository stay with the authority.

    CLIP may be the folder of a live stream, or its playlist: then every segment is verified, and the chain between
    them: missing, swapped and repeated segments are named.

    \b
    Example:
      vasari verify clip.mp4 --report clip.html --sign auditor.pem
    """
    from vasari.audit_json import audit_json
    from vasari.audit_report import make_report
    from vasari.cli.auditor import open_auditor

    if clip.is_dir() or clip.suffix.lower() == ".m3u8":
        if any((report, sign, portrait, audio, recover)):
            raise CommandError("--report, --sign, --portrait, --audio and --recover take one clip; name a segment")
        _verify_stream(session, clip, time, trust)
    if report is not None:
        inputs = [path for path in (clip, portrait, audio, sign) if path is not None]
        require_free(report, signed=sign is not None, inputs=inputs, overwrite=overwrite)
    if sign is not None and report is None:
        raise CommandError("--sign: there is nothing to sign without --report")
    with open_auditor(session, trust) as held, progress("verifying", unit="s") as bar:
        given = digests_of(portrait, audio)
        audit = held.audit(clip, progress=lambda seconds: advance(bar, seconds), at=time, given=given)
        if recover is not None:
            _write_manifest(recover, audit, held.repository)
        made = make_report(audit, held) if report is not None else None
    if report is not None and made is not None:
        _write_report(report, made, sign, auditor)
    session.result(audit_json(audit) | {"report": str(report) if report else None}, verdict_lines(audit))
    if report is not None:
        session.note(f"\nreport: {report}")
    code = EXITS[audit.verdict.state]
    if code is Exit.OK and any(check.state == "failed" for check in audit.checks):
        code = Exit.VERIFICATION_FAILED
    raise SystemExit(code)


def _verify_stream(session: Session, path: Path, time: datetime | None, trust: Path | None) -> NoReturn:
    """Every segment of a stream and the chain between them."""
    from vasari.audit_json import audit_json
    from vasari.cli.auditor import open_auditor
    from vasari.stream_audit import StreamError, audit_stream, read_stream

    try:
        stream = read_stream(path)
    except StreamError as error:
        raise CommandError(str(error), Exit.BAD_MEDIA) from error
    with open_auditor(session, trust) as held, progress("verifying", total=len(stream.segments), unit="segment") as bar:

        def audit(segment: Path) -> "ClipAudit":
            done = held.audit(segment, at=time)
            bar.update()
            return done

        found = audit_stream(stream, audit)
    lines = [styled("Verified stream" if found.verified else "Stream not verified", bold=True)]
    for one in found.audits:
        failed = [check.question for check in one.checks if check.state == "failed"]
        colour = "red" if failed else COLOURS[one.verdict.state]
        lines.append(f"  {printable(one.name)}  {styled(printable(one.verdict.title), fg=colour)}")
        lines += [f"    {styled('x', fg='red', bold=True)} {question}" for question in failed]
    lines += [f"  {styled('x', fg='red', bold=True)} {printable(fault)}" for fault in found.faults]
    lines += [f"  {styled('!', fg='yellow', bold=True)} {printable(note)}" for note in found.notes]
    session.result(
        {
            "verified": found.verified,
            "complete": found.complete,
            "frames": found.frames,
            "faults": list(found.faults),
            "notes": list(found.notes),
            "segments": [audit_json(one) for one in found.audits],
        },
        lines,
    )
    raise SystemExit(Exit.OK if found.verified else Exit.VERIFICATION_FAILED)


def _write_manifest(path: Path, audit: "ClipAudit", repository: "ManifestRepository | None") -> None:
    """The manifest that the clip's mark leads to, as a sidecar file."""
    found = audit.evidence.repository
    stored = repository.find(found.manifest_id) if repository is not None and found is not None else None
    if stored is None:
        raise CommandError("--recover: no registered manifest belongs to this clip's mark", Exit.NOTHING_FOUND)
    write_bytes(path, stored.manifest_store)


def _write_report(page: Path, made: "AuditReport", sign: Path | None, auditor: str) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from policy import read_private_key, write_private_key
    from provenance import ProofError, format_log_key
    from vasari.audit_report import sign_report
    from vasari.cli.report_files import write_report

    if sign is None:
        write_report(page, made)
        return
    if not sign.exists():
        write_private_key(sign, Ed25519PrivateKey.generate())
    key = read_private_key(sign)
    try:
        write_report(page, sign_report(made, auditor=auditor, key=key), format_log_key(auditor, key.public_key()))
    except ProofError as error:
        raise CommandError(f"--auditor: {error}") from error


def advance(bar: "tqdm[NoReturn]", seconds: float) -> None:
    """Set a bar to `seconds`."""
    bar.update(round(seconds, 1) - bar.n)


def verdict_lines(audit: "ClipAudit") -> list[str]:
    """The audit for a terminal."""
    verdict, found = audit.verdict, audit.evidence
    lines = [
        styled(verdict.title, fg=COLOURS[verdict.state], bold=True)
        + styled(f"  (decided by: {verdict.decided_by})", dim=True),
        *(f"  {printable(sentence)}" for sentence in verdict.explanation),
    ]
    if verdict.conflicts:
        lines += ["", styled("What does not fit together", fg="yellow")]
        lines += [f"  {printable(sentence)}" for sentence in verdict.conflicts]
    lines += ["", *check_lines(audit)]
    engines = found.credentials.engines if found.credentials is not None else ()
    entry = "" if found.log.index is None else f" (entry {found.log.index})"
    rows: list[tuple[str, object]] = [
        ("file", printable(audit.path)),
        ("SHA-256", audit.sha256),
        ("credentials", found.credentials.state if found.credentials is not None else "not looked for"),
        *((f"  {printable(engine.engine)}", printable(engine.state)) for engine in engines),
        *_signer_row(found.credentials),
        ("mark in picture", mark_text(found.video_mark)),
        ("mark in sound", mark_text(found.audio_mark)),
        ("log proof", found.log.state.replace("_", " ") + entry),
        ("detector", _detector_text(audit)),
    ]
    return [*lines, "", *table(rows)]


def check_lines(audit: "ClipAudit") -> list[str]:
    """Every question with its answer; failures first stand out by their mark, not by colour alone."""
    lines = []
    for check in audit.checks:
        mark, colour = CHECK_MARKS[check.state]
        lines.append(f"  {styled(mark, fg=colour, bold=True)} {check.question}")
        lines.append(f"    {printable(check.answer)} {styled(f'[{check.clause}]', dim=True)}")
    return lines


def digests_of(portrait: Path | None, audio: Path | None) -> "dict[Source, str]":
    """SHA-256 of what a clip is said to be made from, as far as it is at hand."""
    given: dict[Source, str] = {}
    given |= {"portrait": sha256_of(portrait)} if portrait else {}
    given |= {"recording": sha256_of(audio)} if audio else {}
    return given


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, lower-case hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _signer_row(credentials: "CredentialsReport | None") -> list[tuple[str, object]]:
    """What an unverified manifest says about its signer is only a claim."""
    if credentials is None or not credentials.signer:
        return []
    name = "signer" if credentials.state == "verified" else "claimed signer"
    return [(name, printable(credentials.signer))]


def mark_text(mark: "Detection | None") -> str:
    """A mark's detection in one line."""
    from vasari.reports import odds

    if mark is None:
        return "not looked for"
    if mark.payload is None:
        return "none found before the search ended at its greatest number of tags" if mark.stopped else "none found"
    return f"release {mark.payload.manifest_id:016x}, false positive at most {odds(mark.log10_false_positive)}"


def _detector_text(audit: "ClipAudit") -> str:
    report = audit.evidence.detector
    if report is None:
        return "did not run"
    words = report.state.replace("_", " ")
    if report.probability is not None:
        words += f", calibrated probability {report.probability:.2f}"
    return f"{words}: {report.reason}" if report.reason else words
