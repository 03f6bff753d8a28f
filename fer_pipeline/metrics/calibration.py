"""Temperature scaling (Guo et al. 2017, arXiv 1706.04599); argmax is unchanged."""

from __future__ import annotations

import math

from scipy.optimize import minimize_scalar

from fer_pipeline.errors import ModelError
from fer_pipeline.metrics.classification import Floats, Ints, nll, softmax

CALIBRATION_FILE = "calibration.json"
"""File in which evaluation stores the temperature for export."""

RANGE = (0.05, 20.0)
"""Range of the search."""


def fit_temperature(logits: Floats, labels: Ints) -> float:
    """Fit the temperature of least NLL of softmax(logits (N, 7) / temperature).

    `labels` are those of the rows, int (N,).

    Raises `ModelError` where a logit is not finite.
    """
    if not math.isfinite(float(logits.sum())):
        raise ModelError("some validation logits are not finite, so no temperature can be fitted: train again")
    found = minimize_scalar(
        lambda log_t: nll(labels, softmax(logits, math.exp(log_t))), bounds=(math.log(RANGE[0]), math.log(RANGE[1]))
    )
    return math.exp(float(found.x))
