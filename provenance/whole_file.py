"""Files that are there whole or not at all."""

import os
import uuid
from pathlib import Path


def write_whole(path: Path, content: bytes, *, mode: int) -> None:
    """Write under a temporary name with `mode` from the first byte on, sync, rename."""
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
