"""Controls from files: what is read, and that each fault is told with file, line and what was expected."""

from pathlib import Path
from typing import Any

import click
import pytest

from policy import CONTROL_RANGES
from policy.control_curves import MAX_KEYS
from vasari.cli import control_files
from vasari.cli.control_files import read_rows
from vasari.cli.control_options import LIMITS, EmotionParam, GazeParam, NumberParam
from vasari.cli.session import CommandError

GAZE = {"yaw_deg": (-30.0, 30.0), "pitch_deg": (-20.0, 20.0)}
HEADER = "time_s,yaw_deg,pitch_deg\n"


def parsed(kind: click.ParamType[Any], text: str) -> Any:
    return kind.convert(text, None, None)


def test_ranges_are_those_of_the_gate() -> None:
    assert LIMITS == CONTROL_RANGES
    assert control_files.MAX_KEYS == MAX_KEYS


def test_a_constant_is_read_as_before() -> None:
    assert parsed(GazeParam(), "10,-5") == (10.0, -5.0)
    assert parsed(EmotionParam(), "happy:0.5") == ("happy", 0.5)
    assert parsed(EmotionParam(), "sad") == ("sad", 1.0)
    assert parsed(NumberParam("distance"), "1.1") == 1.1


def test_csv_and_json_say_the_same(tmp_path: Path) -> None:
    table, listed = tmp_path / "gaze.csv", tmp_path / "gaze.json"
    table.write_text("\ufeff" + HEADER + "0,-10,0\n2.5, 10 ,5\n")
    listed.write_text('[{"time_s": 0, "yaw_deg": -10, "pitch_deg": 0}, {"pitch_deg": 5, "yaw_deg": 10, "time_s": 2.5}]')
    assert parsed(GazeParam(), str(table)) == parsed(GazeParam(), str(listed))
    assert parsed(GazeParam(), str(table)) == (((0.0, -10.0), (2.5, 10.0)), ((0.0, 0.0), (2.5, 5.0)))


def test_emotions_and_numbers_over_time(tmp_path: Path) -> None:
    felt, near = tmp_path / "felt.csv", tmp_path / "near.CSV"
    felt.write_text("time_s,emotion,strength\n0,happy,1\n3,sad,0.5\n")
    near.write_text("distance,time_s\n1.2,0\n0.9,4\n")
    assert parsed(EmotionParam(), str(felt)) == (((0.0, "happy", 1.0), (3.0, "sad", 0.5)), 1.0)
    assert parsed(NumberParam("distance"), str(near)) == ((0.0, 1.2), (4.0, 0.9))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (HEADER + "0,0,0\n1,31,0\n", "line 3: expected yaw_deg to be a number from -30 to 30, but '31' came"),
        (HEADER + "0,nan,0\n", "line 2: expected yaw_deg"),
        (HEADER + "0,,0\n", "line 2: expected yaw_deg"),
        (HEADER + "0,1_0,0\n", "line 2: expected yaw_deg"),
        (HEADER + "0,\u0663,0\n", "line 2: expected yaw_deg"),
        (HEADER + "0,0,inf\n", "line 2: expected pitch_deg"),
        (HEADER + "1,0,0\n1,0,0\n", "line 3: expected a time after 1 s"),
        (HEADER + "2,0,0\n1,0,0\n", "line 3: expected a time after 2 s"),
        (HEADER + "-1,0,0\n", "line 2: expected time_s to be a number from 0"),
        (HEADER + "0,0\n", "line 2: expected 3 values, but 2 came"),
        (HEADER + "0,0,0\n\n1,0,0\n", "line 3: expected 3 values, but the line is empty"),
        (HEADER + '0,0,"0\n', "expected comma-separated values"),
        ("time_s,yaw_deg,pitch_deg,roll_deg\n0,0,0,0\n", "line 1: expected the columns"),
        ("time_s,yaw_deg\n0,0\n", "missing 'pitch_deg'"),
        ("time_s,yaw_deg,pitch_deg,time_s\n0,0,0,0\n", "one came twice"),
        ("0,0,0\n", "line 1: expected the columns time_s, yaw_deg, pitch_deg"),
        (HEADER, "expected at least one row"),
        ("", "line 1"),
        (HEADER + "".join(f"{n},0,0\n" for n in range(MAX_KEYS + 1)), "expected at most 4096 rows"),
    ],
)
def test_a_faulty_table_is_refused_with_its_line(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "gaze.csv"
    path.write_text(text)
    with pytest.raises(CommandError) as error:
        read_rows(path, GAZE)
    assert str(path) in str(error.value)
    assert told in str(error.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{}", "expected a list of objects, but dict came"),
        ("[1]", "entry 1: expected an object"),
        ('[{"time_s": 0, "yaw_deg": 0}]', "entry 1: expected the columns"),
        ('[{"time_s": 0, "yaw_deg": NaN, "pitch_deg": 0}]', "expected finite numbers, but NaN came"),
        ('[{"time_s": 0, "yaw_deg": 0, "yaw_deg": 1, "pitch_deg": 0}]', "each member once"),
        ('[{"time_s": 0, "yaw_deg": true, "pitch_deg": 0}]', "entry 1: expected yaw_deg"),
        ('[{"time_s": 0, "yaw_deg": [], "pitch_deg": 0}]', "entry 1: expected yaw_deg"),
        ('[{"time_s": 0, "yaw_deg": 1e999, "pitch_deg": 0}]', "entry 1: expected yaw_deg"),
        ("[\n,", "line 2: expected JSON"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_faulty_json_is_refused_with_its_entry(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "gaze.json"
    path.write_text(text)
    with pytest.raises(CommandError) as error:
        read_rows(path, GAZE)
    assert told in str(error.value)


def test_an_unknown_emotion_bytes_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "felt.csv"
    path.write_text("time_s,emotion,strength\n0,smug,1\n")
    with pytest.raises(click.BadParameter, match="line 2: expected emotion to be one of neutral"):
        parsed(EmotionParam(), str(path))
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(click.BadParameter, match="UTF-8"):
        parsed(EmotionParam(), str(path))
    with pytest.raises(click.BadParameter, match="No such file"):
        parsed(NumberParam("distance"), str(tmp_path / "none.json"))
    with pytest.raises(click.BadParameter, match=r"a file ending in \.csv or \.json"):
        parsed(NumberParam("distance"), "near.txt")
