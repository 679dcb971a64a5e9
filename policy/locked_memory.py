"""Memory for keys: outside Python's heap, locked out of swap, left out of core dumps, wiped when done.

Python copies `bytes` freely and never clears them, so a key lives in an anonymous mapping of its own and is handed
on as a view of it. Where a library gives a key out as `bytes` only, `wipe_bytes` clears that object in place.
`guard_process` keeps other processes of the same user from reading this one's memory. Root can read all of it.
"""

from __future__ import annotations

import ctypes
import mmap
import resource
import sys
from types import TracebackType
from typing import Self

PRIVATE = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
PR_SET_DUMPABLE = 4
PR_GET_DUMPABLE = 3
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class LockedBuffer:
    """`size` bytes outside Python's heap. Use as a context manager, or `wipe`; reading it then raises ValueError."""

    def __init__(self, size: int) -> None:
        self._memory = mmap.mmap(-1, size, flags=PRIVATE)
        self._size = size
        for advice in ("MADV_DONTDUMP", "MADV_DONTFORK"):
            if hasattr(mmap, advice):
                self._memory.madvise(getattr(mmap, advice))
        if _LIBC is not None:  # best effort: RLIMIT_MEMLOCK may be small
            _LIBC.mlock(
                ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(self._memory))), ctypes.c_size_t(size)
            )
        self.view = memoryview(self._memory)

    @classmethod
    def take(cls, secret: bytes) -> LockedBuffer:
        """Move a key in and wipe the object it came in; nobody else may hold that object."""
        made = cls(len(secret))
        made.view[:] = secret
        wipe_bytes(secret)
        return made

    def __len__(self) -> int:
        return self._size

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.wipe()

    def __repr__(self) -> str:
        return f"LockedBuffer({self._size} bytes)"

    def wipe(self) -> None:
        """Overwrite with zeros and let go."""
        if self._memory.closed:
            return
        self._memory[:] = bytes(self._size)
        self.view.release()
        self._memory.close()


def wipe_bytes(secret: bytes) -> None:
    """Overwrite a `bytes` object that nobody else holds; does nothing outside CPython and for shared short ones."""
    if sys.implementation.name == "cpython" and len(secret) > 1:
        ctypes.memset(id(secret) + bytes.__basicsize__ - 1, 0, len(secret))


def plain_memory(size: int) -> mmap.mmap:
    """Anonymous memory for opened weights: in huge pages where there are some, never in a core dump."""
    memory = mmap.mmap(-1, size, flags=PRIVATE)
    for advice in ("MADV_HUGEPAGE", "MADV_DONTDUMP"):
        if hasattr(mmap, advice):
            try:
                memory.madvise(getattr(mmap, advice))
            except OSError:  # a kernel built without it
                continue
    return memory


def guard_process() -> bool:
    """Make this process's memory unreadable for others of its user, and its core dumps empty; False where it can't."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    return _LIBC is not None and _LIBC.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0


def is_guarded() -> bool:
    """Whether `guard_process` is in force."""
    return _LIBC is not None and _LIBC.prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0
