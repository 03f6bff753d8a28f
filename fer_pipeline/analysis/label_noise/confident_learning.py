"""Confident learning: find label errors by out-of-fold probabilities.

Confident learning (Northcutt, Jiang and Chuang 2021, arXiv 1911.00068). Labels are int (N,) in 0..6, probabilities float (N,
7), calibrated and out of fold: those of a row come from a model that was trained without the row and its copies.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fer_pipeline.metrics.classification import CLASSES, Floats, Ints


@dataclass(frozen=True)
class LabelNoise:
    """Result of confident learning on N labels.

    `thresholds` (7,): mean probability of each class over the rows that carry its label. `confident` (7, 7): counts of rows by
    given label and by the class that reaches its threshold. `joint` (7, 7): the estimated distribution of given label (rows)
    and true label (columns), it sums to 1. `suggested` int (N,): the class that passes its threshold, the given label where
    none does; `suspicious` bool (N,): where the two differ. `self_confidence` (N,): probability of the given label. `margin`
    (N,) in -1..1: that probability less the largest of the other classes; the lower, the more suspicious.
    """

    thresholds: npt.NDArray[np.float64]
    confident: npt.NDArray[np.int64]
    joint: npt.NDArray[np.float64]
    suggested: npt.NDArray[np.int64]
    suspicious: npt.NDArray[np.bool_]
    self_confidence: npt.NDArray[np.float64]
    margin: npt.NDArray[np.float64]

    @property
    def share(self) -> float:
        """Estimated share of rows whose label is wrong."""
        return float(1 - np.trace(self.joint))

    @property
    def rates(self) -> npt.NDArray[np.float64]:
        """Estimated distribution (7, 7) of true classes (columns) per given label.

        Rows sum to 1.
        """
        rates: npt.NDArray[np.float64] = self.joint / np.maximum(self.joint.sum(axis=1, keepdims=True), 1e-12)
        return rates

    @property
    def ranking(self) -> npt.NDArray[np.int64]:
        """Positions of the suspicious rows, the most suspicious first."""
        rows = np.flatnonzero(self.suspicious)
        ranked: npt.NDArray[np.int64] = rows[np.argsort(self.margin[rows], kind="stable")]
        return ranked


def find_noise(labels: Ints, probabilities: Floats) -> LabelNoise:
    """Find labels that the probabilities contradict.

    A row counts for the class that reaches its threshold, the most probable one of several, and for none where none does. The
    joint scales each given label's counts to its rows.
    """
    own: npt.NDArray[np.float64] = probabilities.astype(np.float64)[np.arange(len(labels)), labels]
    present = np.bincount(labels, minlength=CLASSES)
    sums = np.bincount(labels, weights=own, minlength=CLASSES)
    thresholds = np.where(present > 0, sums / np.maximum(present, 1), np.inf)
    passing = np.where(probabilities >= thresholds, probabilities, -1.0)
    counted = passing.max(axis=1) >= 0
    suggested = np.where(counted, passing.argmax(axis=1), labels).astype(np.int64)
    confident = np.zeros((CLASSES, CLASSES), np.int64)
    np.add.at(confident, (labels[counted], suggested[counted]), 1)
    known = np.where(confident.sum(axis=1, keepdims=True) > 0, confident, np.eye(CLASSES))
    joint = known / known.sum(axis=1, keepdims=True) * (present / present.sum())[:, None]
    others = probabilities.copy()
    others[np.arange(len(labels)), labels] = -np.inf
    return LabelNoise(
        thresholds=thresholds,
        confident=confident,
        joint=joint,
        suggested=suggested,
        suspicious=suggested != labels,
        self_confidence=own,
        margin=own - others.max(axis=1),
    )
