"""A local authority made by the commands themselves, and one clip released through it."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from vasari.cli import cli
from vasari.cli.demo import PORTRAIT, VOICE, shorten_voice


@dataclass(frozen=True)
class Lab:
    """An authority's state folder, and the files that a researcher got."""

    folder: Path

    @property
    def state(self) -> Path:
        """The authority."""
        return self.folder / "state"

    def run(self, *arguments: object) -> Result:
        """One command, as the console script would run it."""
        words = [str(argument) for argument in arguments]
        return CliRunner(env={"VASARI_STATE": str(self.state)}).invoke(cli, words, catch_exceptions=False)

    def json(self, *arguments: object) -> Any:
        """The command's JSON answer; fails when stdout holds anything else."""
        return json.loads(self.run(*arguments, "--json").stdout)

    def issue(self, name: str, *options: object) -> Path:
        """A consent for the demo portrait, on terms that `options` add to."""
        out = self.folder / name
        result = self.run(
            "consent", "issue", "--subject", "Nobody", "--subject-key", self.folder / "subject.device", "--adult",
            "--portrait", PORTRAIT, "--grantee", self.folder / "key.pem",
            "--purpose", "demonstration", "--out", out, *options,
        )  # fmt: skip
        assert result.exit_code == 0, result.stderr
        return out

    def generate(self, out: Path, consent: Path, *options: object) -> Result:
        """Ask for a clip."""
        return self.run(
            "generate", "--portrait", PORTRAIT, "--audio", self.folder / "voice.wav", "--consent", consent,
            "--accreditation", self.folder / "accreditation.jwt", "--key", self.folder / "key.pem", "--out", out,
            *options,
        )  # fmt: skip


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """A fresh authority with one accredited researcher and 2.4 s of voice."""
    made = Lab(tmp_path_factory.mktemp("lab"))
    assert made.run("init", "--organisation", "Example Lab").exit_code == 0
    accredited = made.run(
        "accredit", "--name", "Example researcher", "--key", made.folder / "key.pem",
        "--out", made.folder / "accreditation.jwt",
    )  # fmt: skip
    assert accredited.exit_code == 0, accredited.stderr
    enrolled = made.run("consent", "enrol", "--subject", "Nobody", "--subject-key", made.folder / "subject.device")
    assert enrolled.exit_code == 0, enrolled.stderr
    shorten_voice(VOICE, made.folder / "voice.wav", 2.4)
    return made


@pytest.fixture(scope="session")
def release(lab: Lab) -> Path:
    """A released clip; its consent is `release.jwt`, its receipt `receipt.json`."""
    clip = lab.folder / "clip.mp4"
    result = lab.generate(clip, lab.issue("release.jwt"), "--receipt", lab.folder / "receipt.json")
    assert result.exit_code == 0, result.stderr
    return clip


@pytest.fixture(scope="session")
def altered(release: Path) -> Callable[[str], Path]:
    """The released clip after `stripping` its metadata, `tampering` with one bit, or cutting it `short`."""
    from vasari.strip import strip_metadata

    def alter(how: str) -> Path:
        out = release.with_name(f"{how}.mp4")
        content = bytearray(release.read_bytes())
        if how == "stripped":
            strip_metadata(release, out)
            return out
        if how == "tampered":
            content[content.rindex(b"mdat") + 4000] ^= 1
        elif how == "renamed":  # a changed picture-independent byte: the file name inside the handler box
            at = content.index(b"hdlr") + 24
            content[at] ^= 1
        out.write_bytes(content)
        return out

    return alter
