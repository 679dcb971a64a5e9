"""From a face's clip logit to probability, likelihood ratio and threshold; coefficients only, read from JSON.

Platt scaling was fitted on held-out persons with equal weight for real and synthetic. The threshold is split conformal:
the ceil((n + 1)(1 - rate))-th smallest of n held-out real persons' scores, so that at most `rate` of further real
persons from the same distribution score above it (Vovk; Angelopoulos and Bates 2021).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Calibration:
    """Coefficients and gates; see `Thresholds` for the gates' meaning."""

    slope: float  # above 0, so a higher logit never means a lower probability
    intercept: float
    threshold_logit: float
    false_positive_rate: float
    persons: int
    min_face_px: float
    max_distance: float

    def __post_init__(self) -> None:
        if not self.slope > 0:
            raise ValueError(f"the slope must be above 0, came {self.slope}")

    def log_likelihood_ratio(self, logit: float) -> float:
        """Natural logarithm; no stronger than the number of held-out persons can support."""
        strongest = math.log(self.persons + 1)
        return min(strongest, max(-strongest, self.slope * logit + self.intercept))

    def probability(self, logit: float) -> float:
        """Of synthetic, at even prior: 0..1."""
        return 1 / (1 + math.exp(-self.log_likelihood_ratio(logit)))


def conformal_threshold(real_scores: Sequence[float], rate: float) -> float:
    """Score that at most `rate` of further reals exceed. Raises ValueError where n is too small for the rate."""
    rank = math.ceil((len(real_scores) + 1) * (1 - rate))
    if rank > len(real_scores):
        raise ValueError(f"{len(real_scores)} real scores cannot support a false-positive rate of {rate}")
    return sorted(real_scores)[rank - 1]


@dataclass(frozen=True)
class FeatureRange:
    """Mean and main directions of the training features: how far is a face from what training saw?"""

    mean: Tensor  # [D]
    directions: Tensor  # [K, D], each divided by the standard deviation along it

    def distance(self, features: Tensor) -> float:
        """Features [N, D] of one face -> Mahalanobis distance of their mean per root of K."""
        along = self.directions @ (features.double().mean(0) - self.mean.double()).to(self.directions.dtype)
        return float(along.square().mean().sqrt())

    @classmethod
    def fitted(cls, features: Tensor, *, directions: int) -> "FeatureRange":
        """Principal directions of features [N, D]."""
        mean = features.mean(0)
        values, vectors = torch.linalg.eigh(torch.cov((features - mean).T))
        chosen = vectors[:, -directions:].T / values[-directions:].clamp_min(1e-12).sqrt()[:, None]
        return cls(mean, chosen.contiguous())
