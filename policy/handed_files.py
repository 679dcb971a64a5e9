"""Files between the gate and a confined process, all of them the gate's own and without a name.

What goes in is sealed, so that it can't be changed any more; what comes out is copied before it is looked at, into a
file that only the gate holds.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from policy.errors import ProcessError

SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
COPY_BYTES = 1 << 20


@contextmanager
def handed_in(*contents: bytes) -> Iterator[list[int]]:
    """Descriptors of sealed files in memory with these contents, closed at the end."""
    with ExitStack() as files:
        descriptors = []
        for content in contents:
            file = files.enter_context(os.fdopen(os.memfd_create("vasari", os.MFD_ALLOW_SEALING), "w+b", 0))
            left = memoryview(content)
            while left:
                left = left[file.write(left) :]
            file.seek(0)
            fcntl.fcntl(file, fcntl.F_ADD_SEALS, SEALS)
            descriptors.append(file.fileno())
        yield descriptors


def read_only(file: BinaryIO) -> BinaryIO:
    """The same file opened once more, for reading alone."""
    file.flush()
    return Path(f"/proc/self/fd/{file.fileno()}").open("rb")


def take_over(filled: BinaryIO, own: BinaryIO, *, most_bytes: int) -> None:
    """Copy what a process put into `filled` to the emptied `own`; raises ProcessError when it is empty or too long."""
    size = os.fstat(filled.fileno()).st_size
    if not 0 < size <= most_bytes:
        raise ProcessError(f"the file that came back has {size} bytes, expected 1 to {most_bytes}")
    filled.seek(0)
    own.seek(0)
    own.truncate()
    left = size
    while left and (piece := filled.read(min(COPY_BYTES, left))):  # no more, should it still be written to
        own.write(piece)
        left -= len(piece)
    own.flush()
    own.seek(0)
