"""What keeps a public service standing: requests per client, bytes per body, one heavy job at a time."""

import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import IO

MAX_TRACKED = 10_000


class TooLargeError(Exception):
    """A body is longer than the limit."""


class TooManyError(Exception):
    """A caller asked too often; `retry_after_s` says how long to wait."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"too many requests; try again in {retry_after_s} s")
        self.retry_after_s = retry_after_s


@dataclass(frozen=True)
class Rate:
    """At most `burst` at once, `per_minute` in the long run."""

    burst: int
    per_minute: float


class RateLimiter:
    """A token bucket per caller, in bounded memory: the callers longest silent are forgotten first."""

    def __init__(self, rate: Rate, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._clock = rate, clock
        self._buckets: dict[str, tuple[float, float]] = {}
        self._lock = threading.Lock()

    def take(self, caller: str, cost: float = 1.0) -> None:
        """Count one request; raises TooManyError."""
        per_second = self._rate.per_minute / 60
        with self._lock:
            now = self._clock()
            left, since = self._buckets.pop(caller, (float(self._rate.burst), now))
            left = min(float(self._rate.burst), left + (now - since) * per_second)
            allowed = left >= cost
            self._buckets[caller] = (left - cost if allowed else left, now)
            if len(self._buckets) > MAX_TRACKED:
                self._buckets.pop(next(iter(self._buckets)))
        if not allowed:
            raise TooManyError(max(1, round((cost - left) / per_second)))


async def read_limited(chunks: AsyncIterator[bytes], limit: int) -> bytes:
    """A body of at most `limit` bytes; raises TooLargeError as soon as it is longer."""
    parts: list[bytes] = []
    total = 0
    async for chunk in chunks:
        total += len(chunk)
        if total > limit:
            raise TooLargeError
        parts.append(chunk)
    return b"".join(parts)


async def spool_limited(chunks: AsyncIterator[bytes], sink: IO[bytes], limit: int) -> int:
    """The same into a file; the number of bytes."""
    total = 0
    async for chunk in chunks:
        total += len(chunk)
        if total > limit:
            raise TooLargeError
        sink.write(chunk)
    sink.flush()
    return total
