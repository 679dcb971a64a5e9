"""The steps of a release by name, and how long each took."""

from __future__ import annotations

import time
from collections.abc import Callable

OnStage = Callable[[str], None]


class Stages:
    """Names of the steps done and how long each took, summed over repetitions."""

    def __init__(self, on_stage: OnStage | None) -> None:
        self._on_stage = on_stage
        self._last = time.perf_counter()
        self.seconds: dict[str, float] = {}

    def done(self, name: str) -> None:
        """The step `name` ended now."""
        now = time.perf_counter()
        self.seconds[name] = self.seconds.get(name, 0.0) + now - self._last
        self._last = now
        if self._on_stage:
            self._on_stage(name)
