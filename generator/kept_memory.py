"""Memory that is freed stays with the process: frames take the same large tensors again and again."""

from __future__ import annotations

import ctypes
import sys
from functools import cache

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_MMAP_BYTES = 32 << 20  # the most that glibc takes: half a heap
_TRIM_BYTES = 512 << 20


@cache
def keep_freed_memory() -> None:
    """Tell glibc not to hand large blocks back to the system at once: getting their pages anew takes a good part of a
    frame's time. What is kept is bounded by what was once in use. Does nothing with another C library."""
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _MMAP_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _TRIM_BYTES)
