"""One run of a command: where its state lies, how it speaks, and how it ends.

Results go to stdout, everything else to stderr. With `--json`, stdout carries JSON and nothing else.
"""

import functools
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from pathlib import Path
from typing import Any, NoReturn

import click
from tqdm import tqdm

from vasari.plain_text import printable

DEFAULT_STATE = "~/.local/share/vasari"


class RegularFile(click.Path):
    """A file to read, no pipe and no device: reading one would wait for its writer, or never end."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path; a usage error names what came instead."""
        path = super().convert(value, param, ctx)
        if str(path) != "-" and not os.path.isfile(path):  # noqa: PTH113  click gives text, bytes or a path
            self.fail(f"{click.format_filename(path)}: expected a regular file, not a pipe or a device", param, ctx)
        return path


FILE = RegularFile(path_type=Path, exists=True, dir_okay=False)
"""An option that names a file to read."""

TAKES_BASE64URL = {"ignore_unknown_options": True}
"""`context_settings` of a command whose argument is base64url text, which may begin with a dash."""

LONGEST_MESSAGE = 2000
"""Characters of an error or a reason on the terminal; strangers' files and tokens speak in them."""


class Exit(IntEnum):
    """Exit codes; `vasari --help` and docs list them."""

    OK = 0
    UNEXPECTED = 1
    USAGE = 2
    REFUSED = 3
    BAD_MEDIA = 4
    VERIFICATION_FAILED = 5
    NOTHING_FOUND = 6


EXIT_CODES_HELP = """\b
Exit codes:
  0  done; for verify: a verified release
  1  something unexpected went wrong
  2  the command was used wrongly, or its state folder is missing
  3  refused by policy; every reason is listed
  4  a media file can't be used
  5  verification failed: credentials stripped or broken, or likely synthetic
  6  can't tell, or nothing found
"""


EXITS = {
    "policy.Refused": Exit.REFUSED,
    "policy.ReleaseError": Exit.UNEXPECTED,
    "policy.GrantError": Exit.UNEXPECTED,
    "policy.TokenError": Exit.VERIFICATION_FAILED,
    "policy.SealError": Exit.VERIFICATION_FAILED,
    "policy.PolicyError": Exit.USAGE,
    "provenance.CertificateError": Exit.VERIFICATION_FAILED,
    "provenance.ProofError": Exit.VERIFICATION_FAILED,
    "provenance.KeySourceError": Exit.USAGE,
    "media.MediaError": Exit.BAD_MEDIA,
}
"""The other packages' errors by name, most derived first, so that no command imports what it does not use."""


class CommandError(Exception):
    """A command can't do what it was asked; the message says what to do about it."""

    def __init__(self, message: str, code: Exit = Exit.USAGE) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Session:
    """What every command gets: its state folder and its way of speaking."""

    state: Path
    as_json: bool = False
    debug: bool = False

    def result(self, data: Mapping[str, Any], lines: Iterable[str] = ()) -> None:
        """The command's answer: `data` as one JSON document, or `lines` for people, on stdout."""
        if self.as_json:
            click.echo(json.dumps(data, allow_nan=False))  # in ASCII: no stranger's text steers a terminal
            return
        for line in lines:
            click.echo(line, color=False if no_color() else None)

    def note(self, message: str) -> None:
        """Something a person wants to know meanwhile, on stderr."""
        click.echo(message, err=True, color=False if no_color() else None)


def no_color() -> bool:
    """Whether the user asked for plain text (https://no-color.org)."""
    return bool(os.environ.get("NO_COLOR"))


def styled(text: str, **style: Any) -> str:
    """`text` in a terminal style; click drops it where no terminal listens."""
    return text if no_color() else click.style(text, **style)


def table(rows: Iterable[tuple[str, object]]) -> list[str]:
    """Name and value, aligned; rows without a value are left out."""
    kept = [(name, printable(value, LONGEST_MESSAGE)) for name, value in rows if value not in (None, "")]
    width = max((len(name) for name, _ in kept), default=0)
    return [f"  {styled(name.ljust(width), dim=True)}  {value}" for name, value in kept]


def moment(seconds: float) -> str:
    """Seconds since 1970 as `2026-11-22 08:30 UTC`."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


@contextmanager
def progress(description: str, *, total: int | None = None, unit: str = "it") -> Iterator["tqdm[NoReturn]"]:
    """A progress bar on stderr when a terminal listens, silence in a pipe."""
    with tqdm(
        total=total, desc=description, unit=unit, leave=False, dynamic_ncols=True, disable=not sys.stderr.isatty()
    ) as bar:
        yield bar


def with_session(command: Callable[..., None]) -> Callable[..., None]:
    """Give `command` a `Session` from the options every command shares, and its errors an exit code."""

    @click.option(
        "--state",
        type=click.Path(path_type=Path, file_okay=False),
        envvar="VASARI_STATE",
        default=DEFAULT_STATE,
        show_default=True,
        show_envvar=True,
        help="Folder of the local authority.",
    )
    @click.option("--json", "as_json", is_flag=True, help="Answer in JSON on stdout.")
    @click.option("--debug", is_flag=True, help="Show the traceback of an error.")
    @functools.wraps(command)
    def run(*, state: Path, as_json: bool, debug: bool, **options: Any) -> None:
        session = Session(state=state.expanduser(), as_json=as_json, debug=debug)
        try:
            command(session, **options)
        except (click.ClickException, click.exceptions.Exit, click.Abort, KeyboardInterrupt):
            raise
        except BrokenPipeError:
            sys.stderr.close()  # the reader left; there is nobody to tell
            raise SystemExit(Exit.OK) from None
        except Exception as error:
            raise SystemExit(_report(session, error)) from error

    return run


def _report(session: Session, error: Exception) -> int:
    if session.debug:
        traceback.print_exception(error, file=sys.stderr)
    code = _exit_code(error)
    denials = getattr(getattr(error, "decision", None), "denials", None)
    if denials is not None:
        _report_refusal(session, error)
        return code
    message = _one_line(error)
    if code == Exit.UNEXPECTED and not session.debug:
        message += " (--debug shows where)"
    session.note(f"{styled('error', fg='red', bold=True)}: {message}")
    if session.as_json:
        session.result({"error": {"exit_code": int(code), "kind": type(error).__name__, "message": _one_line(error)}})
    return code


def _report_refusal(session: Session, error: Exception) -> None:
    decision = error.decision  # type: ignore[attr-defined]
    reasons = [{"rule": d.rule_id, "fact": d.fact, "remedy": d.remedy} for d in decision.denials]
    count = "1 reason" if len(reasons) == 1 else f"{len(reasons)} reasons"
    session.note(f"{styled('refused', fg='red', bold=True)} for {count}:")
    for reason in reasons:
        session.note(f"\n  {styled(printable(reason['rule']), bold=True)}")
        session.note(f"    fact    {printable(reason['fact'], LONGEST_MESSAGE)}")
        session.note(f"    remedy  {printable(reason['remedy'], LONGEST_MESSAGE)}")
    if decision.way_out:
        session.note(
            "\nWith these changes it would be allowed:" if decision.way_out_sufficient else "\nWhat would help:"
        )
        for change in decision.way_out:
            session.note(f"  {change.who}: {printable(change.what, LONGEST_MESSAGE)}")
    if decision.appeal:
        session.note(f"\nAppeal: {printable(decision.appeal, LONGEST_MESSAGE)}")
    session.note(f"\nDecision {decision.decision_id} is entry {decision.log_index} of the transparency log.")
    if session.as_json:
        session.result(
            {
                "refused": True,
                "denials": reasons,
                "way_out": [{"who": change.who, "what": change.what} for change in decision.way_out],
                "way_out_sufficient": decision.way_out_sufficient,
                "appeal": decision.appeal,
                "decision": decision.decision_id,
                "log_index": decision.log_index,
            }
        )


def _exit_code(error: Exception) -> Exit:
    if isinstance(error, CommandError):
        return error.code
    names = (f"{kind.__module__.partition('.')[0]}.{kind.__name__}" for kind in type(error).__mro__)
    return next((EXITS[name] for name in names if name in EXITS), Exit.UNEXPECTED)


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return printable(f"{error.filename}: {error.strerror}", LONGEST_MESSAGE)
    return printable(" ".join(str(error).split()), LONGEST_MESSAGE) or type(error).__name__
