"""Metrics that training computes after an epoch. Numpy only.

Apart from what reports compute, since a change here trains anew. Labels and predictions are int (N,) in 0..6, probabilities
float (N, 7) that sum to 1, confusion matrices int (..., 7, 7) with rows for the label and columns for the prediction. Shares are
in 0..1; 0/0 counts as 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fer_pipeline.labels import EMOTIONS

Ints = npt.NDArray[np.integer[Any]]
Floats = npt.NDArray[np.floating[Any]]

CLASSES = len(EMOTIONS)


def confusion(labels: Ints, predictions: Ints) -> npt.NDArray[np.int64]:
    """Count the confusion matrix (7, 7)."""
    cells = np.bincount(labels * CLASSES + predictions, minlength=CLASSES**2)
    table: npt.NDArray[np.int64] = cells.reshape(CLASSES, CLASSES).astype(np.int64)
    return table


def accuracy(confusions: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Compute the share of correct rows (...)."""
    return ratio(np.trace(confusions, axis1=-2, axis2=-1), confusions.sum(axis=(-2, -1)))


def f1_scores(confusions: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Compute the F1 score of each class (..., 7)."""
    both = confusions.sum(axis=-1) + confusions.sum(axis=-2)
    return ratio(2 * np.diagonal(confusions, axis1=-2, axis2=-1), both)


def macro_f1(confusions: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Compute the mean of the seven F1 scores (...)."""
    mean: npt.NDArray[np.float64] = f1_scores(confusions).mean(axis=-1)
    return mean


def softmax(logits: Floats, temperature: float = 1.0) -> npt.NDArray[np.float64]:
    """Compute probabilities (N, 7) of logits (N, 7) divided by the temperature."""
    scaled = logits.astype(np.float64) / temperature
    exps = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    probabilities: npt.NDArray[np.float64] = exps / exps.sum(axis=1, keepdims=True)
    return probabilities


def nll(labels: Ints, probabilities: Floats) -> float:
    """Compute the mean negative log-likelihood of the labels, in nats."""
    chosen = probabilities[np.arange(len(labels)), labels]
    return float(-np.log(np.clip(chosen, 1e-12, None)).mean())


def ratio(above: npt.NDArray[Any], below: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Divide element by element; 0/0 is 0."""
    ratio = np.zeros(below.shape)
    np.divide(above, below, out=ratio, where=below > 0)
    return ratio
