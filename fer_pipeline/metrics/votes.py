"""How well probabilities fit the votes of several annotators. Numpy only.

Votes are those of `metrics.vote_shares`. Probabilities are float (N, 7) that sum to 1.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fer_pipeline.metrics.learning import Floats, Ints
from fer_pipeline.metrics.vote_shares import VoteShares

MIN_JUDGED = 5
"""Votes for the seven emotions from which a row is judged by its votes."""


def judged_rows(votes: VoteShares) -> npt.NDArray[np.bool_]:
    """Find the rows (N,) with `MIN_JUDGED` votes or more and one emotion ahead."""
    best = np.sort(votes.shares, axis=1)
    ahead: npt.NDArray[np.bool_] = (votes.counts >= MIN_JUDGED) & (best[:, -1] > best[:, -2])
    return ahead


def plurality(votes: VoteShares) -> npt.NDArray[np.int64]:
    """Find the emotion (N,) with most votes; of no meaning where a row is not judged."""
    found: npt.NDArray[np.int64] = votes.shares.argmax(axis=1).astype(np.int64)
    return found


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
