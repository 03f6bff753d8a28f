"""Confidence intervals and McNemar's test: known values."""

from __future__ import annotations

import numpy as np
import pytest

from fer_pipeline.metrics.intervals import mcnemar, mean_interval, share_interval


@pytest.mark.parametrize(
    ("right", "rows", "low", "high"),
    [(0, 10, 0.0, 0.27754), (10, 10, 0.72246, 1.0), (8, 10, 0.49016, 0.94332), (50, 100, 0.40383, 0.59617)],
)
def test_wilson_interval_has_known_ends(right: int, rows: int, low: float, high: float) -> None:
    found = share_interval(right, rows)
    assert (found.estimate, found.low, found.high) == pytest.approx((right / rows, low, high), abs=1e-5)


def test_mcnemar_counts_rows_that_only_one_gets_right() -> None:
    a = np.array([True] * 9 + [False] * 1 + [True] * 5)
    b = np.array([False] * 9 + [True] * 1 + [True] * 5)
    found = mcnemar(a, b)
    assert (found.only_a, found.only_b) == (9, 1)
    assert found.p_value == pytest.approx(2 * (1 + 10) / 2**10)
    assert mcnemar(a, a).p_value == 1.0


def test_mean_interval_has_the_width_of_the_normal_one() -> None:
    scores = np.random.default_rng(0).normal(3.0, 2.0, 400)
    found = mean_interval(scores, resamples=2000)
    assert found.estimate == scores.mean()
    assert found.high - found.low == pytest.approx(2 * 1.96 * scores.std() / 20, rel=0.1)


def test_mean_interval_follows_confidence_and_seed() -> None:
    scores = np.random.default_rng(2).normal(3, 2, 500)
    found = mean_interval(scores, confidence=0.8, resamples=4000)
    spread = 1.28155 * scores.std() / np.sqrt(500)
    assert (found.low, found.high) == pytest.approx((scores.mean() - spread, scores.mean() + spread), abs=0.015)
    assert mean_interval(scores) == mean_interval(scores, confidence=0.95, resamples=1000, seed=0)
    assert mean_interval(scores, seed=1) != mean_interval(scores)
