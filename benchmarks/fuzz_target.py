"""What a fuzzed parser is, and the random changes that know the formats, for `fuzz_targets` and `fuzz_one`."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

INTERESTING = (
    b"\0",
    b"\xff",
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\xff",
    b"\0\0\0\0",
    b"\0\0\0\1",
    b"\x9f",
    b"\xbf",
    b"\n",
    b"\n\n",
    b"18446744073709551616",
    b"-1",
    b"old ",
    b"index ",
    b"extra ",
    b"jumb",
    b"jumd",
    b"brob",
    b"uuid",
    b"mdat",
    b"free",
    "—".encode(),
    b"{",
    b"[" * 50,
    b'"',
    b"\\ud800",
)


@dataclass(frozen=True)
class Target:
    """One parser: what it eats, what it may raise, and real inputs to start from."""

    name: str
    run: Callable[[bytes], object]
    promised: tuple[type[BaseException], ...]
    corpus: Sequence[bytes]


def mutate(seed: bytes, other: bytes, draw: random.Random) -> bytes:
    """`seed` with one to six random changes: bits, pieces cut, doubled, spliced, numbers at their limits, tokens."""
    content = bytearray(seed)
    for _ in range(draw.randint(1, 6)):
        at = draw.randrange(len(content) + 1)
        size = min(len(content) - at, 1 << draw.randrange(8))
        kind = draw.randrange(7)
        if kind == 0 and content:
            content[at % len(content)] ^= 1 << draw.randrange(8)
        elif kind == 1:
            content[at : at + size] = draw.randbytes(size)
        elif kind == 2:
            del content[at : at + size]
        elif kind == 3:
            content[at:at] = content[at : at + size] * draw.choice((1, 2, 20))
        elif kind == 4:
            content[at : at + draw.choice((0, 4))] = draw.choice(INTERESTING)
        elif kind == 5:
            start = draw.randrange(len(other) + 1)
            content[at : at + size] = other[start : start + size]
        else:
            del content[at:]
    return bytes(content)
