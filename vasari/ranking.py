"""The order in which a reviewer wants to see clips."""

from collections.abc import Iterable

from vasari.clip_audit import ClipAudit
from vasari.verdict import CONCERN


def ranked(clips: Iterable[ClipAudit]) -> list[ClipAudit]:
    """What needs a look first; within a state conflicts first, then the detector's probability, then the name."""
    return sorted(clips, key=_concern)


def _concern(clip: ClipAudit) -> tuple[int, int, float, str]:
    report = clip.evidence.detector
    probability = report.probability if report is not None and report.probability is not None else 0.0
    return CONCERN.index(clip.verdict.state), -len(clip.verdict.conflicts), -probability, clip.path
