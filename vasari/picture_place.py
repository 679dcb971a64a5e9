"""Where the mark says that a received picture lies in the release's frame, as the fingerprint wants to know it."""

from collections.abc import Iterator
from math import ceil

from provenance import Placement
from watermark import Pose

WHOLE = 0.98
"""In short sides of the release: a picture that spans this much of it both ways shows all of it."""
UNMOVED = 0.02
"""Corners that lie no further from the release's, in fractions of its sides, are its own; so with the speed."""
SQUARE = ((0, 0), (1, 0), (1, 1), (0, 1))
Corners = tuple[tuple[float, float], ...]


def placements(pose: Pose, width: int, height: int, *, aspect: float | None = None) -> Iterator[Placement]:
    """The places that a `width` x `height` picture of this pose can have in its release; none where it lies as made.

    `aspect`: the release's width over its height, as its fingerprint says. The mark knows places in short sides of the
    release, modulo one of them: along the longer side there are several. Of an older release without `aspect` the frame
    is taken for square, and where the whole of it seems to be shown for what is shown.
    """
    corners = pose.original_corners(width, height)
    if aspect is not None:
        wide, high = max(aspect, 1.0), max(1 / aspect, 1.0)
        for along in range(ceil(max(wide, high))):
            x0, y0 = (along, 0) if wide > high else (0, along)
            yield from _moved(tuple(((x + x0) / wide, (y + y0) / high) for x, y in corners), pose.speed)
        return
    yield from _moved(corners, pose.speed)
    left, top = (min(corner[axis] for corner in corners) for axis in (0, 1))
    wide, high = (max(corner[axis] for corner in corners) - low for axis, low in ((0, left), (1, top)))
    if min(wide, high) >= WHOLE and max(wide, high) > 2 - WHOLE:
        yield from _moved(tuple(((x - left) / wide, (y - top) / high) for x, y in corners), pose.speed)


def _moved(corners: Corners, speed: float) -> Iterator[Placement]:
    pairs = zip(corners, SQUARE, strict=True)
    apart = max(abs(mine[axis] - its[axis]) for mine, its in pairs for axis in (0, 1))
    if max(apart, abs(speed - 1)) > UNMOVED:
        yield Placement(corners, speed)
