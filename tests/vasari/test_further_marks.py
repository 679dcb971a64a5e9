"""What a first mark leaves is searched for other releases, and the bound counts every search."""

from math import log10

import pytest

from vasari.further_marks import MOST_SEARCHES, PlacedMark, Span, marks_beside
from watermark import MOST_ATTEMPTS, TAG_BITS, Detection, MarkedStretch, Payload


def detection(release: int | None, *, tags: int = 1) -> Detection:
    bound = log10(tags) - TAG_BITS * log10(2)
    return Detection("video", None if release is None else Payload(release), 1, bound, 9.0, 2.0)


def stretch(start_s: float, end_s: float, release: int) -> MarkedStretch:
    return MarkedStretch(start_s, end_s, Payload(release))


class Clip:
    """Seconds that carry releases; a search finds the first of its span, after `tags` comparisons."""

    def __init__(self, *parts: tuple[float, float, int], tags: int = 1) -> None:
        self.parts, self.tags, self.searched = parts, tags, list[Span]()

    def search(self, span: Span) -> Detection:
        self.searched.append(span)
        inside = [release for start, end, release in self.parts if start >= span[0] and end <= span[1]]
        return detection(inside[0] if inside else None, tags=self.tags)

    def locate(self, span: Span, found: Detection) -> tuple[MarkedStretch, ...]:
        whole = (stretch(*part) for part in self.parts if Payload(part[2]) == found.payload)
        return tuple(one for one in whole if one.start_s >= span[0] and one.end_s <= span[1])


def first(*stretches: MarkedStretch, tags: int = 1) -> PlacedMark:
    return PlacedMark(detection(1, tags=tags), stretches)


def test_a_clip_that_is_marked_throughout_is_not_searched_again() -> None:
    clip = Clip()
    found = marks_beside(first(stretch(0.1, 9.0, 1)), 10.9, clip.search, clip.locate)
    assert (found.others, found.complete, clip.searched) == ((), True, [])


def test_every_gap_is_searched_and_what_it_leaves_in_turn() -> None:
    clip = Clip((4.0, 8.0, 2), (11.0, 14.0, 3), (20.0, 23.0, 1))
    found = marks_beside(first(stretch(0.0, 3.0, 1)), 23.0, clip.search, clip.locate)
    assert clip.searched == [(3.0, 23.0), (8.0, 23.0), (8.0, 11.0), (14.0, 23.0), (14.0, 20.0)]
    placed = {mark.stretches for mark in found.others}
    assert placed == {(stretch(4.0, 8.0, 2),), (stretch(11.0, 14.0, 3),)}
    assert found.first.stretches == (stretch(0.0, 3.0, 1), stretch(20.0, 23.0, 1))
    assert found.complete


def test_a_stretch_that_reads_as_another_release_is_the_others() -> None:
    clip = Clip((0.0, 4.0, 1), (7.0, 10.0, 2), (12.0, 15.0, 1))
    mistaken = (stretch(7.0, 8.9, 1), stretch(9.1, 10.0, 1))
    found = marks_beside(first(stretch(0.0, 4.0, 1), *mistaken, stretch(12.0, 15.0, 1)), 15.0, clip.search, clip.locate)
    assert found.first.stretches == (stretch(0.0, 4.0, 1), stretch(12.0, 15.0, 1))
    assert [mark.stretches for mark in found.others] == [(stretch(7.0, 10.0, 2),)]


def test_a_stretch_that_is_not_read_alone_stays_where_it_was() -> None:
    whole = first(stretch(0.0, 3.0, 1), stretch(7.0, 8.0, 1))
    assert marks_beside(whole, 8.0, lambda _: detection(None), Clip().locate).first == whole


def test_a_mark_without_a_place_leaves_no_gaps() -> None:
    clip = Clip((0.0, 5.0, 2))
    assert marks_beside(first(), 10.0, clip.search, clip.locate).others == ()
    assert clip.searched == []


def test_the_bound_of_a_later_mark_counts_all_searches() -> None:
    clip = Clip((4.0, 8.0, 2), tags=500)
    (other,) = marks_beside(first(stretch(0.0, 3.0, 1), tags=1000), 8.0, clip.search, clip.locate).others
    assert other.detection.log10_false_positive == pytest.approx(log10(1500) - TAG_BITS * log10(2))


def test_a_mark_that_took_more_tags_than_one_search_may_compare_does_not_count() -> None:
    clip = Clip((4.0, 8.0, 2), tags=MOST_ATTEMPTS)
    found = marks_beside(first(stretch(0.0, 3.0, 1)), 8.0, clip.search, clip.locate)
    assert (found.others, found.complete) == ((), False)


def test_gaps_without_end_are_left_and_said_so() -> None:
    clip = Clip(*((3.0 * n, 3.0 * n + 1, 1) for n in range(MOST_SEARCHES + 2)))
    parts = (stretch(*part) for part in clip.parts)
    found = marks_beside(first(*parts), 3.0 * len(clip.parts), clip.search, clip.locate)
    assert len(clip.searched) == MOST_SEARCHES
    assert not found.complete


def test_a_gap_too_short_to_be_searched_is_passed_over() -> None:
    found = marks_beside(first(stretch(0.0, 3.0, 1)), 8.0, lambda _: None, Clip().locate)
    assert (found.others, found.complete) == ((), True)
