"""Evidence made by hand: real value types, no files."""

import math
from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction

from detector import DetectorReport, FrameScore, Thresholds
from media import MediaInfo
from provenance import CredentialsReport, EngineVerdict, Finding, Ingredient, SourceStep
from vasari.clip_audit import ClipAudit
from vasari.evidence import Evidence, LogEvidence, RepositoryEvidence
from vasari.verdict import fold
from watermark import Detection, Payload

RELEASE = 0x1F3A9C0044D2E711
OTHER_RELEASE = 5
NOW = datetime(2026, 11, 22, 8, 30, tzinfo=UTC)
PROVED = LogEvidence("proved", "The decision is entry 12 of the transparency log.", 12)
REGISTERED = RepositoryEvidence(RELEASE, registered=True, created_at=NOW, fingerprint_distance=0.02)


def credentials(state: str, **fields: object) -> CredentialsReport:
    """A report in `state`; a verified one names the release."""
    engines = (EngineVerdict("c2pa-python", "0.38.1", state), EngineVerdict("encypher-c2pa", "1.7.1", state))  # type: ignore[arg-type]
    report = CredentialsReport(state=state, findings=(), engines=engines, engines_agree=True)  # type: ignore[arg-type]
    if state == "verified":
        report = replace(report, manifest_id=RELEASE, signer="Example Lab", signed_at=NOW)
    return replace(report, **fields)  # type: ignore[arg-type]


def mark(medium: str, manifest_id: int | None = RELEASE) -> Detection:
    """A mark of `manifest_id`, or none."""
    payload = None if manifest_id is None else Payload(manifest_id)
    return Detection(
        medium=medium,  # type: ignore[arg-type]
        payload=payload,
        key_id=None if payload is None else 7,
        log10_false_positive=0.0 if payload is None else -21.4,
        pilot_z=0.3 if payload is None else 9.0,
        seconds_used=6.2,
    )


def detection(state: str, probability: float | None = None, reason: str = "") -> DetectorReport:
    """A detector report with a short timeline that has a gap."""
    scores = [0.2, 0.4, None, 0.9]
    frames = tuple(
        FrameScore(time_s=i * 0.5, box=None if s is None else (1, 1, 99, 99), score=s, face_px=98, face=0)
        for i, s in enumerate(scores)
    )
    return DetectorReport(
        state=state,  # type: ignore[arg-type]
        probability=probability,
        log_likelihood_ratio=None if probability is None else math.log(probability / (1 - probability)),
        reason=reason,
        frames=frames,
        thresholds=Thresholds(0.62, 0.05, 40, 1.0, 5, 0.25, 64.0, 12.0),
        model_digest="ab" * 32,
    )


def unmarked(**fields: object) -> Evidence:
    """No credentials, no marks; everything was looked for."""
    found = Evidence(credentials=credentials("absent"), video_mark=mark("video", None), audio_mark=mark("audio", None))
    return replace(found, **fields)  # type: ignore[arg-type]


def released(**fields: object) -> Evidence:
    """A clip as it left the release pipeline."""
    found = Evidence(
        credentials=credentials("verified"),
        video_mark=mark("video"),
        audio_mark=mark("audio"),
        repository=REGISTERED,
        log=PROVED,
    )
    return replace(found, **fields)  # type: ignore[arg-type]


def audit(evidence: Evidence, *, path: str = "uploads/clip.mp4") -> ClipAudit:
    """An audit of a 2 s clip with this evidence."""
    info = MediaInfo(path, "mp4", "h264", "aac", 512, 512, Fraction(25), 2.0, 50, 0, 48_000, 1, 2)
    return ClipAudit(path, "9f" * 32, 123_456, info, evidence, fold(evidence), (), NOW, 1.25)


HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "javascript:alert(1)",
    "'; DROP TABLE manifests; --",
    "{{ 7 * 7 }}{% include '/etc/passwd' %}",
    "\x1b[2J\x1b]0;owned\x07",
    "gpj.\u202e4pm",
    "x" * 10_000,
)


def hostile_credentials(text: str) -> CredentialsReport:
    """A report whose every free text came from a stranger."""
    return credentials(
        "untrusted",
        signer=text,
        findings=(Finding(text, "failure", text, text),),
        ingredients=(Ingredient(title=text, media_type=text, sha256=None),),
        sources=(SourceStep(0, text, text, text, text, "failed", (text,)),),
    )
