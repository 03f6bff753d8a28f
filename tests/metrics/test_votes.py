"""Figures against the votes of several annotators."""

from __future__ import annotations

import numpy as np
import pytest

from fer_pipeline.labels import EMOTIONS, FERPLUS_COLUMNS
from fer_pipeline.metrics.vote_shares import VoteShares
from fer_pipeline.metrics.votes import (
    accuracy_at,
    cross_entropy,
    divergence,
    judged_rows,
    plurality,
    share_calibration_error,
    total_variation,
)

HAPPY, SAD, NEUTRAL = (EMOTIONS.index(name) for name in ("happy", "sad", "neutral"))


def votes(**columns: float) -> list[float]:
    """One row of votes by column; the others are 0."""
    return [columns.get(name, 0.0) for name in FERPLUS_COLUMNS]


def test_each_column_goes_to_its_emotion() -> None:
    """Votes for one column alone are all of the emotion of that name."""
    rows = np.array([votes(**{name: 10.0}) for name in FERPLUS_COLUMNS[:7]])
    found = [EMOTIONS[index] for index in plurality(VoteShares.of(rows))]
    assert found == ["neutral", "happy", "surprise", "sad", "angry", "disgust", "fear"]


def test_contempt_unknown_and_no_face_do_not_count() -> None:
    found = VoteShares.of(
        np.array([votes(happiness=3, sadness=1, contempt=4, unknown=1, NF=1), votes(contempt=10), [np.nan] * 10])
    )
    assert found.counts.tolist() == [4, 0, 0]
    assert (found.shares[0, HAPPY], found.shares[0, SAD]) == (0.75, 0.25)
    assert not found.shares[1:].any()


def test_ties_and_few_votes_are_not_judged() -> None:
    rows = [votes(happiness=5, sadness=5), votes(happiness=4, unknown=6), votes(happiness=3, sadness=2, unknown=5), votes()]
    assert judged_rows(VoteShares.of(np.array(rows))).tolist() == [False, False, True, False]


def test_few_votes_are_replaced_by_the_label() -> None:
    """Below three votes a row teaches its given label."""
    found = VoteShares.of(np.array([votes(happiness=2, unknown=8), votes(happiness=2, neutral=1)])).targets(np.array([SAD, SAD]))
    assert found[0].tolist() == np.eye(7)[SAD].tolist()
    assert found[1, [HAPPY, NEUTRAL]] == pytest.approx([2 / 3, 1 / 3])
    assert found.sum(axis=1) == pytest.approx([1, 1])


def test_distances_have_known_values() -> None:
    """Of equal answers 0; of one half against certainty log 2, 0.5 and log 2."""
    shares, even = np.eye(7)[[HAPPY]], np.zeros((1, 7))
    even[0, [HAPPY, SAD]] = 0.5
    assert divergence(even, even) == pytest.approx(0)
    assert divergence(shares, even) == cross_entropy(shares, even) == pytest.approx(np.log(2))
    assert total_variation(shares, even) == pytest.approx(0.5)
    assert cross_entropy(even, even) == pytest.approx(np.log(2))


def test_confidence_is_measured_against_the_share_of_votes() -> None:
    """An answer of 70 % is calibrated where 7 of 10 annotators say so, not where all do."""
    answer = np.full((4, 7), 0.05)
    answer[:, HAPPY] = 0.7
    assert share_calibration_error(answer, answer) == pytest.approx(0)
    assert share_calibration_error(np.eye(7)[[HAPPY] * 4], answer) == pytest.approx(0.3)
    assert share_calibration_error(np.eye(7)[[HAPPY, HAPPY, HAPPY, SAD]], answer) == pytest.approx(0.05)


def test_accuracy_rises_as_unsure_answers_are_left_out() -> None:
    """Right where sure, wrong where unsure: the surest half is all right."""
    sure, unsure = np.full((5, 7), 0.01), np.full((5, 7), 0.1)
    sure[:, HAPPY], unsure[:, HAPPY] = 0.94, 0.4
    probabilities, truth = np.vstack([unsure, sure]), np.array([SAD] * 5 + [HAPPY] * 5)
    assert accuracy_at(1.0, truth, probabilities) == 0.5
    assert accuracy_at(0.5, truth, probabilities) == 1.0
    assert accuracy_at(0.6, truth, probabilities) == pytest.approx(5 / 6)
