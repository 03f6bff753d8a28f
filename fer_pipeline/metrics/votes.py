"""How well probabilities fit the votes of several annotators. Numpy only.

Votes are those of FER+ (Barsoum et al. 2016, arXiv 1608.01041): ten annotators a picture. The seven emotions count; contempt,
"unknown" and "no face" do not. Probabilities are float (N, 7) that sum to 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fer_pipeline.labels import EMOTIONS, FERPLUS_COLUMNS, common_name
from fer_pipeline.metrics.classification import Floats, Ints

MIN_LEARNED = 3
"""Votes for the seven emotions from which a row's votes are a target of training."""

MIN_JUDGED = 5
"""Votes for the seven emotions from which a row is judged by its votes."""

_COLUMNS = [[common_name(column) for column in FERPLUS_COLUMNS].index(emotion) for emotion in EMOTIONS]


@dataclass(frozen=True)
class VoteShares:
    """Votes of N rows: the share of each emotion (N, 7), and their number (N,).

    A row without votes for the seven emotions has shares of 0.
    """

    shares: npt.NDArray[np.float64]
    counts: npt.NDArray[np.float64]

    @classmethod
    def of(cls, votes: Floats) -> VoteShares:
        """Take votes (N, 10) in the order of `FERPLUS_COLUMNS`; NaN rows have none."""
        chosen = np.nan_to_num(votes.astype(np.float64))[:, _COLUMNS]
        counts = chosen.sum(axis=1)
        return cls(chosen / np.maximum(counts, 1)[:, None], counts)

    @property
    def judged(self) -> npt.NDArray[np.bool_]:
        """Rows (N,) with at least `MIN_JUDGED` votes and one emotion ahead of all others."""
        best = np.sort(self.shares, axis=1)
        ahead: npt.NDArray[np.bool_] = (self.counts >= MIN_JUDGED) & (best[:, -1] > best[:, -2])
        return ahead

    @property
    def plurality(self) -> npt.NDArray[np.int64]:
        """The emotion (N,) with most votes; of no meaning where a row is not judged."""
        found: npt.NDArray[np.int64] = self.shares.argmax(axis=1).astype(np.int64)
        return found

    def targets(self, labels: Ints) -> npt.NDArray[np.float32]:
        """Compute the target (N, 7) of training: the votes, or the label of few votes.

        A row with fewer than `MIN_LEARNED` votes has its given label.
        """
        given = np.eye(len(EMOTIONS))[labels]
        chosen: npt.NDArray[np.float32] = np.where((self.counts >= MIN_LEARNED)[:, None], self.shares, given).astype(np.float32)
        return chosen


def divergence(shares: Floats, probabilities: Floats) -> float:
    """Compute the mean Kullback-Leibler divergence KL(shares, probabilities), in nats."""
    ratio = np.log(np.maximum(shares, 1e-12)) - np.log(np.maximum(probabilities, 1e-12))
    return float((shares * ratio).sum(axis=1).mean())


def total_variation(shares: Floats, probabilities: Floats) -> float:
    """Compute the mean distance in total variation: 0 is best, 1 is worst."""
    return float(np.abs(shares - probabilities).sum(axis=1).mean() / 2)


def cross_entropy(shares: Floats, probabilities: Floats) -> float:
    """Compute the mean cross-entropy of shares (N, 7), in nats."""
    return float(-(shares * np.log(np.maximum(probabilities, 1e-12))).sum(axis=1).mean())


def share_calibration_error(shares: Floats, probabilities: Floats, bins: int = 15) -> float:
    """Compute the expected calibration error against shares of votes (N, 7).

    As `classification.Reliability.ece`, but each answer counts as right by the share of the votes it has: of answers with 70 %
    confidence, 70 % of the annotators should say the same.
    """
    rows, answers, sure = np.arange(len(shares)), probabilities.argmax(axis=1), probabilities.max(axis=1)
    place = np.clip(np.ceil(sure * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(place, weights=shares[rows, answers] - sure, minlength=bins)
    return float(np.abs(gaps).sum() / max(len(rows), 1))


def accuracy_at(coverage: float, truth: Ints, probabilities: Floats) -> float:
    """Compute the accuracy on the share of rows that are answered most confidently.

    `coverage` is that share, above 0 and at most 1. Of rows of equal confidence the first ones count (El-Yaniv and Wiener 2010).
    """
    order = np.argsort(-probabilities.max(axis=1), kind="stable")
    chosen = order[: max(round(coverage * len(order)), 1)]
    return float((probabilities[chosen].argmax(axis=1) == truth[chosen]).mean())
