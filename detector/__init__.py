"""Does a clip look synthetic? Scores faces; answers with a calibrated number and evidence, or that it can't tell."""

from detector.detector import Detector
from detector.report import DetectorError, DetectorReport, FrameScore, Thresholds

__all__ = ["Detector", "DetectorError", "DetectorReport", "FrameScore", "Thresholds"]
