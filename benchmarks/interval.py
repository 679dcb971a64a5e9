"""Intervals that several measurements share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

Array = NDArray[np.float64]
DRAWS = 2000


def share_interval(hits: int, n: int) -> list[float]:
    """Exact 95 % interval (Clopper and Pearson 1934) of a share; honest where all or none of few hit."""
    interval = binomtest(hits, n).proportion_ci(method="exact")
    return [float(interval.low), float(interval.high)]


def mean_interval(groups: Sequence[NDArray[Any]], seed: int = 0) -> tuple[float, list[float]]:
    """Mean over all values and its 95 % interval; whole groups (persons, clips) are resampled with replacement."""
    sums, counts = np.array([g.sum() for g in groups]), np.array([len(g) for g in groups])
    drawn = np.random.default_rng(seed).integers(0, len(groups), (DRAWS, len(groups)))
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    return float(sums.sum() / counts.sum()), [float(v) for v in np.percentile(means, [2.5, 97.5])]


def bootstrap_interval(count: int, estimate: Callable[[NDArray[np.int64]], float], seed: int = 0) -> list[float]:
    """95 % interval of `estimate(indices)` over resampled groups 0..count-1."""
    rng = np.random.default_rng(seed)
    values = [estimate(rng.integers(0, count, count)) for _ in range(DRAWS // 4)]
    return [float(v) for v in np.percentile(values, [2.5, 97.5])]
