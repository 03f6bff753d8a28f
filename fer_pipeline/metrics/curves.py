"""ROC and precision-recall curves, one class against the rest. Numpy only.

scikit-learn would add two seconds to the import of the evaluation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fer_pipeline.metrics.classification import Floats


@dataclass(frozen=True)
class Curve:
    """Points `x`, `y` float64 (K,) of a curve and the area under it in 0..1.

    The area is NaN where a class has no rows, or all.
    """

    x: npt.NDArray[np.float64]
    y: npt.NDArray[np.float64]
    area: float


def roc(positive: npt.NDArray[np.bool_], scores: Floats) -> Curve:
    """Compute the ROC curve from (0, 0) to (1, 1), for falling thresholds.

    `x` is the false-positive rate, `y` the true-positive rate; the area is by trapezoids.
    """
    hits, misses = _counts(positive, scores)
    if not (hits[-1] and misses[-1]):
        return Curve(np.array([0.0, 1.0]), np.array([0.0, 1.0]), np.nan)
    x, y = np.r_[0.0, misses / misses[-1]], np.r_[0.0, hits / hits[-1]]
    return Curve(x, y, float(np.trapezoid(y, x)))


def precision_recall(positive: npt.NDArray[np.bool_], scores: Floats) -> Curve:
    """Compute the precision-recall curve from (0, 1), for falling thresholds.

    `x` is recall, `y` precision; the area is the average precision, a step-wise sum.
    """
    hits, misses = _counts(positive, scores)
    if not hits[-1]:
        return Curve(np.array([0.0, 1.0]), np.array([0.0, 0.0]), np.nan)
    x, y = np.r_[0.0, hits / hits[-1]], np.r_[1.0, hits / (hits + misses)]
    return Curve(x, y, float(np.sum(np.diff(x) * y[1:])))


def thinned(curve: Curve, points: int = 200) -> Curve:
    """Thin a curve to about `points` points, ends included; the area stays."""
    keep = np.unique(np.linspace(0, len(curve.x) - 1, min(points, len(curve.x))).round().astype(int))
    return Curve(curve.x[keep], curve.y[keep], curve.area)


def _counts(positive: npt.NDArray[np.bool_], scores: Floats) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Count positive and negative rows at or above each distinct score, highest first."""
    order = np.argsort(-scores)
    ends = np.r_[np.nonzero(np.diff(scores[order]))[0], len(scores) - 1]
    hits = np.cumsum(positive[order])[ends].astype(np.float64)
    return hits, (ends + 1) - hits
