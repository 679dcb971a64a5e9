"""Random numbers by counter: the n-th draw of a stream depends on seed, stream and n only, never on call order."""

from __future__ import annotations

import math
from typing import Final

_MASK: Final = (1 << 64) - 1


def _mix(x: int) -> int:
    """SplitMix64's finaliser (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014)."""
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & _MASK
    return x ^ (x >> 31)


def uniform(seed: int, stream: int, counter: int) -> float:
    """In (0, 1)."""
    x = _mix((seed + 0x9E3779B97F4A7C15) & _MASK)
    x = _mix((x + stream * 0xD1342543DE82EF95) & _MASK)
    x = _mix((x + counter * 0x9E3779B97F4A7C15) & _MASK)
    return ((x >> 11) + 0.5) / (1 << 53)


def normal(seed: int, stream: int, counter: int) -> float:
    """Mean 0, variance 1 (Box and Muller); uses draws 2 n and 2 n + 1 of the stream."""
    u, v = uniform(seed, stream, 2 * counter), uniform(seed, stream, 2 * counter + 1)
    return math.sqrt(-2 * math.log(u)) * math.cos(2 * math.pi * v)
