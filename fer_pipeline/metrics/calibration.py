"""Temperature scaling (Guo et al. 2017, arXiv 1706.04599); argmax is unchanged."""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import minimize_scalar

from fer_pipeline.errors import ModelError
from fer_pipeline.metrics.learning import Floats, softmax
from fer_pipeline.metrics.votes import cross_entropy

CALIBRATION_FILE = "calibration.json"
"""File in which evaluation stores the temperature for export."""

RANGE = (0.05, 20.0)
"""Range of the search."""


def fit_temperature(logits: Floats, targets: Floats) -> float:
    """Fit the temperature of least cross-entropy of softmax(logits / temperature).

    `logits` are (N, 7), `targets` probabilities (N, 7): one-hot rows of labels, or shares of votes.

    Raises `ModelError` where a logit is not finite.
    """
    if not np.isfinite(logits).all():
        raise ModelError("some validation logits are not finite, so no temperature can be fitted: train again")
    found = minimize_scalar(
        lambda log_t: cross_entropy(targets, softmax(logits, math.exp(log_t))), bounds=(math.log(RANGE[0]), math.log(RANGE[1]))
    )
    return math.exp(float(found.x))
