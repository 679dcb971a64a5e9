"""`vasari mark`: every file gets a state of its own and never a guess; keys rotate without losing older clips."""

import json
import shutil
from fractions import Fraction
from math import log10
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from benchmarks.watermark_clips import speech, talking_head
from media import ClipWriter
from policy import Authority
from tests.vasari.conftest import Lab
from vasari.cli.session import Exit
from vasari.cli.verify import mark_text
from watermark import AudioEmbedder, Detection, MarkKey, Payload, VideoEmbedder
from watermark.detection import MOST_ATTEMPTS

FPS = Fraction(25)
RATE = 48_000
RELEASE = Payload(0x0BAD_CAFE_0123_4567)
OTHER_RELEASE = Payload(0xF35A_1D06_98BC_E2A1)  # ids are drawn at random, so two have little in common


def write(path: Path, frames: Tensor, sound: Tensor | None) -> Path:
    height, width = frames.shape[2:]
    with ClipWriter(path, width=width, height=height, fps=FPS, sample_rate=RATE if sound is not None else None) as clip:
        clip.write_frames(frames)
        if sound is not None:
            clip.write_audio(sound)
    return path


def marked_frames(frames: Tensor, key: MarkKey, release: Payload = RELEASE) -> Tensor:
    height, width = frames.shape[2:]
    return VideoEmbedder(key, release, width=width, height=height, fps=FPS).push(frames)


def marked_sound(sound: Tensor, key: MarkKey, release: Payload = RELEASE) -> Tensor:
    embedder = AudioEmbedder(key, release, sample_rate=RATE)
    return torch.cat([embedder.push(sound), embedder.flush()])


@pytest.fixture(scope="module")
def marks(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """An authority, and files in `files/`: marked and unmarked, whole and damaged."""
    made = Lab(tmp_path_factory.mktemp("marks"))
    assert made.run("init", "--organisation", "Example Lab").exit_code == 0
    with Authority.open(made.state) as authority:
        key = authority.mark_key
    files = made.folder / "files"
    files.mkdir()
    frames, sound = talking_head(80, side=256, seed=4), speech(5.0, sample_rate=RATE, seed=1)
    head = marked_frames(frames, key)
    write(files / "marked.mp4", head, marked_sound(sound, key))
    write(made.folder / "dubbed.mp4", head, marked_sound(sound, key, OTHER_RELEASE))
    write(files / "plain.mp4", frames, None)
    write(files / "short.mp4", frames[:12], None)
    write(files / "small.mp4", frames[:, :, 100:148, 100:148], None)
    whole = (files / "plain.mp4").read_bytes()
    (files / "cut.mp4").write_bytes(whole[: len(whole) * 2 // 3])
    (files / "text.mp4").write_text("no clip")
    Image.fromarray(head[30].permute(1, 2, 0).numpy()).save(files / "frame.png")
    Image.fromarray(frames[30].permute(1, 2, 0).numpy()).save(files / "plain.webp")
    return made


@pytest.mark.parametrize(
    ("name", "kind", "picture", "sound", "code"),
    [
        ("marked.mp4", "video", "found", "found", Exit.OK),
        ("plain.mp4", "video", "none", "no_audio", Exit.NOTHING_FOUND),
        ("short.mp4", "video", "too_short", "no_audio", Exit.NOTHING_FOUND),
        ("small.mp4", "video", "too_small", "no_audio", Exit.NOTHING_FOUND),
        ("cut.mp4", "video", "corrupt", "no_audio", Exit.BAD_MEDIA),
        ("text.mp4", "unreadable", "corrupt", "corrupt", Exit.BAD_MEDIA),
        ("frame.png", "still", "found", "no_audio", Exit.OK),
        ("plain.webp", "still", "none", "no_audio", Exit.NOTHING_FOUND),
    ],
)
def test_each_file_has_a_state_of_its_own(
    marks: Lab, name: str, kind: str, picture: str, sound: str, code: Exit
) -> None:
    result = marks.run("mark", "detect", marks.folder / "files" / name, "--json")
    row = json.loads(result.stdout)
    assert (row["kind"], row["picture"]["state"], row["sound"]["state"]) == (kind, picture, sound)
    assert result.exit_code == code
    for reading in (row["picture"], row["sound"]):
        assert ("manifest_id" in reading) == (reading["state"] == "found")
        assert reading["explanation"] or reading["state"] in ("found", "none")


def test_a_file_that_is_none_is_told_once_and_not_for_picture_and_sound(marks: Lab) -> None:
    lines = marks.run("mark", "detect", marks.folder / "files" / "text.mp4").stdout.splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [["file", "corrupt"]]


def test_what_is_found_comes_with_release_key_and_proven_bound(marks: Lab) -> None:
    row = marks.json("mark", "detect", marks.folder / "files" / "marked.mp4")
    key_id = marks.json("mark", "keys", "list")["keys"][0]["key_id"]
    for reading in (row["picture"], row["sound"]):
        assert reading["manifest_id"] == f"{RELEASE.manifest_id:016x}"
        assert reading["key_id"] == key_id
        assert reading["log10_false_positive"] <= -9


def test_picture_and_sound_of_different_releases_are_told_apart(marks: Lab) -> None:
    assert marks.json("mark", "detect", marks.folder / "files" / "marked.mp4")["at_odds"] is False
    dubbed = marks.folder / "dubbed.mp4"
    row = marks.json("mark", "detect", dubbed)
    assert row["at_odds"] is True
    assert row["picture"]["manifest_id"] != row["sound"]["manifest_id"]
    assert "different releases" in marks.run("mark", "detect", dubbed).stdout


def test_the_seconds_of_sound_that_carry_the_mark_are_told(marks: Lab) -> None:
    (segment,) = marks.json("mark", "detect", marks.folder / "files" / "marked.mp4")["sound"]["segments"]
    assert (segment["start_s"], segment["end_s"]) == pytest.approx((0, 5), abs=0.5)


def test_the_seconds_that_carry_the_mark_and_the_pose_are_told(marks: Lab, tmp_path: Path) -> None:
    with Authority.open(marks.state) as authority:
        key = authority.mark_key
    plain = talking_head(170, side=256, seed=9)
    mixed = torch.cat([marked_frames(plain[:85], key), plain[85:]]).flip(3)
    picture = marks.json("mark", "detect", write(tmp_path / "cut_together.mp4", mixed, None))["picture"]
    (segment,) = picture["segments"]
    assert segment["start_s"] == pytest.approx(0, abs=0.2)
    assert segment["end_s"] == pytest.approx(3.4, abs=0.35)
    assert picture["pose"]["mirrored"] is True
    assert picture["pose"]["shown"] == pytest.approx(1, abs=0.02)


def test_each_release_of_a_clip_cut_together_is_told_with_its_seconds(marks: Lab, tmp_path: Path) -> None:
    with Authority.open(marks.state) as authority:
        key = authority.mark_key
    plain, voice = talking_head(250, side=256, seed=6), speech(10.0, sample_rate=RATE, seed=2)
    frames = torch.cat([marked_frames(plain[:85], key), plain[85:165], marked_frames(plain[165:], key, OTHER_RELEASE)])
    seconds = [round(at / FPS * RATE) for at in (85, 165)]
    sound = torch.cat(
        [
            marked_sound(voice[: seconds[0]], key),
            voice[seconds[0] : seconds[1]],
            marked_sound(voice[seconds[1] :], key, OTHER_RELEASE),
        ]
    )
    path = write(tmp_path / "two_releases.mp4", frames, sound)
    row = marks.json("mark", "detect", path)
    assert row["at_odds"] is False
    for name, within_s in (("picture", 0.4), ("sound", 0.6)):
        (other,) = row[name]["others"]
        for found, release, span in ((row[name], RELEASE, (0, 3.4)), (other, OTHER_RELEASE, (6.6, 10))):
            assert found["manifest_id"] == f"{release.manifest_id:016x}"
            assert found["log10_false_positive"] <= -9
            (segment,) = found["segments"]
            assert (segment["start_s"], segment["end_s"]) == pytest.approx(span, abs=within_s)
    shown = marks.run("mark", "detect", path).stdout
    assert shown.count(f"and       release {OTHER_RELEASE.manifest_id:016x}") == 2


def test_a_search_that_had_to_stop_is_not_told_as_no_mark() -> None:
    stopped = Detection("video", None, None, log10(MOST_ATTEMPTS) - 48 * log10(2), 4.0, 7200.0)
    assert "before the search ended" in mark_text(stopped)
    assert mark_text(Detection("video", None, None, -12.0, 4.0, 10.0)) == "none found"


def test_nothing_is_said_of_seconds_in_a_still(marks: Lab) -> None:
    for name in ("frame.png", "plain.webp"):
        assert " 0.0 s" not in marks.run("mark", "detect", marks.folder / "files" / name).stdout


def test_a_still_says_how_much_less_its_silence_means(marks: Lab) -> None:
    result = marks.run("mark", "detect", marks.folder / "files" / "plain.webp")
    assert "that nothing is found says little" in result.stdout


def test_a_folder_is_searched_and_bad_files_do_not_stop_it(marks: Lab) -> None:
    result = marks.run("mark", "detect", marks.folder / "files", "--json")
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(rows) == 8
    assert result.exit_code == Exit.BAD_MEDIA
    assert "2 of 8 files carry a mark" in result.stderr


def test_after_a_rotation_new_clips_have_a_new_key_and_old_ones_are_still_read(marks: Lab, tmp_path: Path) -> None:
    lab = Lab(shutil.copytree(marks.folder, tmp_path / "lab"))  # the rotation is nobody else's
    old = lab.json("mark", "keys", "list")["keys"][0]["key_id"]
    rotated = lab.json("mark", "keys", "rotate")
    assert rotated["active"] != old
    assert rotated["retired"][0] == old
    with Authority.open(lab.state) as authority:
        clip = write(tmp_path / "new.mp4", marked_frames(talking_head(80, side=256, seed=6), authority.mark_key), None)
    assert lab.json("mark", "detect", clip)["picture"]["key_id"] == rotated["active"]
    before = lab.run("mark", "detect", lab.folder / "files" / "marked.mp4")
    assert f"key {old}, retired" in before.stdout
    assert lab.run("mark", "detect", clip, "--key-id", old).exit_code == Exit.NOTHING_FOUND
    lab.json("mark", "keys", "rotate", "--new-pilot")
    assert [row["pilot"] for row in lab.json("mark", "keys", "list")["keys"]] == [1, 2, 2]


def test_an_unknown_key_number_and_an_empty_folder_are_told(marks: Lab, tmp_path: Path) -> None:
    clip = marks.folder / "files" / "plain.mp4"
    known = {row["key_id"] for row in marks.json("mark", "keys", "list")["keys"]}
    other = next(number for number in range(4096) if number not in known)
    unknown = marks.run("mark", "detect", clip, "--key-id", other)
    assert unknown.exit_code == Exit.USAGE
    assert f"no mark key {other} here" in unknown.stderr
    assert marks.run("mark", "detect", tmp_path).exit_code == Exit.NOTHING_FOUND


def test_no_command_shows_a_secret(marks: Lab) -> None:
    stored = (marks.state / "keys" / "mark.key").read_bytes()
    for words in (("list",), ("list", "--json")):
        shown = marks.run("mark", "keys", *words).stdout
        for secret in (stored[6:38], stored[38:]):
            assert secret.hex() not in shown
            assert repr(secret) not in shown
