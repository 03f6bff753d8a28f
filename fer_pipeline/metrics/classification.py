"""Classification metrics. Numpy only.

Those that training logs, too, are of `metrics.learning`, which has the shapes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fer_pipeline.metrics.learning import (
    CLASSES as CLASSES,
    Floats as Floats,
    Ints as Ints,
    accuracy as accuracy,
    confusion as confusion,
    f1_scores as f1_scores,
    macro_f1 as macro_f1,
    nll as nll,
    ratio,
    softmax as softmax,
)

Statistic = Callable[[npt.NDArray[np.int64]], npt.NDArray[np.float64]]
"""From confusion matrices (..., 7, 7) to one number each (...)."""


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval: bootstrap, or Wilson for a share."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class Reliability:
    """Reliability per bin of confidence, B bins of equal width over 0..1.

    Edges (B + 1,), rows (B,), mean confidence (B,), accuracy (B,).
    """

    edges: npt.NDArray[np.float64]
    rows: npt.NDArray[np.int64]
    confidence: npt.NDArray[np.float64]
    accuracy: npt.NDArray[np.float64]

    @property
    def ece(self) -> float:
        """Expected calibration error (Naeini et al. 2015).

        The mean distance of accuracy and confidence over the bins, weighted by rows.
        """
        return float(np.sum(self.rows * np.abs(self.accuracy - self.confidence)) / max(self.rows.sum(), 1))


def recalls(confusions: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Compute the recall of each class (..., 7)."""
    return ratio(np.diagonal(confusions, axis1=-2, axis2=-1), confusions.sum(axis=-1))


def precisions(confusions: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Compute the precision of each class (..., 7)."""
    return ratio(np.diagonal(confusions, axis1=-2, axis2=-1), confusions.sum(axis=-2))


def weighted_f1(confusions: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Compute the mean of the F1 scores (...), weighted by the rows of each class."""
    support = confusions.sum(axis=-1)
    return ratio((f1_scores(confusions) * support).sum(axis=-1), support.sum(axis=-1))


def top_k_accuracy(labels: Ints, probabilities: Floats, k: int = 2) -> float:
    """Compute the share of rows whose label is among the k most probable classes."""
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, :k]
    return float((best == labels[:, None]).any(axis=1).mean())


def brier(labels: Ints, probabilities: Floats) -> float:
    """Compute the Brier score, summed over classes: 0 is best, 2 is worst."""
    return float(((probabilities - np.eye(CLASSES)[labels]) ** 2).sum(axis=1).mean())


def reliability(labels: Ints, probabilities: Floats, bins: int = 15) -> Reliability:
    """Bin accuracy by confidence."""
    sure = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    edges = np.linspace(0, 1, bins + 1)
    place = np.clip(np.ceil(sure * bins).astype(int) - 1, 0, bins - 1)
    rows = np.bincount(place, minlength=bins)
    return Reliability(
        edges=edges,
        rows=rows,
        confidence=ratio(np.bincount(place, weights=sure, minlength=bins), rows),
        accuracy=ratio(np.bincount(place, weights=right, minlength=bins), rows),
    )


def bootstrap(confusion_matrix: npt.NDArray[np.int64], statistic: Statistic, *, resamples: int, seed: int) -> Interval:
    """Compute a statistic with its 95 % bootstrap interval over rows.

    Drawing N rows with replacement gives multinomial counts of the 49 cells, so the matrices are drawn directly.
    """
    cells = confusion_matrix.ravel()
    drawn = np.random.default_rng(seed).multinomial(cells.sum(), cells / cells.sum(), size=resamples)
    values = statistic(drawn.reshape(resamples, CLASSES, CLASSES))
    low, high = np.quantile(values, (0.025, 0.975))
    return Interval(float(statistic(confusion_matrix)), float(low), float(high))


def paired_bootstrap(
    labels: Ints,
    predictions_a: Ints,
    predictions_b: Ints,
    statistic: Statistic,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Bootstrap the difference statistic(a) - statistic(b) on the same rows.

    Rows are resampled in pairs: what counts is on how many rows with a given label a and b said what (343 cells).
    """
    cells = np.bincount((labels * CLASSES + predictions_a) * CLASSES + predictions_b, minlength=CLASSES**3)
    drawn = np.random.default_rng(seed).multinomial(cells.sum(), cells / cells.sum(), size=resamples)
    values = _difference(drawn, statistic)
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, (tail, 1 - tail))
    return Interval(float(_difference(cells, statistic)), float(low), float(high))


def _difference(cells: npt.NDArray[np.int64], statistic: Statistic) -> npt.NDArray[np.float64]:
    cube = cells.reshape(*cells.shape[:-1], CLASSES, CLASSES, CLASSES)
    return statistic(cube.sum(axis=-1)) - statistic(cube.sum(axis=-2))
