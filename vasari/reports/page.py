"""Audits as self-contained HTML pages: escaped, without scripts, without a single outside request."""

import base64
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from statistics import mean, median

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

import vasari
from detector import DetectorReport, FrameScore
from provenance import MATCH_DISTANCE
from vasari.clip_audit import ClipAudit, UnreadableClip
from vasari.plain_text import printable
from vasari.ranking import ranked
from vasari.reports.timeline import faces_of, sparkline_svg, timeline_svg
from vasari.verdict import CONCERN, TITLES, State

TONES = {
    State.VERIFIED_RELEASE: "good",
    State.CREDENTIALS_STRIPPED: "known",
    State.CREDENTIALS_BROKEN: "bad",
    State.LIKELY_SYNTHETIC: "bad",
    State.NO_EVIDENCE: "open",
    State.CANT_TELL: "warn",
}
CREDENTIALS_TONES = {"verified": "good", "untrusted": "warn", "broken": "bad", "absent": "open", "unreadable": "warn"}
DETECTOR_TONES = {"likely_synthetic": "bad", "no_evidence": "open", "abstained": "warn"}
SEVERITY_TONES = {"failure": "bad", "warning": "warn", "note": "open", "passed": "good"}

SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def clip_page(clip: ClipAudit) -> str:
    """The report on one clip."""
    return _render("clip.html", clip=clip, made_at=clip.audited_at)


def scan_page(clips: Sequence[ClipAudit], unreadable: Sequence[UnreadableClip], *, made_at: datetime) -> str:
    """One page on many files: counts, a ranked table, the evidence per clip."""
    counted = Counter(clip.verdict.state for clip in clips)
    return _render(
        "scan.html",
        clips=ranked(clips),
        unreadable=unreadable,
        tally=[(state, counted[state]) for state in CONCERN if counted[state]],
        made_at=made_at,
    )


def demo_page(
    *, clip: ClipAudit, stripped: ClipAudit, video: bytes, contact_sheet: bytes, steps: Sequence[tuple[str, str]]
) -> str:
    """The demo's report: the clip itself, its frames, both audits and what was done, in order."""
    return _render(
        "demo.html",
        clip=clip,
        stripped=stripped,
        video=video,
        contact_sheet=contact_sheet,
        steps=steps,
        made_at=clip.audited_at,
    )


def _render(template: str, **values: object) -> str:
    return (
        _environment()
        .get_template(template)
        .render(**values, version=vasari.__version__, titles=TITLES, same_clip_distance=MATCH_DISTANCE)
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("vasari.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "tone": TONES.__getitem__,
        "credentials_tone": CREDENTIALS_TONES.__getitem__,
        "detector_tone": DETECTOR_TONES.__getitem__,
        "severity_tone": lambda severity: SEVERITY_TONES.get(severity, "open"),
        "shown": printable,
        "moment": moment,
        "odds": odds,
        "likelihood": likelihood,
        "release_id": lambda manifest_id: f"{manifest_id:016x}",
        "short_digest": lambda digest: str(digest).removeprefix("sha256:")[:16],
        "words": lambda name: name.replace("_", " "),
        "data_uri": data_uri,
        "timeline": _timeline,
        "sparkline": _sparkline,
        "faces": face_rows,
    }
    return environment


def moment(value: datetime | str | None) -> str:
    """A point in time as `2026-11-22 08:30 UTC`."""
    if value is None or isinstance(value, str):
        return printable(value or "unknown")
    return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def odds(log10_probability: float) -> str:
    """A tiny probability as `1 in 10²¹`; nobody reads 1e-21 aright."""
    power = str(int(-log10_probability)).translate(SUPERSCRIPTS)
    return "1" if log10_probability > -1 else f"1 in 10{power}"


def likelihood(log_ratio: float) -> str:
    """A natural-log likelihood ratio in words."""
    side = "synthetic" if log_ratio >= 0 else "real"
    factor = 10 ** min(abs(log_ratio) / 2.302585, 6)
    return (
        f"{factor:,.1f} times likelier if {side}" if factor < 1000 else f"over {factor:,.0f} times likelier if {side}"
    )


def data_uri(content: bytes, media_type: str) -> str:
    """`content` inside the page itself."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"


@dataclass(frozen=True)
class FaceRow:
    """One face over the whole clip. `face_px` is its median size."""

    number: int
    first_s: float
    last_s: float
    scored: int
    mean: float
    highest: float
    face_px: float


def face_rows(report: DetectorReport) -> list[FaceRow]:
    """The evidence per face, in the order in which the faces appear."""
    return [
        _face_row(number, [frame for frame in report.frames if frame.face == face and frame.score is not None])
        for number, face in enumerate(faces_of(report.frames), start=1)
    ]


def _face_row(number: int, frames: Sequence[FrameScore]) -> FaceRow:
    scores = [frame.score or 0.0 for frame in frames]
    return FaceRow(
        number=number,
        first_s=min(float(frame.time_s) for frame in frames),
        last_s=max(float(frame.time_s) for frame in frames),
        scored=len(scores),
        mean=mean(scores),
        highest=max(scores),
        face_px=median(frame.face_px for frame in frames),
    )


def _timeline(clip: ClipAudit) -> Markup:
    assert clip.evidence.detector is not None
    assert clip.info is not None
    return timeline_svg(clip.evidence.detector.frames, duration_s=clip.info.duration_s)


def _sparkline(clip: ClipAudit) -> Markup:
    assert clip.evidence.detector is not None
    assert clip.info is not None
    return sparkline_svg(clip.evidence.detector.frames, duration_s=clip.info.duration_s)
