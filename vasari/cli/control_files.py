"""Controls over time from files: CSV with a header, or JSON with one object per row; strict in everything.

A file has the column `time_s` (seconds, rising from 0 on) and the columns of its control, and no other:

    time_s,yaw_deg,pitch_deg          [{"time_s": 0, "yaw_deg": -10, "pitch_deg": 0},
    0,-10,0                            {"time_s": 2.5, "yaw_deg": 10, "pitch_deg": 0}]
    2.5,10,0
"""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vasari.cli.session import CommandError

MAX_FILE_BYTES = 4 << 20
MAX_KEYS = 4096
TIME = "time_s"
LATEST_S = 86_400.0
SUFFIXES = (".csv", ".json")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)

Limits = tuple[float, float]


@dataclass(frozen=True)
class Row:
    """One moment: where it stands in the file, its time, and its values in the order of the columns."""

    place: str
    time_s: float
    values: tuple[float | str, ...]


def read_rows(path: Path, columns: Mapping[str, Limits | Sequence[str]]) -> tuple[Row, ...]:
    """All rows of a curve file; `columns` maps a name to the range of its numbers or to the words it may hold.

    Raises CommandError naming file, line (or entry), what was expected and what came.
    """
    if path.exists() and not path.is_file():
        raise CommandError(f"{path}: expected a regular file")
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}") from error
    if len(data) > MAX_FILE_BYTES:
        raise CommandError(f"{path}: expected at most {MAX_FILE_BYTES >> 20} MiB")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CommandError(f"{path}: expected UTF-8 text ({error.reason} at byte {error.start})") from error
    read = _json_rows if path.suffix.lower() == ".json" else _csv_rows
    rows: list[Row] = []
    for place, cells in read(path, text, (TIME, *columns)):
        time_s = _number(place, TIME, cells[TIME], (0.0, LATEST_S))
        if rows and time_s <= rows[-1].time_s:
            raise CommandError(f"{place}: expected a time after {rows[-1].time_s:g} s, but {TIME} is {time_s:g}")
        rows.append(Row(place, time_s, tuple(_value(place, name, cells[name], columns[name]) for name in columns)))
        if len(rows) > MAX_KEYS:
            raise CommandError(f"{place}: expected at most {MAX_KEYS} rows")
    if not rows:
        raise CommandError(f"{path}: expected at least one row below the header")
    return tuple(rows)


def _csv_rows(path: Path, text: str, names: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    reader = csv.reader(text.splitlines(), strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        _require_names(f"{path}, line 1", header, names)
        for cells in reader:
            place = f"{path}, line {reader.line_num}"
            if not cells:
                raise CommandError(f"{place}: expected {len(header)} values, but the line is empty")
            if len(cells) != len(header):
                raise CommandError(f"{place}: expected {len(header)} values, but {len(cells)} came")
            yield place, dict(zip(header, (cell.strip() for cell in cells), strict=True))
    except csv.Error as error:
        raise CommandError(f"{path}, line {reader.line_num}: expected comma-separated values ({error})") from error


def _json_rows(path: Path, text: str, names: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({name for name, _ in pairs}) != len(pairs):
            raise CommandError(f"{path}: expected each member once in an object")
        return dict(pairs)

    def no_constant(name: str) -> Any:
        raise CommandError(f"{path}: expected finite numbers, but {name} came")

    try:
        rows = json.loads(text, object_pairs_hook=unique, parse_constant=no_constant)
    except json.JSONDecodeError as error:
        raise CommandError(f"{path}, line {error.lineno}: expected JSON ({error.msg})") from error
    except RecursionError as error:
        raise CommandError(f"{path}: expected a list of objects, but it is nested too deeply") from error
    if not isinstance(rows, list):
        raise CommandError(f"{path}: expected a list of objects, but {type(rows).__name__} came")
    for number, row in enumerate(rows, 1):
        place = f"{path}, entry {number}"
        if not isinstance(row, dict):
            raise CommandError(f"{place}: expected an object, but {type(row).__name__} came")
        _require_names(place, list(row), names)
        yield place, row


def _require_names(place: str, came: Sequence[str], expected: Sequence[str]) -> None:
    unknown = [name for name in came if name not in expected]
    missing = [name for name in expected if name not in came]
    if unknown or missing or len(set(came)) != len(came):
        words = "; ".join([f"unknown {name!r:.40}" for name in unknown[:3]] + [f"missing {name!r}" for name in missing])
        raise CommandError(f"{place}: expected the columns {', '.join(expected)} ({words or 'one came twice'})")


def _value(place: str, name: str, cell: Any, allowed: Limits | Sequence[str]) -> float | str:
    if all(isinstance(one, str) for one in allowed):
        if cell in allowed:
            return str(cell)
        raise CommandError(
            f"{place}: expected {name} to be one of {', '.join(map(str, allowed))}, but {cell!r:.40} came"
        )
    low, high = allowed
    return _number(place, name, cell, (float(low), float(high)))


def _number(place: str, name: str, cell: Any, limits: Limits) -> float:
    low, high = limits
    expected = f"{place}: expected {name} to be a number from {low:g} to {high:g}"
    if isinstance(cell, bool) or not isinstance(cell, str | int | float):
        raise CommandError(f"{expected}, but {cell!r:.40} came")
    if isinstance(cell, str) and not _NUMBER.fullmatch(cell.strip()):
        raise CommandError(f"{expected}, but {cell!r:.40} came")
    try:
        value = float(cell)
    except (ValueError, OverflowError):
        raise CommandError(f"{expected}, but {cell!r:.40} came") from None
    if not (math.isfinite(value) and low <= value <= high):
        raise CommandError(f"{expected}, but {cell!r:.40} came")
    return value
