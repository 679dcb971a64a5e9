"""What `vasari scan` promises; nothing here generates a clip."""

import json
import os
from pathlib import Path

from tests.vasari.conftest import Lab
from vasari.cli.session import Exit


def test_a_scan_of_nothing_finds_nothing(lab: Lab, tmp_path: Path) -> None:
    assert lab.run("scan", tmp_path).exit_code == Exit.NOTHING_FOUND


def test_a_file_whose_name_is_no_text_ends_no_scan(lab: Lab, tmp_path: Path) -> None:
    for name in (b"a\xff.mp4", b"b\x1b.mp4"):
        (tmp_path / os.fsdecode(name)).write_bytes(b"no clip")
    found = lab.run("scan", tmp_path, "--jsonl", tmp_path / "scan.jsonl", "--html", tmp_path / "scan.html")
    assert found.exit_code == Exit.BAD_MEDIA
    rows = [json.loads(line) for line in (tmp_path / "scan.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [Path(row["path"]).name for row in rows] == ["a\udcff.mp4", "b\x1b.mp4"]


def test_a_scan_says_what_it_leaves_alone(lab: Lab, tmp_path: Path) -> None:
    for name in ("still.png", "voice.wav", "notes.txt"):
        (tmp_path / name).write_bytes(b"never opened")
    nothing = lab.run("scan", tmp_path)
    assert nothing.exit_code == Exit.NOTHING_FOUND
    assert "2 recordings and stills were left alone: vasari mark detect" in nothing.stderr
    (tmp_path / "bad.mp4").write_bytes(b"no clip")
    assert "2 recordings and stills were left alone" in lab.run("scan", tmp_path).stderr


def test_a_scan_names_unusable_places_before_it_looks_at_a_clip(lab: Lab, tmp_path: Path) -> None:
    clip, page = tmp_path / "clip.mp4", tmp_path / "page.html"
    clip.write_bytes(b"no clip, and not read")
    for options in (
        ("--html", "/dev/null/page.html"), ("--jsonl", "/dev/null/lines.jsonl"),
        ("--html", clip), ("--jsonl", clip), ("--html", page, "--jsonl", page),
    ):  # fmt: skip
        result = lab.run("scan", clip, *options)
        assert result.exit_code == Exit.USAGE, options
        assert str(options[-1]) in result.stderr
        assert result.stdout == ""
    assert clip.read_bytes() == b"no clip, and not read"
    assert not page.exists()
