"""Classification metrics: scikit-learn and known values."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as reference

from fer_pipeline.metrics import classification

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 7, 400)
LOGITS = RNG.normal(0, 1, (400, 7)) + 1.5 * np.eye(7)[LABELS]
PROBABILITIES = classification.softmax(LOGITS)
PREDICTIONS = LOGITS.argmax(axis=1)


def test_a_confusion_matrix_has_labels_in_rows() -> None:
    table = classification.confusion(np.array([0, 0, 3]), np.array([0, 3, 3]))
    assert table.shape == (7, 7)
    assert (table[0, 0], table[0, 3], table[3, 3], table.sum()) == (1, 1, 1, 3)


def test_class_figures_agree_with_scikit_learn() -> None:
    table = classification.confusion(LABELS, PREDICTIONS)
    precision, recall, f1, _ = reference.precision_recall_fscore_support(LABELS, PREDICTIONS, labels=range(7))
    np.testing.assert_allclose(classification.precisions(table), precision)
    np.testing.assert_allclose(classification.recalls(table), recall)
    np.testing.assert_allclose(classification.f1_scores(table), f1)
    assert classification.accuracy(table) == pytest.approx((LABELS == PREDICTIONS).mean())
    assert classification.macro_f1(table) == pytest.approx(f1.mean())
    assert classification.weighted_f1(table) == pytest.approx(reference.f1_score(LABELS, PREDICTIONS, average="weighted"))
    assert classification.nll(LABELS, PROBABILITIES) == pytest.approx(reference.log_loss(LABELS, PROBABILITIES, labels=range(7)))
    assert classification.top_k_accuracy(LABELS, PROBABILITIES) == pytest.approx(
        reference.top_k_accuracy_score(LABELS, PROBABILITIES, k=2, labels=range(7))
    )


def test_absent_class_counts_as_zero() -> None:
    """A class that is never there counts as zero and not as nan."""
    table = classification.confusion(np.array([0, 1]), np.array([0, 1]))
    assert classification.recalls(table).tolist() == [1, 1, 0, 0, 0, 0, 0]
    assert classification.macro_f1(table) == pytest.approx(2 / 7)


def test_the_brier_score_of_a_sure_and_wrong_answer_is_2() -> None:
    assert classification.brier(np.array([0, 0]), np.eye(7)[[1, 0]]) == pytest.approx(1.0)  # mean of 2 and 0


def test_ece_of_known_confidences_is_known() -> None:
    probabilities = np.full((10, 7), 0.2 / 6)
    probabilities[:, 0] = 0.8
    labels = np.array([0] * 6 + [1] * 4)  # 80 % sure, 60 % right
    table = classification.reliability(labels, probabilities)
    assert table.ece == pytest.approx(0.2)
    assert table.rows.sum() == 10
    assert classification.reliability(np.array([0] * 8 + [1] * 2), probabilities).ece == pytest.approx(0.0, abs=1e-12)


def test_full_confidence_falls_into_the_last_bin() -> None:
    table = classification.reliability(np.array([2]), np.eye(7)[[2]])
    assert table.rows[-1] == 1
    assert table.ece == 0


def test_bootstrap_interval_is_as_wide_as_the_binomial() -> None:
    """The bootstrap interval has the width of the binomial one."""
    labels = np.zeros(1000, int)
    predictions = np.r_[np.zeros(700, int), np.ones(300, int)]
    found = classification.bootstrap(
        classification.confusion(labels, predictions), classification.accuracy, resamples=4000, seed=0
    )
    spread = 1.96 * np.sqrt(0.7 * 0.3 / 1000)
    assert found.estimate == pytest.approx(0.7)
    assert found.low == pytest.approx(0.7 - spread, abs=0.004)
    assert found.high == pytest.approx(0.7 + spread, abs=0.004)


def test_two_equal_models_differ_by_exactly_nothing() -> None:
    found = classification.paired_bootstrap(LABELS, PREDICTIONS, PREDICTIONS, classification.macro_f1)
    assert (found.estimate, found.low, found.high) == (0, 0, 0)


def test_pairing_makes_the_interval_of_a_difference_narrow() -> None:
    better = PREDICTIONS.copy()
    wrong = np.nonzero(better != LABELS)[0][:20]
    better[wrong] = LABELS[wrong]  # right on 20 of 400 rows more, the same elsewhere
    found = classification.paired_bootstrap(LABELS, better, PREDICTIONS, classification.accuracy, confidence=0.95)
    assert found.estimate == pytest.approx(0.05)
    assert 0.02 < found.low < 0.05 < found.high < 0.08
    swapped = classification.paired_bootstrap(LABELS, PREDICTIONS, better, classification.accuracy)
    assert swapped.estimate == pytest.approx(-0.05)


def test_a_bin_of_confidence_holds_its_upper_edge() -> None:
    rest = np.zeros((4, 7))
    rest[:, :4] = [[0.25] * 4, [0.5, 0.3, 0.2, 0], [0.5 + 1e-6, 0.3, 0.2 - 1e-6, 0], [1, 0, 0, 0]]
    table = classification.reliability(np.array([1, 0, 0, 1]), rest, bins=4)
    assert table.edges.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert table.rows.tolist() == [1, 1, 1, 1]
    np.testing.assert_allclose(table.confidence, [0.25, 0.5, 0.5 + 1e-6, 1])
    assert table.accuracy.tolist() == [0, 1, 1, 0]
    assert table.ece == pytest.approx((0.25 + 0.5 + 0.5 - 1e-6 + 1) / 4)


def test_reliability_has_15_bins_and_empty_ones_count_nothing() -> None:
    table = classification.reliability(np.array([2, 0]), np.eye(7)[[2, 2]])
    assert (len(table.rows), len(table.edges)) == (15, 16)
    assert table.accuracy.tolist() == [0] * 14 + [0.5]
    assert table.confidence.tolist() == [0] * 14 + [1]
    assert table.ece == 0.5


def test_nll_of_an_excluded_label_is_finite() -> None:
    probabilities = np.eye(7)[[0, 1]]
    assert classification.nll(np.array([0, 2]), probabilities) == pytest.approx(-np.log(1e-12) / 2)


def test_softmax_divides_by_temperature_without_overflow() -> None:
    logits = np.array([[1000.0, 999.0, 0, 0, 0, 0, 0]])
    found = classification.softmax(logits, 2.0)
    assert found.sum() == pytest.approx(1)
    assert found[0, 0] / found[0, 1] == pytest.approx(np.exp(0.5))


def test_top_k_counts_the_k_most_probable_classes() -> None:
    probabilities = np.array([[0.4, 0.3, 0.2, 0.1, 0, 0, 0]] * 4)
    labels = np.array([0, 1, 2, 3])
    assert [classification.top_k_accuracy(labels, probabilities, k) for k in (1, 2, 3)] == [0.25, 0.5, 0.75]


def test_bootstraps_are_drawn_by_their_seed() -> None:
    table = classification.confusion(LABELS, PREDICTIONS)
    first, same, other = (
        classification.bootstrap(table, classification.macro_f1, resamples=200, seed=seed) for seed in (0, 0, 1)
    )
    assert first == same != other
    wide, narrow = (
        classification.paired_bootstrap(
            LABELS, PREDICTIONS, np.roll(PREDICTIONS, 1), classification.accuracy, confidence=confidence, seed=3
        )
        for confidence in (0.99, 0.5)
    )
    assert wide.low < narrow.low < narrow.estimate < narrow.high < wide.high


@pytest.mark.parametrize(
    "figure",
    [
        classification.accuracy,
        classification.recalls,
        classification.precisions,
        classification.f1_scores,
        classification.macro_f1,
        classification.weighted_f1,
    ],
)
def test_figures_of_stacked_matrices_are_those_of_each(figure: classification.Statistic) -> None:
    """The bootstrap computes all resampled matrices (B, 7, 7) at once."""
    stack = np.random.default_rng(1).integers(0, 9, (3, 7, 7))
    np.testing.assert_allclose(figure(stack), [figure(one) for one in stack])


def test_confusion_counts_are_whole_numbers() -> None:
    assert classification.confusion(np.array([0]), np.array([6])).dtype == np.int64


@pytest.mark.parametrize(("k", "share"), [(1, 1 / 7), (2, 2 / 7), (7, 1.0)])
def test_equally_probable_classes_rank_in_their_order(k: int, share: float) -> None:
    assert classification.top_k_accuracy(np.arange(7), np.full((7, 7), 1 / 7), k) == pytest.approx(share)


def test_softmax_stays_finite_for_any_logits() -> None:
    """Rows of very different size do not underflow or overflow, and float32 logits give float64."""
    found = classification.softmax(np.array([[1000, 0, 0, 0, 0, 0, 0], [-1000] * 7, [0] * 7], np.float32))
    np.testing.assert_allclose(found, [[1, 0, 0, 0, 0, 0, 0], [1 / 7] * 7, [1 / 7] * 7])
    assert found.dtype == np.float64


@pytest.mark.parametrize(
    ("confidence", "bin_index"),
    [(0.2, 0), (np.nextafter(0.2, 1), 1), (0.4, 1), (0.41, 2), (0.8, 3), (0.81, 4), (1.0, 4), (1.0 + 1e-6, 4), (0.0, 0)],
)
def test_reliability_bins_include_their_upper_edge(confidence: float, bin_index: int) -> None:
    """Bins are (low, high]; what rounding puts beyond 0..1 counts to the first or last one."""
    probabilities = np.zeros((1, 7))
    probabilities[0, 3] = confidence
    table = classification.reliability(np.array([3]), probabilities, bins=5)
    assert table.rows.tolist() == [int(place == bin_index) for place in range(5)]
    assert table.confidence[bin_index] == confidence
    assert table.edges.tolist() == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0])


def test_reliability_has_accuracy_and_confidence_per_bin() -> None:
    probabilities = np.zeros((4, 7))
    probabilities[np.arange(4), [0, 1, 2, 3]] = [0.9, 0.7, 0.5, 0.3]
    table = classification.reliability(np.array([0, 0, 2, 0]), probabilities, bins=2)
    assert table.rows.tolist() == [2, 2]
    assert table.confidence.tolist() == pytest.approx([0.4, 0.8])
    assert table.accuracy.tolist() == [0.5, 0.5]
    assert table.ece == pytest.approx((2 * 0.1 + 2 * 0.3) / 4)
    assert len(classification.reliability(np.array([0, 0, 2, 0]), probabilities).rows) == 15


def test_bootstraps_are_the_same_for_the_same_seed() -> None:
    table = classification.confusion(LABELS, PREDICTIONS)
    one, same, other = (classification.bootstrap(table, classification.macro_f1, resamples=50, seed=seed) for seed in (4, 4, 5))
    assert one == same
    assert one != other
    shuffled = np.random.default_rng(3).permutation(PREDICTIONS)
    default = classification.paired_bootstrap(LABELS, PREDICTIONS, shuffled, classification.macro_f1)
    assert default == classification.paired_bootstrap(
        LABELS, PREDICTIONS, shuffled, classification.macro_f1, confidence=0.95, resamples=2000, seed=0
    )


@pytest.mark.parametrize(("confidence", "z"), [(0.95, 1.95996), (0.8, 1.28155)])
def test_paired_interval_is_as_wide_as_the_normal_one(confidence: float, z: float) -> None:
    """Model a is right on 20 % of 1,000 rows more than b: the difference of a row has variance 0.2 - 0.2 ** 2.

    No row is labelled or called neutral, the last class.
    """
    labels = np.zeros(1000, int)
    worse = (np.arange(1000) < 200).astype(int)
    found = classification.paired_bootstrap(labels, labels, worse, classification.accuracy, confidence=confidence)
    spread = z * np.sqrt((0.2 - 0.2**2) / 1000)
    assert (found.estimate, found.low, found.high) == pytest.approx((0.2, 0.2 - spread, 0.2 + spread), abs=0.002)
