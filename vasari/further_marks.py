"""Marks of other releases in the seconds that a first mark leaves: a clip may be cut together from several releases.

A detector ends at the first genuine tag. What it has not placed in time is searched again, each gap alone, and so on in
what is left. All searches of one picture or sound share one count of compared tags: an answer that came after
`MOST_ATTEMPTS` of them does not count, so that the bound on a false positive holds for the file, not for each search.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from math import log10

from watermark import MOST_ATTEMPTS, TAG_BITS, Detection, MarkedStretch

SHORTEST_GAP_S = 2.0  # releases are no shorter
MOST_SEARCHES = 8

Span = tuple[float, float]
Search = Callable[[Span], Detection | None]
Locate = Callable[[Span, Detection], tuple[MarkedStretch, ...]]


@dataclass(frozen=True)
class PlacedMark:
    """A mark, and from when to when it is there."""

    detection: Detection
    stretches: tuple[MarkedStretch, ...]


@dataclass(frozen=True)
class PlacedMarks:
    """`first` with every place of its release; `others` by the order of finding. `complete`: every gap was searched."""

    first: PlacedMark
    others: tuple[PlacedMark, ...] = ()
    complete: bool = True


def marks_beside(first: PlacedMark, length_s: float, search: Search, locate: Locate) -> PlacedMarks:
    """All marks of a picture or sound of `length_s` in which a search found `first`.

    Another release of the same key can look like the one that is placed, so only the longest stretch of each find is
    certain; what lies beside it is searched, and a further stretch counts where no other release was read.
    `search` and `locate` get seconds from when to when; None is a span that can't be searched. Raises what they raise.
    """
    finds = [first]
    gaps = _gaps(first, (0.0, length_s))
    tags, searches = _tags(first.detection), 0
    while gaps and searches < MOST_SEARCHES:
        span, *later = gaps
        detection = search(span)
        searches, tags = searches + 1, tags + (0 if detection is None else _tags(detection))
        if tags > MOST_ATTEMPTS:
            break
        gaps = later
        if detection is None or not detection.found:
            continue
        counted = replace(detection, log10_false_positive=log10(tags) - TAG_BITS * log10(2))
        finds.append(PlacedMark(counted, locate(span, detection)))
        gaps = [*_gaps(finds[-1], span), *later]
    again, *others = _by_release(finds)
    return PlacedMarks(again, tuple(others), complete=not gaps)


def _by_release(finds: Sequence[PlacedMark]) -> list[PlacedMark]:
    """One mark for each release, with its stretches joined where they touch."""
    certain = [_longest(find) for find in finds if find.stretches]
    marks = []
    for payload in dict.fromkeys(find.detection.payload for find in finds):
        own = [find for find in finds if find.detection.payload == payload]
        others = [one for one in certain if one.payload != payload]
        claimed = {one for find in own for one in find.stretches if one in certain or not _meets(one, others)}
        marks.append(PlacedMark(own[0].detection, tuple(_joined(claimed))))
    return marks


def _meets(stretch: MarkedStretch, others: Sequence[MarkedStretch]) -> bool:
    return any(stretch.start_s < other.end_s and other.start_s < stretch.end_s for other in others)


def _joined(stretches: Iterable[MarkedStretch]) -> list[MarkedStretch]:
    joined: list[MarkedStretch] = []
    for one in sorted(stretches, key=lambda stretch: stretch.start_s):
        if joined and one.start_s <= joined[-1].end_s:
            joined[-1] = replace(joined[-1], end_s=max(joined[-1].end_s, one.end_s))
        else:
            joined.append(one)
    return joined


def _longest(find: PlacedMark) -> MarkedStretch:
    return max(find.stretches, key=lambda stretch: stretch.end_s - stretch.start_s)


def _gaps(find: PlacedMark, span: Span) -> list[Span]:
    """What the certain stretch of a find leaves of a span, where it is long enough to hold a release."""
    if not find.stretches:
        return []  # where it lies is not known, so neither is what it leaves
    certain = _longest(find)
    beside = ((span[0], certain.start_s), (certain.end_s, span[1]))
    return [(start, end) for start, end in beside if end - start >= SHORTEST_GAP_S]


def _tags(detection: Detection) -> int:
    """How many tags a search compared, one at least, as its bound counts them."""
    return round(10 ** (detection.log10_false_positive + TAG_BITS * log10(2)))
