"""Where a clip is written: a file that appears under its name only when it is whole."""

from __future__ import annotations

import io
import os
import secrets
from pathlib import Path
from typing import BinaryIO

Sink = str | os.PathLike[str] | BinaryIO
"""Where a clip goes: a path, or a binary file object that is written from its beginning."""


class ClipSink:
    """The muxer's view of the output. A path is written as `.<name>.<random>.part`, mode 0600, then renamed."""

    def __init__(self, sink: Sink, *, seekable: bool) -> None:
        self.closed = False
        self._target: Path | None = None
        self._part: Path | None = None
        self._seekable = seekable
        if isinstance(sink, str | os.PathLike):
            self._target = Path(sink)
            self._part = self._target.with_name(f".{self._target.name}.{secrets.token_hex(6)}.part")
            descriptor = os.open(self._part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            self._file: BinaryIO = os.fdopen(descriptor, "w+b")
        else:
            self._file = sink
            if seekable and not (sink.seekable() and sink.readable()):
                raise ValueError(
                    "a clip with its index in front needs a seekable and readable sink (open it with 'w+b'); "
                    "other sinks take fragmented=True"
                )
            if sink.seekable():
                sink.seek(0)
                sink.truncate()

    @property
    def label(self) -> str:
        """What messages call this sink."""
        return str(self._target or "<file object>")

    def write(self, data: bytes) -> int:
        if not self.closed:
            self._file.write(data)
        return len(data)

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._seekable

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def second_look(self, url: str, flags: int, options: object) -> _SecondLook:
        """A reader on what was written so far: the muxer moves the media back to put the index in front."""
        return _SecondLook(self._file)

    def finish(self) -> None:
        """Makes a path's clip appear under its name, flushed to the disk. A file object stays open."""
        self.closed = True
        self._file.flush()
        if self._part is not None and self._target is not None:
            os.fsync(self._file.fileno())
            self._file.close()
            self._part.replace(self._target)

    def discard(self) -> None:
        """Leaves nothing behind: removes the part file, or empties a seekable file object."""
        self.closed = True
        if self._part is not None:
            self._file.close()
            self._part.unlink(missing_ok=True)
        elif self._file.seekable():
            self._file.seek(0)
            self._file.truncate()


class _SecondLook(io.RawIOBase):
    """Reads a file from a position of its own, leaving the writer's position alone."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self._file = file
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, count: int = -1) -> bytes:
        writer = self._file.tell()
        self._file.seek(self._position)
        data = self._file.read(count)
        self._file.seek(writer)
        self._position += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_SET:
            self._position = offset
        elif whence == os.SEEK_CUR:
            self._position += offset
        else:
            raise ValueError("seeks count from the start or the current position")
        return self._position

    def tell(self) -> int:
        return self._position
