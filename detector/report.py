"""What the detector says about a clip, and the one error it raises."""

from dataclasses import dataclass
from typing import Literal

from detector.face_crops import Box

State = Literal["likely_synthetic", "no_evidence", "abstained"]


class DetectorError(Exception):
    """Weights missing, damaged or of another version, or input that is no block of frames."""


@dataclass(frozen=True)
class FrameScore:
    """One face of one sampled frame; box, score and face are None where no face was found."""

    time_s: float
    box: Box | None  # x0, y0, x1, y1 in pixels of the frame
    score: float | None  # 0..1 synthetic, this frame alone; None also where the face is too small
    face_px: float  # longer side of the box; 0 without a face
    face: int | None = None  # the same number is the same face over time


@dataclass(frozen=True)
class Thresholds:
    """The numbers a verdict was measured against; part of every report."""

    probability: float  # likely_synthetic from here on
    false_positive_rate: float  # share of held-out real persons that this threshold still flags, at most
    calibration_persons: int  # persons behind that rate
    min_duration_s: float
    min_face_frames: int
    min_face_share: float  # of the sampled frames
    min_face_px: float
    max_distance: float  # from the features of training; 99th percentile of held-out reals


@dataclass(frozen=True)
class DetectorReport:
    """State, calibrated numbers and the frames behind them.

    `probability` assumes as many synthetic as real clips; `log_likelihood_ratio` (natural logarithm, positive speaks
    for synthetic) lets a reviewer use another prior. Both are None when abstained, and `reason` says why.
    """

    state: State
    probability: float | None
    log_likelihood_ratio: float | None
    reason: str
    frames: tuple[FrameScore, ...]
    thresholds: Thresholds
    model_digest: str  # SHA-256 over weights and calibration
    distance: float | None = None  # of the deciding face from the features of training
