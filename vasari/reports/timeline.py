"""The detector's score over time as an inline SVG: a large one for a report, a small one for a table row."""

from collections.abc import Callable, Sequence
from itertools import groupby, pairwise

from markupsafe import Markup

from detector import FrameScore

WIDTH_PX, HEIGHT_PX = 760, 168
LEFT_PX, RIGHT_PX, TOP_PX, BOTTOM_PX = 46, 12, 12, 30
SPARK_WIDTH_PX, SPARK_HEIGHT_PX = 160, 32
MOST_POINTS, MOST_DOTS = 600, 120
MOST_FACES = 4
TICK_STEPS_S = (0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)

Point = tuple[float, float | None]
Scale = Callable[[float], float]


def timeline_svg(frames: Sequence[FrameScore], *, duration_s: float) -> Markup:
    """Score (0 to 1) against time, one line per face; stretches where no face could be scored are shaded."""
    points = thin_out(worst_face(frames), MOST_POINTS)
    span_s = _span(points, duration_s)
    plot_width, plot_height = WIDTH_PX - LEFT_PX - RIGHT_PX, HEIGHT_PX - TOP_PX - BOTTOM_PX

    def x(time_s: float) -> float:
        return LEFT_PX + plot_width * min(max(time_s / span_s, 0.0), 1.0)

    def y(score: float) -> float:
        return TOP_PX + plot_height * (1.0 - score)

    parts = [*_axes(x, y, span_s), *_gaps(points, x, span_s)]
    for number, face in enumerate(faces_of(frames)[:MOST_FACES]):
        line = thin_out(one_face(frames, face), MOST_POINTS)
        parts += [f'<polyline class="score face-{number}" points="{run}"/>' for run in _runs(line, x, y)]
        if len(line) <= MOST_DOTS:
            parts += [
                f'<circle class="dot face-{number}" cx="{x(time_s):.1f}" cy="{y(score):.1f}" r="2.6"/>'
                for time_s, score in line
                if score is not None
            ]
    return _svg(WIDTH_PX, HEIGHT_PX, "timeline", describe(points), parts)


def sparkline_svg(frames: Sequence[FrameScore], *, duration_s: float) -> Markup:
    """The same line, small, without axes."""
    points = thin_out(worst_face(frames), SPARK_WIDTH_PX)
    span_s = _span(points, duration_s)

    def x(time_s: float) -> float:
        return 2 + (SPARK_WIDTH_PX - 4) * min(max(time_s / span_s, 0.0), 1.0)

    def y(score: float) -> float:
        return 2 + (SPARK_HEIGHT_PX - 4) * (1.0 - score)

    middle = f'<line class="grid" x1="2" x2="{SPARK_WIDTH_PX - 2}" y1="{y(0.5):.1f}" y2="{y(0.5):.1f}"/>'
    lines = [f'<polyline class="score" points="{run}"/>' for run in _runs(points, x, y)]
    return _svg(SPARK_WIDTH_PX, SPARK_HEIGHT_PX, "spark", describe(points), [middle, *lines])


def faces_of(frames: Sequence[FrameScore]) -> list[int | None]:
    """The faces that have scores, in the order in which they appear."""
    return list(dict.fromkeys(frame.face for frame in frames if frame.score is not None))


def worst_face(frames: Sequence[FrameScore]) -> list[Point]:
    """(time, score) per frame: the most suspicious face of each, None where no face was scored."""
    ordered = sorted(frames, key=lambda frame: frame.time_s)
    points: list[Point] = []
    for time_s, faces in groupby(ordered, key=lambda frame: float(frame.time_s)):
        scores = [face.score for face in faces if face.score is not None]
        points.append((time_s, max(scores) if scores else None))
    return points


def one_face(frames: Sequence[FrameScore], face: int | None) -> list[Point]:
    """(time, score) per frame of one face, None where it was not scored."""
    scores = {float(frame.time_s): frame.score for frame in frames if frame.face == face}
    return [(time_s, scores.get(time_s)) for time_s in sorted({float(frame.time_s) for frame in frames})]


def thin_out(points: Sequence[Point], most: int) -> list[Point]:
    """At most `most` points; of each stretch the most suspicious one stays."""
    if len(points) <= most:
        return list(points)
    edges = [round(i * len(points) / most) for i in range(most + 1)]
    stretches = (points[a:b] for a, b in pairwise(edges))
    return [max(stretch, key=lambda point: -1.0 if point[1] is None else point[1]) for stretch in stretches]


def describe(points: Sequence[Point]) -> str:
    """The plot in a sentence, for those who don't see it."""
    scores = [score for _, score in points if score is not None]
    if not scores:
        return "No frame could be scored."
    return (
        f"Score over time: {len(scores)} of {len(points)} sampled frames scored, lowest {min(scores):.2f}, "
        f"mean {sum(scores) / len(scores):.2f}, highest {max(scores):.2f}."
    )


def _span(points: Sequence[Point], duration_s: float) -> float:
    """The time axis' length: some containers don't state their duration."""
    return max([duration_s, 1e-3, *(time_s for time_s, _ in points[-1:])])


def _runs(points: Sequence[Point], x: Scale, y: Scale) -> list[str]:
    """Unbroken stretches of scored frames as SVG point lists."""
    runs = []
    for scored, stretch in groupby(points, key=lambda point: point[1] is not None):
        if scored:
            runs.append(" ".join(f"{x(time_s):.1f},{y(score or 0.0):.1f}" for time_s, score in stretch))
    return runs


def _axes(x: Scale, y: Scale, span_s: float) -> list[str]:
    parts = [
        f'<line class="grid" x1="{LEFT_PX}" x2="{WIDTH_PX - RIGHT_PX}" y1="{y(score):.1f}" y2="{y(score):.1f}"/>'
        f'<text x="{LEFT_PX - 8}" y="{y(score) + 4:.1f}" text-anchor="end">{score:g}</text>'
        for score in (0.0, 0.5, 1.0)
    ]
    step_s = next((step for step in TICK_STEPS_S if span_s / step <= 10), span_s / 10)
    for tick in range(int(span_s / step_s + 1e-9) + 1):
        time_s = tick * step_s
        parts.append(f'<text x="{x(time_s):.1f}" y="{HEIGHT_PX - 8}" text-anchor="middle">{_clock(time_s)}</text>')
    return parts


def _gaps(points: Sequence[Point], x: Scale, span_s: float) -> list[str]:
    """Shaded stretches without a score, half a sample to either side."""
    half_s = 0.5 * span_s / max(len(points), 1)
    parts = []
    for scored, group in groupby(points, key=lambda point: point[1] is not None):
        stretch = list(group)
        if not scored:
            left, right = x(stretch[0][0] - half_s), x(stretch[-1][0] + half_s)
            parts.append(
                f'<rect class="gap" x="{left:.1f}" y="{TOP_PX}" width="{right - left:.1f}" '
                f'height="{HEIGHT_PX - TOP_PX - BOTTOM_PX}"/>'
            )
    return parts


def _clock(time_s: float) -> str:
    if time_s < 60:
        return f"{time_s:g} s"
    return f"{int(time_s // 60)}:{int(time_s % 60):02d}"


def _svg(width: int, height: int, name: str, description: str, parts: Sequence[str]) -> Markup:
    """Only numbers and our own words enter `parts`, so joining them is safe."""
    return Markup(  # noqa: S704
        f'<svg class="{name}" viewBox="0 0 {width} {height}" role="img" aria-label="{description}">'
        + "".join(parts)
        + "</svg>"
    )
