"""What `Detector.score` promises about a clip, with real MP4 files."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from detector import Detector, DetectorError, DetectorReport
from detector.calibration import Calibration
from media import read_frames

from .conftest import panned

Maker = Callable[[Tensor], Path]


def with_gates(detector: Detector, **changes: float) -> Detector:
    """The shipped network behind other gates."""
    calibration: Calibration = replace(detector.calibration, **changes)  # type: ignore[arg-type]
    return Detector(detector.model, calibration, detector.feature_range, detector.model_digest)


def assert_abstained(report: DetectorReport, reason: str) -> None:
    assert report.state == "abstained"
    assert reason in report.reason
    assert report.probability is None
    assert report.log_likelihood_ratio is None


def test_a_clip_without_a_face_is_not_applicable_and_never_one_half(detector: Detector, clip_of: Maker) -> None:
    noise = torch.randint(0, 255, (40, 3, 60, 80), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    report = detector.score(read_frames(clip_of(noise.repeat_interleave(4, 2).repeat_interleave(4, 3))))
    assert_abstained(report, "sampled frames")
    assert report.frames
    assert all(frame.box is None and frame.score is None and frame.face_px == 0 for frame in report.frames)


def test_no_frames_at_all_is_an_abstention(detector: Detector) -> None:
    assert_abstained(detector.score([]), "no frames")


def test_a_short_clip_is_refused_with_its_length(detector: Detector, portrait: Tensor, clip_of: Maker) -> None:
    assert_abstained(detector.score(read_frames(clip_of(panned(portrait, 12, 320)))), "0.48 s long, needs 1 s")


def test_a_small_face_is_refused_with_its_size(detector: Detector, face_clip: Path) -> None:
    report = with_gates(detector, min_face_px=250.0).score(read_frames(face_clip))
    assert_abstained(report, "px, needs 250 px")
    assert all(frame.score is None for frame in report.frames)
    assert all(0 < frame.face_px < 250 for frame in report.frames)


def test_a_face_far_from_training_is_refused(detector: Detector, face_clip: Path) -> None:
    report = with_gates(detector, min_face_px=1.0, max_distance=1e-6).score(read_frames(face_clip))
    assert_abstained(report, "unlike those the detector knows")
    assert report.distance is not None
    assert report.distance > 1e-6


def test_a_face_is_scored_with_numbers_that_agree(detector: Detector, face_clip: Path) -> None:
    open_gates = with_gates(detector, min_face_px=1.0, max_distance=1e9)
    report = open_gates.score(read_frames(face_clip))
    assert report.probability is not None
    assert report.log_likelihood_ratio is not None
    assert report.probability == pytest.approx(1 / (1 + torch.tensor(-report.log_likelihood_ratio).exp().item()))
    assert (report.state == "likely_synthetic") == (report.probability > report.thresholds.probability)
    assert [frame.time_s for frame in report.frames] == sorted({frame.time_s for frame in report.frames})
    for frame in report.frames:
        assert frame.score is not None
        assert frame.box is not None
        assert 0 <= frame.score <= 1
        assert -20 < frame.box[0] < frame.box[2] < 340


def test_block_sizes_do_not_change_the_answer(detector: Detector, face_clip: Path) -> None:
    whole = detector.score(read_frames(face_clip, block_frames=100))
    assert detector.score(read_frames(face_clip, block_frames=3)) == whole
    assert detector.score(read_frames(face_clip, block_frames=7)) == whole


def test_anything_but_blocks_of_rgb_frames_is_an_error(detector: Detector, face_clip: Path) -> None:
    block = next(iter(read_frames(face_clip)))
    with pytest.raises(DetectorError, match="uint8"):
        detector.score([replace(block, frames=block.frames.float())])
