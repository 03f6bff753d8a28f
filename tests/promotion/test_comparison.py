from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from fer_pipeline.config.params import PromoteParams
from fer_pipeline.metrics.intervals import mcnemar, mean_interval
from fer_pipeline.promotion.comparison import SHOWN, Comparison, compare
from fer_pipeline.promotion.decision import Candidate
from fer_pipeline.promotion.report import write_comparison
from fer_pipeline.workspace.files import METRICS_FILE, REPORT_FILE

PARAMS = PromoteParams(bootstrap=400)
LABELS = np.arange(700) % 7


def says(answers: npt.NDArray[np.int64], sure: float | npt.NDArray[np.float64] = 0.7, name: str = "fer version 1") -> Candidate:
    """A model with these answers, each given with this confidence."""
    confidence = np.broadcast_to(sure, answers.shape)
    probabilities = np.repeat((1 - confidence)[:, None] / 6, 7, axis=1)
    probabilities[np.arange(len(answers)), answers] = confidence
    return Candidate(name, False, probabilities, 1.0, 2.0)


def right_on(share: float) -> npt.NDArray[np.int64]:
    """Right on the first rows of each class, one class off on the others."""
    return np.where(np.arange(700) // 7 < share * 100, LABELS, (LABELS + 1) % 7)


def compared(a: npt.NDArray[np.int64], b: npt.NDArray[np.int64]) -> Comparison:
    return compare(says(a), says(b), LABELS, PARAMS)


@pytest.mark.parametrize(
    ("only_a", "only_b", "p"),
    [
        (0, 0, 1.0),  # right on the same rows
        (3, 3, 1.0),
        (1, 5, 2 * 7 / 64),  # both tails of 6 tosses of a coin
        (8, 0, 2 / 256),
        (60, 40, 2 * sum(math.comb(100, k) for k in range(41)) / 2**100),
    ],
)
def test_mcnemar_is_the_exact_test_on_discordant_rows(only_a: int, only_b: int, p: float) -> None:
    """Mcnemar is the exact test on the rows that one model alone got right."""
    right_a = np.repeat([True, False, True, False], [only_a, only_b, 5, 5])
    right_b = np.repeat([False, True, True, False], [only_a, only_b, 5, 5])
    found = mcnemar(right_a, right_b)
    assert (found.only_a, found.only_b) == (only_a, only_b)
    assert found.p_value == pytest.approx(p)


def test_the_interval_of_a_mean_covers_it_at_its_rate() -> None:
    """The interval of a mean covers it at about the stated rate."""
    rng = np.random.default_rng(1)
    hits = 0
    for seed in range(200):
        interval = mean_interval(rng.normal(0.3, 1, 60), resamples=200, seed=seed)
        hits += interval.low <= 0.3 <= interval.high
    assert 0.88 <= hits / 200 <= 0.99


def test_a_better_model_is_told_from_a_worse_one() -> None:
    """A better model is told from a worse one in both directions."""
    better = compared(right_on(0.6), right_on(0.7))
    accuracy = better.measures[0]
    assert (accuracy.a, accuracy.b, accuracy.change.estimate) == pytest.approx((0.6, 0.7, 0.1))
    assert 0 < accuracy.change.low < 0.1 < accuracy.change.high
    assert (better.test.only_a, better.test.only_b) == (0, 70)
    assert better.test.p_value < 1e-6
    assert better.verdict.startswith("The second is right more often: +10.00 points")
    assert compared(right_on(0.7), right_on(0.6)).verdict.startswith("The first is right more often")


def test_equally_good_models_cannot_be_told_apart() -> None:
    """Models that are right equally often on other rows cannot be told apart."""
    a, b = right_on(0.6), right_on(0.6)
    b[:70], b[-70:] = (LABELS[:70] + 2) % 7, LABELS[-70:]
    same = compared(a, b)
    assert same.measures[0].change.estimate == pytest.approx(0)
    assert same.test.p_value == pytest.approx(1)
    assert "No difference in accuracy can be told on 700 rows" in same.verdict
    assert same.same_answer == 560


def test_only_the_class_that_gets_better_moves() -> None:
    """A class that gets better shows it and the others do not move."""
    a = right_on(0.6)
    b = np.where(LABELS == 3, 3, a)
    changes = {one.emotion: one.recall.change for one in compared(a, b).classes}
    assert changes["happy"].estimate == pytest.approx(0.4)
    assert changes["happy"].low > 0.25
    assert changes["sad"].estimate == changes["sad"].low == changes["sad"].high == 0


def test_an_emotion_without_test_rows_is_left_out() -> None:
    chosen = LABELS != 1
    answers = right_on(0.6)[chosen]
    result = compare(says(answers), says(answers), LABELS[chosen], PARAMS)
    assert [one.emotion for one in result.classes] == ["angry", "fear", "happy", "sad", "surprise", "neutral"]


def test_disagreements_are_sorted_by_kind_and_confidence() -> None:
    """Disagreements are sorted by kind and the surest come first."""
    a, b = LABELS.copy(), LABELS.copy()
    a[:40] = (LABELS[:40] + 1) % 7  # only b is right
    b[100:103] = (LABELS[100:103] + 1) % 7  # only a is right
    a[200], b[200] = (LABELS[200] + 1) % 7, (LABELS[200] + 2) % 7
    a[300] = b[300] = (LABELS[300] + 1) % 7  # the same mistake is no disagreement
    sure = np.full(700, 0.5)
    sure[[7, 11, 102]] = 0.95, 0.99, 0.9
    result = compare(says(a, sure), says(b, sure), LABELS, PARAMS)
    only_b, only_a, neither = result.kinds
    assert (only_b.rows, only_a.rows, neither.rows) == (40, 3, 1)
    assert [shown.row for shown in only_b.shown[:2]] == [11, 7]
    assert len(only_b.shown) == SHOWN
    assert only_a.shown[0].row == 102
    assert (neither.shown[0].label, neither.shown[0].a, neither.shown[0].b) == ("sad", "surprise", "neutral")


def test_a_gain_in_likelihood_counts_without_other_answers() -> None:
    """A gain in likelihood counts as one also where no answer changes."""
    answers = right_on(0.6)
    result = compare(says(answers, 0.95), says(answers, 0.6), LABELS, PARAMS)
    loss = result.measures[2]
    assert loss.change.high < 0
    assert loss.change.estimate == pytest.approx(loss.b - loss.a)
    assert result.ece == pytest.approx((0.35, 0.0))


def test_the_page_names_models_rows_and_pictures(tmp_path: Path) -> None:
    """The page stands alone and names models rows and pictures."""
    a, b = says(right_on(0.6)), says(right_on(0.7), name="fer version 2")
    images = np.full((700, 48, 48, 1), 128, np.uint8)
    ids = np.array([f"{row:08d}" for row in range(700)])
    write_comparison(
        tmp_path / "compare", compare(a, b, LABELS, PARAMS), a, b, images, ids, data="levels", synthetic=True, confidence=0.95
    )
    page = (tmp_path / "compare" / REPORT_FILE).read_text()
    for words in (
        "fer version 2",
        "700 test rows",
        "The second is right more often",
        "these test rows are of the other kind",
        "00000420",
    ):
        assert words in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page
    values = json.loads((tmp_path / "compare" / METRICS_FILE).read_text())
    assert values["a"] == "fer version 1"
    assert values["measures"][0]["change"]["estimate"] == pytest.approx(0.1)
    assert values["kinds"][0]["shown"][0]["id"] == ids[values["kinds"][0]["shown"][0]["row"]]
