"""Files that are there whole or not at all."""

import os
import secrets
import tempfile
from pathlib import Path

from vasari.cli.session import CommandError


def require_writable(path: Path) -> None:
    """Raise CommandError unless a file can be made where `path` shall be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise CommandError(f"{path}: can't be written ({error.strerror or error})") from error


def write_text(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Write `text` to `path` through a temporary name beside it."""
    write_bytes(path, text.encode("utf-8"), mode=mode)


def write_bytes(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Write `content` to `path` through a temporary name beside it; the name always has `mode`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
