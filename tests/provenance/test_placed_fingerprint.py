"""A part of a release, mirrored, turned or scaled, is known again at its place; other content at that place is not."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from media import codec_round_trip
from provenance import (
    MATCH_DISTANCE,
    Placement,
    ProvenanceError,
    align_fingerprints,
    align_placed,
    clip_fingerprint,
)
from provenance.placed_fingerprint import Point
from tests.provenance.test_clip_fingerprint import blocks, moving_clip, resize

CLIP = moving_clip(1, 1)
PRINT = clip_fingerprint(blocks(CLIP))
SIDE = 128


def window(frames: Tensor, left: int, top: int, side: int, *, mirror: bool) -> tuple[Tensor, Placement]:
    """A square cut out of the picture, re-encoded, and its place."""
    part = frames[:, :, top : top + side, left : left + side]
    near, far, low, high = left / SIDE, (left + side) / SIDE, top / SIDE, (top + side) / SIDE
    if mirror:
        part, near, far = part.flip(-1), far, near
    return codec_round_trip(part, crf=28), Placement(((near, low), (far, low), (far, high), (near, high)))


def turned(frames: Tensor, degrees: float) -> tuple[Tensor, Placement]:
    """The picture turned about its centre, black where nothing is, and its place."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    matrix = torch.tensor([[cosine, -sine, 0], [sine, cosine, 0]])
    grid = affine_grid(matrix[None].expand(len(frames), 2, 3), list(frames.shape), align_corners=False)
    picture = grid_sample(frames.float(), grid, align_corners=False).round().to(torch.uint8)
    square: tuple[Point, ...] = ((-1, -1), (1, -1), (1, 1), (-1, 1))
    corners = [((cosine * x - sine * y + 1) / 2, (sine * x + cosine * y + 1) / 2) for x, y in square]
    return codec_round_trip(picture, crf=28), Placement(tuple(corners))


PLACES = {
    "three quarters": lambda frames: window(frames, 16, 8, 96, mirror=False),
    "half the area, mirrored": lambda frames: window(frames, 36, 0, 92, mirror=True),
    "turned": lambda frames: turned(frames, 15),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_part_of_a_release_is_known_again_where_it_lies(place: str) -> None:
    copy, placement = PLACES[place](CLIP)
    assert align_fingerprints(clip_fingerprint(blocks(copy)), PRINT).distance > MATCH_DISTANCE
    found = align_placed(blocks(resize(copy, 96)), PRINT, placement)
    assert found.distance < MATCH_DISTANCE / 2
    assert 12 <= found.cells < 64
    assert found.changed == ()
    assert found.start_s == 0


@pytest.mark.parametrize("place", PLACES)
def test_other_content_at_the_same_place_is_not(place: str) -> None:
    for picture, motion in ((2, 2), (1, 2), (2, 1)):
        other, placement = PLACES[place](moving_clip(picture, motion))
        assert align_placed(blocks(other), PRINT, placement).distance > MATCH_DISTANCE


def test_the_release_at_a_wrong_place_is_not() -> None:
    copy, placement = window(CLIP, 16, 8, 96, mirror=False)
    moved = Placement(tuple((1 - x, y) for x, y in placement.corners))
    assert align_placed(blocks(copy), PRINT, moved).distance > MATCH_DISTANCE


def test_a_changed_stretch_of_a_crop_is_named() -> None:
    edited = moving_clip(1, 1, frames=100)
    whole = clip_fingerprint(blocks(edited.clone()))
    edited[50:75, :, 32:96, 32:96] = 20
    copy, placement = window(edited, 16, 8, 96, mirror=False)
    assert align_placed(blocks(copy), whole, placement).changed == ((2.0, 3.0),)


def test_a_faster_copy_is_laid_along_the_releases_time() -> None:
    release = moving_clip(1, 1, frames=100)
    copy, placement = window(release[::2], 16, 8, 96, mirror=False)
    found = align_placed(blocks(copy), clip_fingerprint(blocks(release)), Placement(placement.corners, speed=2.0))
    assert found.distance < MATCH_DISTANCE
    assert found.overlap_s == pytest.approx(4.0, abs=0.2)


def test_too_little_of_the_picture_is_no_evidence() -> None:
    copy, placement = window(CLIP, 48, 48, 40, mirror=False)
    with pytest.raises(ProvenanceError, match="must be shown whole"):
        align_placed(blocks(copy), PRINT, placement)


@pytest.mark.parametrize("corners", [((0.5, 0.5),) * 4, ((0, 0), (1, 1), (1, 1), (0, 0)), ((math.nan, 0),) * 4])
def test_corners_that_span_no_picture_are_refused(corners: tuple[Point, ...]) -> None:
    with pytest.raises(ProvenanceError):
        align_placed(blocks(CLIP), PRINT, Placement(corners))
