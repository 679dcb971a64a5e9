"""Databases that several connections of several processes have open at once."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from policy.gate_database import open_database as open_gate
from provenance import LogError
from provenance.sqlite_file import open_database as open_store


def open_versioned(path: Path) -> sqlite3.Connection:
    return open_store(path, "", version=1, error=LogError)


OPENERS = pytest.mark.parametrize("opened", [open_gate, open_versioned])
VISIT = """
import sqlite3, sys
opened = sqlite3.connect(sys.argv[1])
print(opened.execute("SELECT n FROM t").fetchall())
opened.close()
"""


def visited(path: Path) -> str:
    """What another process reads, which then closes its only connection."""
    return subprocess.run([sys.executable, "-c", VISIT, str(path)], check=True, capture_output=True, text=True).stdout


@OPENERS
def test_a_second_connection_leaves_the_locks_of_the_first(
    opened: Callable[[Path], sqlite3.Connection], tmp_path: Path
) -> None:
    path = tmp_path / "some.sqlite"
    first = opened(path)
    first.execute("CREATE TABLE t (n INTEGER)")
    second = opened(path)
    assert visited(path) == "[]\n"
    assert path.with_name("some.sqlite-wal").exists()
    first.execute("INSERT INTO t VALUES (7)")
    assert visited(path) == "[(7,)]\n"
    second.close()
    first.close()
    assert visited(path) == "[(7,)]\n"


@OPENERS
def test_a_database_is_made_private_and_an_existing_one_kept(
    opened: Callable[[Path], sqlite3.Connection], tmp_path: Path
) -> None:
    path = tmp_path / "some.sqlite"
    opened(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o640)
    opened(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
