"""Scores become probabilities in order, and thresholds hold the rate they stand for."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from detector.calibration import Calibration, FeatureRange, conformal_threshold

logits = st.floats(-50, 50)


@given(logits, logits, st.floats(0.01, 5), st.floats(-5, 5))
def test_a_higher_logit_never_means_a_lower_probability(a: float, b: float, slope: float, intercept: float) -> None:
    calibration = Calibration(slope, intercept, 0.0, 0.05, 128, 64, 2)
    low, high = sorted((a, b))
    assert 0 < calibration.probability(low) <= calibration.probability(high) < 1


@given(logits)
def test_evidence_is_never_stronger_than_the_held_out_persons_support(logit: float) -> None:
    calibration = Calibration(3.0, 0.0, 0.0, 0.05, 128, 64, 2)
    assert abs(calibration.log_likelihood_ratio(logit)) <= math.log(129)


def test_the_conformal_threshold_holds_its_rate_on_new_reals() -> None:
    random = np.random.default_rng(4)
    exceeded = [
        float(np.mean(random.normal(size=500) > conformal_threshold(list(random.normal(size=59)), 0.05)))
        for _ in range(400)
    ]
    assert 0.03 < np.mean(exceeded) <= 0.055


def test_too_few_reals_cannot_support_a_strict_rate() -> None:
    assert conformal_threshold([float(i) for i in range(19)], 0.05) == 18.0
    with pytest.raises(ValueError, match="18 real scores"):
        conformal_threshold([float(i) for i in range(18)], 0.05)


def test_features_like_those_of_training_are_near_and_others_far() -> None:
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(40, 40, generator=generator)
    training = torch.randn(2000, 40, generator=generator) @ mixing
    feature_range = FeatureRange.fitted(training, directions=8)
    near = [feature_range.distance(torch.randn(1, 40, generator=generator) @ mixing) for _ in range(200)]
    assert 0.8 < np.median(near) < 1.2
    assert feature_range.distance(training[:1] + 20 * training.std(0)) > max(near)
