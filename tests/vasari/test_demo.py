"""The demo makes everything it promises, twice if asked, and never touches what is not its own."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from vasari.cli import cli
from vasari.cli.demo import prepare_folder
from vasari.cli.session import CommandError, Exit


def test_a_folder_the_demo_did_not_make_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("three years of work")
    with pytest.raises(CommandError, match="not made by the demo"):
        prepare_folder(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "three years of work"


def test_an_earlier_demo_is_replaced(tmp_path: Path) -> None:
    prepare_folder(tmp_path)
    (tmp_path / "clip.mp4").write_text("old")
    prepare_folder(tmp_path)
    assert not (tmp_path / "clip.mp4").exists()


@pytest.mark.slow
def test_the_demo_ends_with_a_verified_clip_a_known_copy_and_reports(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    result = CliRunner().invoke(cli, ["demo", "--out", str(out), "--seconds", "2", "--json"])
    assert result.exit_code == Exit.OK, result.stderr
    answer = json.loads(result.stdout)
    assert answer["verdicts"] == {
        "clip": "verified_release",
        "stripped_copy": "known_generator_credentials_stripped",
    }
    assert answer["engines"] == {"c2pa-python": "verified", "encypher-c2pa": "verified"}
    assert all(Path(path).stat().st_size > 0 for path in answer["paths"].values())
    report = Path(answer["paths"]["report"]).read_text()
    assert "data:video/mp4;base64," in report
    assert "Known generator, credentials stripped" in report
    assert len(Path(answer["paths"]["scan_lines"]).read_text().splitlines()) == 2
