"""Votes of several annotators as shares of the emotions. Numpy only.

Votes are those of FER+ (Barsoum et al. 2016, arXiv 1608.01041): ten annotators a picture. The seven emotions count; contempt,
"unknown" and "no face" do not. Training learns from them, so a change here trains anew.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fer_pipeline.labels import EMOTIONS, FERPLUS_COLUMNS, common_name
from fer_pipeline.metrics.learning import Floats, Ints

MIN_LEARNED = 3
"""Votes for the seven emotions from which a row's votes are a target of training."""

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

    def targets(self, labels: Ints) -> npt.NDArray[np.float32]:
        """Compute the target (N, 7) of training: the votes, or the label of few votes.

        A row with fewer than `MIN_LEARNED` votes has its given label.
        """
        given = np.eye(len(EMOTIONS))[labels]
        chosen: npt.NDArray[np.float32] = np.where((self.counts >= MIN_LEARNED)[:, None], self.shares, given).astype(np.float32)
        return chosen
