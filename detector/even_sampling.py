"""Up to 32 frames of a stream of unknown length, evenly in time, without ever holding more."""

from dataclasses import dataclass
from typing import Generic, TypeVar

CAPACITY = 32
FIRST_INTERVAL_S = 0.12

Item = TypeVar("Item")


@dataclass
class _Kept(Generic[Item]):
    cell: int
    time_s: float
    item: Item


class EvenSampler(Generic[Item]):
    """Keeps the first frame of every interval; when 32 are exceeded, doubles the interval and thins out.

    What is kept depends on the timestamps alone, not on how the stream was cut into blocks. Ask `wants(time)` before
    working on a frame, then `keep(time, result)`.
    """

    def __init__(self) -> None:
        self.interval_s = FIRST_INTERVAL_S
        self._kept: list[_Kept[Item]] = []

    def _cell(self, time_s: float) -> int:
        return int(time_s / self.interval_s + 1e-6)

    def wants(self, time_s: float) -> bool:
        return not self._kept or self._cell(time_s) > self._kept[-1].cell

    def keep(self, time_s: float, item: Item) -> None:
        """Raises ValueError for a frame that `wants` refuses."""
        if not self.wants(time_s):
            raise ValueError(f"frame at {time_s} s is not due; ask wants() first")
        self._kept.append(_Kept(self._cell(time_s), time_s, item))
        while len(self._kept) > CAPACITY:
            self.interval_s *= 2
            thinned: list[_Kept[Item]] = []
            for kept in self._kept:
                cell = self._cell(kept.time_s)
                if not thinned or cell > thinned[-1].cell:
                    thinned.append(_Kept(cell, kept.time_s, kept.item))
            self._kept = thinned

    def samples(self) -> list[tuple[float, Item]]:
        """(time, item), earliest first; at most CAPACITY."""
        return [(kept.time_s, kept.item) for kept in self._kept]
