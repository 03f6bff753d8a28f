"""ROC and precision-recall curves: scikit-learn and known values."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as reference

from fer_pipeline.metrics import classification
from fer_pipeline.metrics.curves import Curve, precision_recall, roc, thinned

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 7, 400)
LOGITS = RNG.normal(0, 1, (400, 7)) + 1.5 * np.eye(7)[LABELS]
PROBABILITIES = classification.softmax(LOGITS)


@pytest.mark.parametrize("emotion", range(7))
def test_curves_agree_with_scikit_learn(emotion: int) -> None:
    positive, scores = emotion == LABELS, np.round(PROBABILITIES[:, emotion], 2)  # rounding makes ties
    assert roc(positive, scores).area == pytest.approx(reference.roc_auc_score(positive, scores))
    assert precision_recall(positive, scores).area == pytest.approx(reference.average_precision_score(positive, scores))


def test_a_curve_of_a_class_without_rows_has_no_area() -> None:
    nobody = np.zeros(5, bool)
    assert np.isnan(roc(nobody, np.linspace(0, 1, 5)).area)
    assert np.isnan(precision_recall(nobody, np.linspace(0, 1, 5)).area)


def test_a_thinned_curve_keeps_its_ends_and_area() -> None:
    curve = roc(LABELS == 0, PROBABILITIES[:, 0])
    thin = thinned(curve, 20)
    assert len(thin.x) <= 20
    assert (thin.x[0], thin.x[-1], thin.area) == (curve.x[0], curve.x[-1], curve.area)


def test_points_of_the_curves_are_those_of_scikit_learn() -> None:
    positive, scores = LABELS == 2, np.round(PROBABILITIES[:, 2], 2)
    x, y, _ = reference.roc_curve(positive, scores, drop_intermediate=False)
    found = roc(positive, scores)
    np.testing.assert_allclose(found.x, x)
    np.testing.assert_allclose(found.y, y)
    precision, recall, _ = reference.precision_recall_curve(positive, scores)
    found = precision_recall(positive, scores)
    np.testing.assert_allclose(found.x, recall[::-1])
    np.testing.assert_allclose(found.y, precision[::-1])


def test_a_class_of_all_rows_has_precision_1_and_no_roc_area() -> None:
    everybody = np.ones(4, bool)
    assert np.isnan(roc(everybody, np.linspace(0, 1, 4)).area)
    found = precision_recall(everybody, np.linspace(0, 1, 4))
    assert (found.area, set(found.y)) == (1, {1.0})


def test_curves_of_four_rows_are_known() -> None:
    positive, scores = np.array([False, True, False, True]), np.array([0.8, 0.9, 0.1, 0.7])
    found = roc(positive, scores)
    assert found.x.tolist() == [0, 0, 0.5, 0.5, 1]
    assert found.y.tolist() == [0, 0.5, 0.5, 1, 1]
    assert found.area == pytest.approx(0.75)
    found = precision_recall(positive, scores)
    assert found.x.tolist() == [0, 0.5, 0.5, 1, 1]
    assert found.y.tolist() == pytest.approx([1, 1, 1 / 2, 2 / 3, 1 / 2])
    assert found.area == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


@pytest.mark.parametrize(
    ("positive", "roc_area", "precision_area"),
    [([True, False], 1, 1), ([False, True], 0, 1 / 2), ([False, False, True], 0, 1 / 3), ([True, False, False], 1, 1)],
)
def test_one_positive_row_at_an_end_has_known_areas(positive: list[bool], roc_area: float, precision_area: float) -> None:
    scores = -np.arange(len(positive), dtype=float)
    assert roc(np.array(positive), scores).area == pytest.approx(roc_area)
    assert precision_recall(np.array(positive), scores).area == pytest.approx(precision_area)


@pytest.mark.parametrize("positive", [False, True])
def test_the_roc_of_one_class_alone_is_the_diagonal(positive: bool) -> None:
    found = roc(np.full(3, positive), np.array([0.3, 0.2, 0.1]))
    assert (found.x.tolist(), found.y.tolist()) == ([0, 1], [0, 1])
    assert np.isnan(found.area)


def test_the_precision_of_a_class_without_rows_is_zero() -> None:
    found = precision_recall(np.zeros(3, bool), np.array([0.3, 0.2, 0.1]))
    assert (found.x.tolist(), found.y.tolist()) == ([0, 1], [0, 0])


def test_thinned_points_lie_on_the_curve_and_evenly() -> None:
    line = Curve(np.arange(1000.0), 2 * np.arange(1000.0), 0.5)
    thin = thinned(line)
    assert len(thin.x) == 200
    np.testing.assert_array_equal(thin.y, 2 * thin.x)
    assert (thin.x[0], thin.x[-1]) == (0, 999)
    assert np.diff(thin.x).max() - np.diff(thin.x).min() <= 1
    np.testing.assert_array_equal(thinned(Curve(line.x[:5], line.y[:5], 0.5)).x, line.x[:5])
