"""Intervals that several measurements share."""

from __future__ import annotations

from scipy.stats import binomtest


def share_interval(hits: int, n: int) -> list[float]:
    """Exact 95 % interval (Clopper and Pearson 1934) of a share; honest where all or none of few hit."""
    interval = binomtest(hits, n).proportion_ci(method="exact")
    return [float(interval.low), float(interval.high)]
