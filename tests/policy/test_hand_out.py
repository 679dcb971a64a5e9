"""A clip appears whole or not at all, with and without anonymous files."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path

import pytest

from policy.errors import OutputError
from policy.hand_out import HandOut


@pytest.fixture(params=["anonymous files", "named files"])
def folder(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, on a system with O_TMPFILE and on one without."""
    if request.param == "named files":
        monkeypatch.delattr(os, "O_TMPFILE")
    return tmp_path


def test_preparing_leaves_nothing(folder: Path) -> None:
    HandOut.prepare(folder / "clip.mp4", overwrite=False)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_published_clip_is_whole_private_and_alone(folder: Path, overwrite: bool) -> None:
    hand_out = HandOut.prepare(folder / "clip.mp4", overwrite=overwrite)
    hand_out.publish(io.BytesIO(b"clip" * 1000))
    assert list(folder.iterdir()) == [folder / "clip.mp4"]
    assert (folder / "clip.mp4").read_bytes() == b"clip" * 1000
    assert stat.S_IMODE((folder / "clip.mp4").stat().st_mode) == 0o600


def test_a_file_that_came_meanwhile_stays(folder: Path) -> None:
    hand_out = HandOut.prepare(folder / "clip.mp4", overwrite=False)
    (folder / "clip.mp4").write_bytes(b"theirs")
    with pytest.raises(OutputError, match="appeared"):
        hand_out.publish(io.BytesIO(b"ours"))
    hand_out.retract()
    assert list(folder.iterdir()) == [folder / "clip.mp4"]
    assert (folder / "clip.mp4").read_bytes() == b"theirs"


def test_a_link_is_not_followed(folder: Path) -> None:
    (folder / "clip.mp4").symlink_to(folder / "elsewhere")
    with pytest.raises(OutputError, match="already"):
        HandOut.prepare(folder / "clip.mp4", overwrite=False)
    HandOut.prepare(folder / "clip.mp4", overwrite=True).publish(io.BytesIO(b"clip"))
    assert not (folder / "elsewhere").exists()
    assert not (folder / "clip.mp4").is_symlink()


class Breaks(io.BytesIO):
    """A clip that can be read half."""

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell():
            raise OSError(5, "Input/output error")
        return super().read(4)


def test_a_copy_that_breaks_leaves_nothing_and_the_older_file_stays(folder: Path) -> None:
    (folder / "clip.mp4").write_bytes(b"older")
    hand_out = HandOut.prepare(folder / "clip.mp4", overwrite=True)
    with pytest.raises(OSError, match="Input/output"):
        hand_out.publish(Breaks(b"clip" * 10))
    hand_out.retract()
    assert list(folder.iterdir()) == [folder / "clip.mp4"]
    assert (folder / "clip.mp4").read_bytes() == b"older"


def test_a_published_clip_can_be_taken_back(folder: Path) -> None:
    hand_out = HandOut.prepare(folder / "clip.mp4", overwrite=False)
    hand_out.publish(io.BytesIO(b"clip"))
    hand_out.retract()
    assert list(folder.iterdir()) == []
