"""`vasari key`: what it shows and changes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from policy import Authority
from tests.policy.conftest import START, state_as_made
from vasari.cli import cli


def run(state: Path, *arguments: str) -> tuple[int, dict[str, object]]:
    done = CliRunner().invoke(cli, ["key", *arguments, "--state", str(state), "--json"])
    return done.exit_code, json.loads(done.stdout)


def made(folder: Path) -> Path:

    shutil.copytree(state_as_made(START), folder / "state")
    return folder / "state"


def test_keys_rotate_and_revoke_by_command(tmp_path: Path) -> None:
    state = made(tmp_path)
    before = run(state, "show")[1]["keys"]
    assert isinstance(before, list)
    old = next(row["kid"] for row in before if row["role"] == "registry")
    assert run(state, "revoke", "registry", old)[0] == 2  # the active one
    assert run(state, "rotate", "registry")[0] == 0
    assert run(state, "revoke", "registry", old)[0] == 0
    after = run(state, "show")[1]["keys"]
    assert isinstance(after, list)
    row = next(row for row in after if row["role"] == "registry")
    assert row["kid"] != old
    assert [(one["kid"], one["revoked_at"] is not None) for one in row["retired"]] == [(old, True)]


@pytest.mark.parametrize(
    "command",
    [
        ["key", "revoke", "registry"],
        ["key", "believe", "registry"],
        ["consent", "lost"],
        ["broker", "believe", "--folder", "nowhere"],
    ],
    ids=" ".join,
)
def test_a_key_that_begins_with_a_dash_is_no_option(command: list[str], tmp_path: Path) -> None:
    key = "-" + "Zk3" * 14
    done = CliRunner().invoke(cli, [*command, key, "--state", str(made(tmp_path))])
    assert done.exit_code == 2
    assert "No such option" not in done.stderr
    told = CliRunner().invoke(cli, [*command, "x" + key[1:], "--state", str(tmp_path / "state")])
    assert done.stderr == told.stderr.replace("x" + key[1:], key)


def test_passphrase_comes_from_a_file_that_others_cannot_read(tmp_path: Path) -> None:
    state, passphrase = made(tmp_path), tmp_path / "passphrase"
    passphrase.write_text("correct horse battery staple\n")
    passphrase.chmod(0o644)
    assert run(state, "protect", "gate", "--passphrase-file", str(passphrase))[0] == 2
    passphrase.chmod(0o600)
    assert run(state, "protect", "gate", "--passphrase-file", str(passphrase))[0] == 0
    Authority.open(state).close()
