"""Reading a file that only its owner may read."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from provenance.errors import KeySourceError

MAX_BYTES = 1 << 20


def read_private_file(path: Path) -> bytes:
    """The content; raises KeySourceError when it is missing, too large, or open to other users."""
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise KeySourceError(f"{path}: cannot be read ({error.strerror})") from error
    if mode & 0o077:
        raise KeySourceError(f"{path}: other users can read it (mode {mode:04o}); run: chmod 600 {path}")
    if len(data) > MAX_BYTES:
        raise KeySourceError(f"{path}: more than {MAX_BYTES} bytes")
    return data
