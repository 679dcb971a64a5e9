"""How commands speak and how they end."""

import json
import os
import pty
import subprocess
import sys
import termios
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from media import MediaError
from policy import Decision, Denial, Refused
from vasari.cli.session import CommandError, Exit, Session, progress, styled, table, with_session

DENIALS = (
    Denial("consent.expired", "The consent ended on 2026-11-01.", "Ask for a new one."),
    Denial("audio.too_long", "The recording lasts 31 s, allowed are 30 s.", "Shorten it."),
)


def run(error: Exception | None, *arguments: str) -> Result:
    """A command that raises `error`, or answers."""

    @click.command()
    @with_session
    def command(session: Session) -> None:
        session.note("meanwhile")
        if error is not None:
            raise error
        session.result({"answer": 42}, ["forty-two"])

    return CliRunner().invoke(command, list(arguments))


def refusal() -> Refused:
    """A refusal for two reasons."""
    return Refused(Decision("d1", False, DENIALS, 1, b"", "00" * 32, 7))


def test_strangers_text_in_an_answer_steers_no_terminal() -> None:
    title = "\x1b[2J \x9b2J gpj.\u202e4pm"

    @click.command()
    @with_session
    def command(session: Session) -> None:
        session.result({"title": title}, table([("title", title)]))

    lines, as_json = (CliRunner().invoke(command, options).stdout for options in ([], ["--json"]))
    assert not {"\x1b", "\x9b", "\u202e"} & set(lines + as_json)
    assert json.loads(as_json) == {"title": title}


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (CommandError("no such thing"), Exit.USAGE),
        (CommandError("broken", Exit.VERIFICATION_FAILED), Exit.VERIFICATION_FAILED),
        (refusal(), Exit.REFUSED),
        (MediaError("a.wav", expected="sound", came="it is empty", remedy="Record again."), Exit.BAD_MEDIA),
        (ValueError("who knows"), Exit.UNEXPECTED),
        (PermissionError(13, "Permission denied", "x.mp4"), Exit.UNEXPECTED),
    ],
)
def test_each_kind_of_error_has_its_exit_code_and_one_line(error: Exception, code: Exit) -> None:
    result = run(error)
    assert result.exit_code == code
    assert "Traceback" not in result.stderr
    assert result.stdout == ""
    if code != Exit.REFUSED:
        assert result.stderr.startswith("meanwhile\nerror: ")
        assert len(result.stderr.splitlines()) == 2


def test_debug_shows_the_traceback() -> None:
    assert "Traceback" in run(ValueError("who knows"), "--debug").stderr


def test_a_refusal_lists_every_reason_with_fact_and_remedy() -> None:
    told = run(refusal()).stderr
    for denial in DENIALS:
        assert denial.rule_id in told
        assert denial.fact in told
        assert denial.remedy in told
    assert "entry 7" in told


def test_strangers_text_in_reasons_and_errors_cannot_steer_the_terminal() -> None:
    hostile = "member \x1b]0;owned\x07\u202e is unknown"
    denial = Denial("consent.bad_claims", hostile, "Ask.")
    for error in (Refused(Decision("d1", False, (denial,), 1, b"", "00" * 32, 7)), CommandError(hostile)):
        told = run(error).stderr
        assert "is unknown" in told
        assert not {"\x1b", "\x07", "\u202e"} & set(told)


def test_a_refusal_in_json_is_one_document_on_stdout() -> None:
    result = run(refusal(), "--json")
    answer = json.loads(result.stdout)
    assert [reason["rule"] for reason in answer["denials"]] == ["consent.expired", "audio.too_long"]
    assert answer["log_index"] == 7


def test_json_answers_and_errors_are_alone_on_stdout() -> None:
    assert json.loads(run(None, "--json").stdout) == {"answer": 42}
    assert json.loads(run(CommandError("no"), "--json").stdout)["error"]["exit_code"] == 2
    assert run(None).stdout == "forty-two\n"


def test_the_state_folder_comes_from_option_environment_or_default(tmp_path: Path) -> None:
    @click.command()
    @with_session
    def command(session: Session) -> None:
        session.result({}, [str(session.state)])

    runner = CliRunner()
    environment = {"VASARI_STATE": str(tmp_path / "from-environment")}
    assert runner.invoke(command, ["--state", "elsewhere"], env=environment).stdout == "elsewhere\n"
    assert runner.invoke(command, [], env=environment).stdout.strip().endswith("from-environment")
    assert runner.invoke(command, [], env={"HOME": "/home/x"}).stdout == "/home/x/.local/share/vasari\n"


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert styled("x", fg="red") != "x"
    monkeypatch.setenv("NO_COLOR", "1")
    assert styled("x", fg="red") == "x"


BAR = "from vasari.cli.session import progress\nwith progress('working', total=3) as bar:\n    bar.update(3)\n"


def test_a_progress_bar_shows_on_a_terminal_and_not_in_a_pipe() -> None:
    in_a_pipe = subprocess.run([sys.executable, "-c", BAR], capture_output=True, check=True)
    assert in_a_pipe.stderr == b""
    try:
        terminal, end = pty.openpty()
    except OSError as error:
        pytest.skip(f"no terminal to be had here: {error}")
    termios.tcsetwinsize(end, (24, 80))
    os.set_blocking(terminal, False)
    try:
        subprocess.run([sys.executable, "-c", BAR], stderr=end, check=True)
        assert b"working" in os.read(terminal, 4096)
    finally:
        os.close(end)
        os.close(terminal)


def test_progress_counts_silently_without_a_terminal() -> None:
    with progress("working", total=2) as bar:
        bar.update(2)
    assert bar.disable
