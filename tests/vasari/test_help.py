"""Help that a newcomer can work from."""

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

import policy
from vasari import __version__
from vasari.cli import cli
from vasari.cli.control_options import EMOTIONS
from vasari.cli.purposes import PURPOSE_IDS
from vasari.cli.session import Exit


def commands(group: click.Group, *names: str) -> dict[tuple[str, ...], click.Command]:
    """All commands below `group` by their words."""
    found: dict[tuple[str, ...], click.Command] = {}
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            found |= commands(command, *names, name)
        if not isinstance(command, click.Group) or command.invoke_without_command:
            found[*names, name] = command
    return found


ALL = commands(cli)


def test_every_command_of_the_charter_is_there() -> None:
    assert {" ".join(words) for words in ALL} == {
        "init", "accredit", "generate", "verify", "scan", "seal", "demo", "serve",
        "client add", "client remove", "report check",
        "accredit withdraw", "accredit suspend", "accredit reinstate",
        "consent enrol", "consent lost", "consent issue", "consent propose", "consent accept", "consent delegate",
        "consent show", "consent withdraw", "consent suspend", "consent reinstate", "consent uses", "consent record",
        "consent erase",
        "policy explain", "policy test",
        "log show", "log prove", "log check", "log export", "log verify", "log tiles", "log request", "log cosign",
        "mark detect", "mark keys list", "mark keys rotate",
        "key show", "key protect", "key move", "key rotate", "key revoke", "key believe",
        "worker split", "broker split", "broker serve", "broker believe", "broker certificate", "broker pin",
        "registry serve", "registry split", "registry subscribe",
        "pki show", "pki lint", "pki csr", "pki install", "pki rotate", "pki revoke", "pki publish",
    }  # fmt: skip


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_each_command_has_help_with_an_example_and_the_shared_options(words: tuple[str, ...]) -> None:
    result = CliRunner().invoke(cli, [*words, "--help"])
    assert result.exit_code == 0
    assert f"Example:\n    vasari {' '.join(words)}" in result.stdout
    for option in ("--json", "--state", "--debug"):
        assert option in result.stdout


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_every_option_says_what_it_is(words: tuple[str, ...]) -> None:
    assert all(option.help for option in ALL[words].params if isinstance(option, click.Option))


def test_exit_codes_are_in_the_help() -> None:
    told = CliRunner().invoke(cli, ["--help"]).stdout
    assert all(f"\n    {code.value}  " in told for code in Exit)


def test_wrong_use_ends_with_two() -> None:
    assert CliRunner().invoke(cli, ["verify", "no-such-file.mp4"]).exit_code == Exit.USAGE
    assert CliRunner().invoke(cli, ["generate"]).exit_code == Exit.USAGE


def test_the_version_can_be_asked() -> None:
    assert __version__ in CliRunner().invoke(cli, ["--version"]).stdout


def test_help_needs_none_of_the_heavy_libraries() -> None:
    code = "import sys, vasari.cli; print(any(name in sys.modules for name in ('torch', 'av', 'c2pa', 'pydantic')))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout == "False\n"


def test_the_vocabularies_are_those_of_the_policy() -> None:
    assert tuple(policy.PURPOSES) == PURPOSE_IDS
    assert policy.EMOTIONS == EMOTIONS
