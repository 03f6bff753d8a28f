"""Confidence intervals of means and shares, and McNemar's test of two models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest

from fer_pipeline.metrics.classification import Interval


@dataclass(frozen=True)
class McNemar:
    """Rows on which only model a, or only model b, is right, and the p-value."""

    only_a: int
    only_b: int
    p_value: float


def mcnemar(right_a: npt.NDArray[np.bool_], right_b: npt.NDArray[np.bool_]) -> McNemar:
    """Run the exact two-sided test of McNemar (1947) on two arrays bool (N,).

    The p-value is 1 where both models are right on the same rows.
    """
    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    differ = only_a + only_b
    p = float(binomtest(only_a, differ).pvalue) if differ else 1.0
    return McNemar(only_a, only_b, p)


def mean_interval(
    scores: npt.NDArray[np.floating[Any]], *, confidence: float = 0.95, resamples: int = 1000, seed: int = 0
) -> Interval:
    """Compute the mean of scores (N,) with its percentile bootstrap interval.

    Scores may be differences of two models on the same rows.
    """
    rng = np.random.default_rng(seed)
    means = [scores[rng.integers(len(scores), size=len(scores))].mean() for _ in range(resamples)]
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, (tail, 1 - tail))
    return Interval(float(scores.mean()), float(low), float(high))


def share_interval(right: int, rows: int) -> Interval:
    """Compute a share with its 95 % interval of Wilson (1927).

    `right` of `rows`, which are at least one.
    """
    low, high = binomtest(right, rows).proportion_ci(method="wilson")
    return Interval(right / rows, float(low), float(high))
