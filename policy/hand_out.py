"""The last step: a finished, signed clip appears at the asked-for path, whole, or not at all.

Where the system can, the copy in the target folder has no name until it is complete (O_TMPFILE, then
linkat); elsewhere, and when an older file is replaced, it is `.<name>.<random>.part`, mode 0600, for an
instant. The file and its folder are on the disk before the use counts as consumed.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from policy.errors import OutputError

_NO_ANONYMOUS_FILES = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL})


class HandOut:
    """One output path. `prepare` before anything is reserved, `publish` once, `retract` on failure."""

    def __init__(self, out: Path, *, overwrite: bool) -> None:
        self.out = out
        self.part = out.with_name(f".{out.name}.{secrets.token_hex(6)}.part")
        self._overwrite = overwrite
        self._copy: tuple[int, int] | None = None  # device and inode of what is or was about to appear

    @classmethod
    def prepare(cls, out: Path, *, overwrite: bool) -> HandOut:
        """Check that a clip can be put at `out`; raises OutputError. Leaves nothing there."""
        absolute = Path(os.path.abspath(out))  # noqa: PTH100 - resolve() would follow a link at the last part
        if not out.name or not absolute.parent.is_dir():
            raise OutputError(f"{out}: there is no folder {absolute.parent}; make it first")
        if absolute.is_dir():
            raise OutputError(f"{out} is a folder; name a file in it")
        if not overwrite and os.path.lexists(absolute):
            raise OutputError(f"{out} is there already; choose another name, or allow overwriting (--overwrite)")
        hand_out = cls(absolute, overwrite=overwrite)
        try:
            hand_out._open().close()
        except OSError as error:
            raise OutputError(f"{out}: cannot write into {absolute.parent} ({error.strerror})") from error
        finally:
            hand_out.part.unlink(missing_ok=True)
        return hand_out

    def publish(self, clip: BinaryIO) -> None:
        """Copy `clip` and make it appear; raises OutputError when a file came there meanwhile, or OSError."""
        clip.seek(0)
        with self._open() as copy:
            shutil.copyfileobj(clip, copy, 1 << 20)
            copy.flush()
            os.fsync(copy.fileno())
            status = os.fstat(copy.fileno())
            self._copy = status.st_dev, status.st_ino
            self._appear(copy)
        folder = os.open(self.out.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def retract(self) -> None:
        """Take back what is there of this clip; whatever else stands at the path stays."""
        self.part.unlink(missing_ok=True)
        with suppress(FileNotFoundError):
            status = self.out.lstat()
            if (status.st_dev, status.st_ino) == self._copy:
                self.out.unlink()

    def _open(self) -> BinaryIO:
        """A file of mode 0600 in the target folder, without a name if possible, else `part`."""
        flags = os.O_RDWR | os.O_CLOEXEC
        if hasattr(os, "O_TMPFILE"):
            try:
                return os.fdopen(os.open(self.out.parent, flags | os.O_TMPFILE, 0o600), "w+b")
            except OSError as error:
                if error.errno not in _NO_ANONYMOUS_FILES:
                    raise
        return os.fdopen(os.open(self.part, flags | os.O_CREAT | os.O_EXCL, 0o600), "w+b")

    def _appear(self, copy: BinaryIO) -> None:
        named = self.part.exists()
        try:
            if self._overwrite:
                if not named:
                    _link_descriptor(copy.fileno(), self.part)
                self.part.replace(self.out)
            elif named:
                os.link(self.part, self.out)
                self.part.unlink()
            else:
                _link_descriptor(copy.fileno(), self.out)
        except FileExistsError:
            raise OutputError(f"{self.out} appeared while the clip was made; nothing was replaced") from None


def _link_descriptor(descriptor: int, path: Path) -> None:
    """Give an anonymous file a name (linkat with AT_SYMLINK_FOLLOW); fails when the name is taken."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        # A folder descriptor makes Python call linkat, which alone follows the link under /proc.
        os.link(f"/proc/self/fd/{descriptor}", path.name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=True)
    finally:
        os.close(folder)
