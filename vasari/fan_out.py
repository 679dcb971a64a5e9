"""One stream, several readers at once, bounded memory: each block is decoded once and read by all."""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Block = TypeVar("Block")

BLOCKS_IN_FLIGHT = 2
"""How many blocks a slow reader may lag behind; the stream waits for the slowest."""


@dataclass
class _Reader(Generic[Block]):
    """One consumer in its thread, fed through a short queue that `None` ends."""

    consume: Callable[[Iterator[Block]], object]
    blocks: "queue.Queue[Block | None]" = field(default_factory=lambda: queue.Queue(BLOCKS_IN_FLIGHT))
    result: object = None
    error: Exception | None = None

    def run(self) -> None:
        stream = iter(self.blocks.get, None)
        try:
            self.result = self.consume(stream)
        except Exception as error:  # noqa: BLE001  carried to the caller's thread
            self.error = error
        for _ in stream:  # one that stopped early must not stop the others
            pass


def fan_out(
    source: Iterable[Block], consumers: Sequence[Callable[[Iterator[Block]], object]]
) -> list[object | Exception]:
    """What each consumer made of `source`, in order; a consumer's own error takes its result's place.

    An error of `source` itself ends the streams, waits for the consumers and is raised.
    """
    readers = [_Reader(consume) for consume in consumers]
    threads = [threading.Thread(target=reader.run, daemon=True) for reader in readers]
    for thread in threads:
        thread.start()
    try:
        for block in source:
            for reader in readers:
                reader.blocks.put(block)
    finally:
        for reader in readers:
            reader.blocks.put(None)
        for thread in threads:
            thread.join()
    return [reader.error if reader.error is not None else reader.result for reader in readers]
