"""Temperature scaling."""

from __future__ import annotations

import numpy as np
import pytest

from fer_pipeline.errors import ModelError
from fer_pipeline.metrics import classification
from fer_pipeline.metrics.calibration import fit_temperature


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_a_known_temperature_is_recovered(temperature: float) -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 2, (20_000, 7))
    chances = classification.softmax(logits)
    labels = (chances.cumsum(axis=1) > rng.uniform(size=(20_000, 1))).argmax(axis=1)
    assert fit_temperature(logits * temperature, np.eye(7)[labels]) == pytest.approx(temperature, rel=0.05)


def test_the_search_stays_in_its_range() -> None:
    sure = 0.1 * np.eye(7)[[0, 1, 2]]
    assert fit_temperature(sure, np.eye(7)[[0, 1, 2]]) == pytest.approx(0.05, rel=0.01)
    assert fit_temperature(sure, np.eye(7)[[1, 2, 3]]) == pytest.approx(20, rel=0.01)


def test_logits_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ModelError, match=r"not finite.*train again"):
        fit_temperature(np.full((2, 7), np.nan), np.eye(7)[[0, 1]])


@pytest.mark.parametrize("share", [0.3, 0.7, 0.9])
def test_temperature_makes_confidence_equal_accuracy(share: float) -> None:
    """Where all rows have the logits (5, 0, ..., 0), NLL is least at p0 = exp(5 / T) / (exp(5 / T) + 6) = accuracy."""
    logits = np.tile([5.0, 0, 0, 0, 0, 0, 0], (100, 1))
    labels = np.r_[np.zeros(round(100 * share), int), np.ones(round(100 * (1 - share)), int)]
    expected = 5 / np.log(6 * share / (1 - share))
    assert fit_temperature(logits, np.eye(7)[labels]) == pytest.approx(expected, rel=1e-3)
