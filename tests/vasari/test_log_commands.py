"""The log by command: exported, served as tiles, cosigned, and verified with nothing but files."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.vasari.conftest import Lab
from vasari.cli.session import Exit

SCRIPT = Path(__file__).resolve().parents[2] / "docs" / "outsider" / "check_log.py"


@pytest.fixture(scope="module")
def laboratory(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    made = Lab(tmp_path_factory.mktemp("lab"))
    assert made.run("init", "--organisation", "Example Lab").exit_code == 0
    return made


def grow(laboratory: Lab, name: str) -> None:
    done = laboratory.run(
        "accredit", "--name", name, "--key", laboratory.folder / f"{name}.pem",
        "--out", laboratory.folder / f"{name}.jwt",
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr


def test_a_log_is_verified_with_nothing_but_files(laboratory: Lab, tmp_path: Path) -> None:
    key, cosign = laboratory.state / "public" / "log.vkey", tmp_path / "new.checkpoint"
    grow(laboratory, "first")
    shown = laboratory.json("log", "show", "--checkpoint-out", tmp_path / "old.checkpoint")
    assert (tmp_path / "old.checkpoint").read_text(encoding="utf-8") == shown["checkpoint"]
    grow(laboratory, "second")
    stranger = Lab(tmp_path / "nobody")
    assert laboratory.run("log", "export", "--out", tmp_path / "log.jsonl").exit_code == 0
    assert laboratory.run("log", "tiles", "--out", tmp_path / "tiles").exit_code == 0
    for source in (tmp_path / "log.jsonl", tmp_path / "tiles"):
        found = stranger.json("log", "verify", source, "--key", key, "--since", tmp_path / "old.checkpoint")
        assert found["holds"] is True
        assert 0 < found["extends"] < found["entries"]
        kept = stranger.json("log", "verify", source, "--key", key, "--keep", tmp_path / "kept.checkpoint")[
            "checkpoint"
        ]
        assert stranger.json("log", "verify", source, "--key", key, "--since", tmp_path / "kept.checkpoint")["extends"]
        assert (tmp_path / "kept.checkpoint").read_text(encoding="utf-8") == kept

    witness = (
        "--log-key",
        key,
        "--name",
        "w.example.org",
        "--witness-key",
        tmp_path / "w.pem",
        "--memory",
        tmp_path / "w.db",
    )
    assert laboratory.run("log", "request", "--out", tmp_path / "request").exit_code == 0
    made = stranger.json("log", "cosign", tmp_path / "request", *witness, "--out", cosign)
    assert made["witness_key"] == str(tmp_path / "w.vkey")
    without = stranger.run("log", "verify", tmp_path / "tiles", "--key", key, "--witness", tmp_path / "w.vkey")
    assert (without.exit_code, "not cosigned" in without.stderr) == (Exit.VERIFICATION_FAILED, True)
    grow(laboratory, "meanwhile")
    for command, out in (("export", tmp_path / "cosigned.jsonl"), ("tiles", tmp_path / "cosigned")):
        assert laboratory.run("log", command, "--out", out, "--checkpoint", cosign).exit_code == 0
        found = stranger.json("log", "verify", out, "--key", key, "--witness", tmp_path / "w.vkey")
        assert list(found["witnesses"]) == ["w.example.org"]
    foreign = laboratory.run("log", "export", "--out", tmp_path / "no.jsonl", "--checkpoint", tmp_path / "request")
    assert (foreign.exit_code, "request" in foreign.stderr) == (Exit.VERIFICATION_FAILED, True)
    assert not (tmp_path / "no.jsonl").exists()
    broken = stranger.run("log", "verify", tmp_path / "log.jsonl", "--key", key, "--since", tmp_path / "request")
    assert "request: this is no checkpoint of the log" in broken.stderr
    again = stranger.run("log", "cosign", tmp_path / "request", *witness, "--out", cosign)
    assert (again.exit_code, "saw" in again.stderr) == (Exit.VERIFICATION_FAILED, True)


def test_a_rewritten_log_fails_by_command_and_by_script(laboratory: Lab, tmp_path: Path) -> None:
    key = laboratory.state / "public" / "log.vkey"
    grow(laboratory, "third")
    laboratory.run("log", "export", "--out", tmp_path / "log.jsonl")
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    record = json.loads(lines[1])
    lines[1] = json.dumps(record | {"entry": "AAAA"})
    (tmp_path / "forged.jsonl").write_text("\n".join(lines) + "\n")
    result = laboratory.run("log", "verify", tmp_path / "forged.jsonl", "--key", key)
    assert result.exit_code == Exit.VERIFICATION_FAILED
    for name, code in (("log.jsonl", 0), ("forged.jsonl", 1)):
        command = [sys.executable, "-I", "-S", str(SCRIPT), "export", "--key", str(key), str(tmp_path / name)]
        assert subprocess.run(command, capture_output=True, check=False).returncode == code
