"""Confidence intervals: paired bootstrap of two models on the same rows, Wilson intervals of shares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest

from fer_pipeline.metrics.classification import Interval


@dataclass(frozen=True)
class McNemar:
    """On how many rows only a, and only b, is right, and how likely so uneven a split is where both are right equally often."""

    only_a: int
    only_b: int
    p_value: float


def mcnemar(right_a: npt.NDArray[np.bool_], right_b: npt.NDArray[np.bool_]) -> McNemar:
    """The exact two-sided test of McNemar (1947) on bool (N,); p is 1 where the two are right on the same rows."""
    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    differ = only_a + only_b
    p = float(binomtest(only_a, differ).pvalue) if differ else 1.0
    return McNemar(only_a, only_b, p)


def mean_interval(
    scores: npt.NDArray[np.floating[Any]], *, confidence: float = 0.95, resamples: int = 1000, seed: int = 0
) -> Interval:
    """Mean of scores (N,) with its percentile bootstrap interval over rows; scores may be differences of two models."""
    rng = np.random.default_rng(seed)
    means = [scores[rng.integers(len(scores), size=len(scores))].mean() for _ in range(resamples)]
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, (tail, 1 - tail))
    return Interval(float(scores.mean()), float(low), float(high))


_Z: Final = 1.959964  # of the standard normal distribution, two-sided 95 %


def share_interval(right: int, rows: int) -> Interval:
    """`right` of `rows`, at least one, with the 95 % interval of Wilson (1927)."""
    share, z2 = right / rows, _Z**2
    centre = (share + z2 / (2 * rows)) / (1 + z2 / rows)
    half = _Z * (share * (1 - share) / rows + z2 / (4 * rows**2)) ** 0.5 / (1 + z2 / rows)
    return Interval(share, max(centre - half, 0.0), min(centre + half, 1.0))
