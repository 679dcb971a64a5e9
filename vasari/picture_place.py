"""Where the mark says that a received picture lies in the release's frame, as the fingerprint wants to know it."""

from collections.abc import Iterator

from provenance import Placement
from watermark import Pose

WHOLE = 0.98
"""In short sides of the release: a picture that spans this much of it both ways shows all of it."""
UNMOVED = 0.02
"""Corners that lie no further from the release's, in fractions of its sides, are its own; so with the speed."""
SQUARE = ((0, 0), (1, 0), (1, 1), (0, 1))


def placements(pose: Pose, width: int, height: int) -> Iterator[Placement]:
    """The places that a `width` x `height` picture of this pose can have in its release; none where it lies as made.

    The mark knows the release's short side alone. So the release is taken for square, as most are, and where the whole
    of it seems to be shown for what is shown. A crop of a release that is not square has no place.
    """
    corners = pose.original_corners(width, height)
    yield from _moved(Placement(corners, pose.speed))
    left, top = (min(corner[axis] for corner in corners) for axis in (0, 1))
    wide, high = (max(corner[axis] for corner in corners) - low for axis, low in ((0, left), (1, top)))
    if min(wide, high) >= WHOLE and max(wide, high) > 2 - WHOLE:
        yield from _moved(Placement(tuple(((x - left) / wide, (y - top) / high) for x, y in corners), pose.speed))


def _moved(placement: Placement) -> Iterator[Placement]:
    pairs = zip(placement.corners, SQUARE, strict=True)
    apart = max(abs(mine[axis] - its[axis]) for mine, its in pairs for axis in (0, 1))
    if max(apart, abs(placement.speed - 1)) > UNMOVED:
        yield placement
