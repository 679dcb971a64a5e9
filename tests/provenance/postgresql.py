"""A PostgreSQL server of its own for tests: a temporary folder, a socket in it, no network."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

SERVER_USER = "postgres"  # the server refuses to run as root; Debian's package makes this user


def _binaries() -> Path | None:
    """The folder with initdb and pg_ctl; the newest where there are several."""
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    return installed[-1].parent if installed else None


def _user() -> str | None:
    """Whom the server runs as: None for the caller. Skips where root has nobody to hand it to."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(SERVER_USER).pw_name
    except KeyError:
        pytest.skip(f"PostgreSQL does not run as root, and there is no user {SERVER_USER}")


@contextmanager
def postgresql_server() -> Iterator[Callable[[], str]]:
    """Gives the address of a new, empty database at each call; skips where no server is installed."""
    binaries = _binaries()
    if binaries is None:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    user = _user()
    folder = Path(tempfile.mkdtemp(prefix="vasari-pg-"))
    try:
        if user is not None:
            shutil.chown(folder, user)
        data, log = folder / "data", folder / "log"

        def run(*command: str) -> None:
            done = subprocess.run(command, user=user, cwd=folder, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr

        run(str(binaries / "initdb"), "-D", str(data), "-A", "trust", "-U", "vasari", "--no-sync", "-E", "UTF8")
        options = f"-k {folder} -c listen_addresses='' -c shared_buffers=16MB"
        # The server keeps pg_ctl's output open, so it goes into files.
        run(str(binaries / "pg_ctl"), "-D", str(data), "-l", str(log), "-w", "-s", "-o", options, "start")
        try:
            yield lambda: _new_database(folder)
        finally:
            run(str(binaries / "pg_ctl"), "-D", str(data), "-m", "immediate", "-s", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _new_database(folder: Path) -> str:
    name = f"test_{os.urandom(6).hex()}"
    with psycopg.connect(f"postgresql://vasari@/postgres?host={folder}", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return f"postgresql://vasari@/{name}?host={folder}"
