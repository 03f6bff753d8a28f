"""Candidates of known accuracy, and the checks that they fail."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fer_pipeline.config.params import PromoteParams
from fer_pipeline.promotion.decision import Candidate, Decision

LABELS = np.arange(700) % 7
PARAMS = PromoteParams(bootstrap=500, max_ece=0.5, max_ece_rise=0.5)


def candidate(
    share_right: float,
    name: str = "new",
    *,
    synthetic: bool = False,
    latency_ms: float = 1.0,
    megabytes: float = 1.0,
    spare: int | None = None,
    corruption: float | None = None,
    known: bool = True,
) -> Candidate:
    """A model that is right on the first part of the rows of each class and one class off on the others.

    `spare` names a class on which it is always wrong, `corruption` its accuracy on each of 50 corrupted pictures.
    """
    probabilities: npt.NDArray[np.float64] = np.full((len(LABELS), 7), 0.4 / 6)
    for row, label in enumerate(LABELS):
        right = row // 7 < share_right * 100 and label != spare
        probabilities[row, label if right else (label + 1) % 7] = 0.6
    shares = None if corruption is None else np.full(50, corruption)
    return Candidate(name, synthetic, probabilities, latency_ms, megabytes, shares, not known)


def failed(decision: Decision) -> list[str]:
    return [check.name for check in decision.checks if not check.passed]


def swapped(lost: int, gained: int) -> tuple[Candidate, Candidate]:
    """A better challenger that loses so many of the 100 pictures of disgust to its champion and gains so many others."""
    new, old = candidate(0.7), candidate(0.5, "old")
    rows = np.flatnonzero(LABELS == 1)
    for place, row in enumerate(rows):
        right, wrong = (candidate(share).probabilities[row] for share in (1.0, 0.0))
        new.probabilities[row] = right if lost <= place < 50 + gained else wrong
        old.probabilities[row] = right if place < 50 else wrong
    return new, old
