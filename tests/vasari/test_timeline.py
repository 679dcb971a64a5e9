"""Timelines show what was measured, also to those who don't see them."""

import re
import xml.etree.ElementTree as ET

from detector import FrameScore
from vasari.reports.timeline import MOST_POINTS, describe, sparkline_svg, thin_out, timeline_svg, worst_face


def frame(time_s: float, score: float | None, face: int | None = 0) -> FrameScore:
    """One scored face, or none."""
    return FrameScore(time_s=time_s, box=None, score=score, face_px=80.0, face=None if score is None else face)


FRAMES = [frame(0.0, 0.1), frame(0.5, 0.9), frame(1.0, None), frame(1.5, 0.4)]


def test_both_plots_are_well_formed_svg_with_a_description() -> None:
    for svg in (timeline_svg(FRAMES, duration_s=2.0), sparkline_svg(FRAMES, duration_s=2.0)):
        root = ET.fromstring(svg)  # noqa: S314  our own output
        assert root.get("role") == "img"
        assert root.get("aria-label") == (
            "Score over time: 3 of 4 sampled frames scored, lowest 0.10, mean 0.47, highest 0.90."
        )


def test_a_gap_breaks_the_line_and_is_shaded() -> None:
    svg = timeline_svg(FRAMES, duration_s=2.0)
    assert svg.count("<polyline") == 2
    assert svg.count('class="gap"') == 1


def test_each_face_has_its_own_line() -> None:
    svg = timeline_svg([*FRAMES, frame(0.0, 0.7, face=1), frame(0.5, 0.8, face=1)], duration_s=2.0)
    assert "score face-1" in svg


def test_the_most_suspicious_face_of_a_frame_counts() -> None:
    assert worst_face([frame(0.0, 0.2), frame(0.0, 0.8, face=1)]) == [(0.0, 0.8)]


def test_an_hour_is_thinned_out_without_losing_a_peak() -> None:
    points = [(i / 25, 0.1) for i in range(90_000)]
    points[44_321] = (44_321 / 25, 0.99)
    thin = thin_out(points, MOST_POINTS)
    assert len(thin) == MOST_POINTS
    assert max(score for _, score in thin if score is not None) == 0.99


def test_points_stay_inside_the_picture_when_the_container_states_no_length() -> None:
    svg = timeline_svg(FRAMES, duration_s=0.0)
    assert all(float(x) <= 760 for x in re.findall(r'cx="([\d.]+)"', svg))


def test_a_clip_without_a_scored_frame_says_so() -> None:
    assert describe([(0.0, None)]) == "No frame could be scored."
