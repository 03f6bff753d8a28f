"""Metrics of a model against the FER+ votes of its test rows."""

from __future__ import annotations

import numpy as np

from fer_pipeline.data.table.dataset import FaceDataset
from fer_pipeline.metrics.classification import Floats, confusion, macro_f1
from fer_pipeline.metrics.intervals import share_interval
from fer_pipeline.metrics.vote_shares import VoteShares
from fer_pipeline.metrics.votes import (
    accuracy_at,
    divergence,
    judged_rows,
    plurality,
    share_calibration_error,
    total_variation,
)

COVERAGES = (80, 90)
"""Percent of the rows, those with the most confident answers, whose accuracy is given."""


def vote_metrics(test: FaceDataset, probabilities: Floats) -> dict[str, float]:
    """Compute the metrics against votes; empty where no row can be judged by votes.

    `probabilities` are float (N, 7). Judged are the rows of `judged_rows`: `vote_rows` says how many. `vote_agreement` is
    the share of them whose answer is the emotion with most votes (with a Wilson interval, and `_dedup` without copies),
    `vote_macro_f1` their macro-F1, `vote_divergence` the mean KL(votes, probabilities) in nats, `vote_total_variation` the mean
    distance, `vote_ece` the error of `share_calibration_error`, `vote_agreement_at_80` and `_90` the agreement of the most
    confident 80 and 90 %.
    """
    if test.votes is None:
        return {}
    votes = VoteShares.of(test.votes)
    judged = judged_rows(votes)
    if not judged.any():
        return {}
    truth, answered, shares = plurality(votes)[judged], probabilities[judged], votes.shares[judged]
    right, unseen = answered.argmax(axis=1) == truth, test.unseen[judged]
    found = {"vote_rows": float(judged.sum())}
    for suffix, rows in (("", np.ones(len(right), bool)), ("_dedup", unseen)):
        if rows.any():
            share = share_interval(int(right[rows].sum()), int(rows.sum()))
            found[f"vote_agreement{suffix}"] = share.estimate
            found[f"vote_agreement{suffix}_low"], found[f"vote_agreement{suffix}_high"] = share.low, share.high
    return found | {
        "vote_macro_f1": float(macro_f1(confusion(truth, answered.argmax(axis=1)))),
        "vote_divergence": divergence(shares, answered),
        "vote_total_variation": total_variation(shares, answered),
        "vote_ece": share_calibration_error(shares, answered),
        **{f"vote_agreement_at_{percent}": accuracy_at(percent / 100, truth, answered) for percent in COVERAGES},
    }
