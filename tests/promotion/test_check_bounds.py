"""Bounds, figures and words of each check of the gate."""

from __future__ import annotations

import numpy as np
import pytest

from fer_pipeline.promotion.checks import SERVES, decide
from fer_pipeline.promotion.decision import Candidate, Check, Decision, SmokeTest
from tests.promotion.judged import LABELS, PARAMS, candidate, failed, swapped


def check(decision: Decision, start: str) -> Check:
    (found,) = (one for one in decision.checks if one.name.startswith(start))
    return found


def test_bounds_may_be_reached_and_not_passed() -> None:
    """What is exactly at a bound passes; what is a little beyond fails."""
    ece = decide(candidate(0.8), None, LABELS, PARAMS).figures["ece"]
    rise = decide(candidate(0.8), candidate(0.6, "old"), LABELS, PARAMS).figures["ece_rise"]
    at = {"max_ece": ece, "max_ece_rise": rise, "max_latency_ms": 7.0, "max_megabytes": 8.0, "max_corruption_drop": 0.25}
    new, old = (
        candidate(share, name, latency_ms=7.0, megabytes=8.0, corruption=corruption)
        for share, name, corruption in ((0.8, "new", 0.25), (0.6, "old", 0.5))
    )
    assert decide(new, old, LABELS, PARAMS.model_copy(update=at)).promoted
    for bound, name in (
        ("max_ece", "calibration (ECE)"),
        ("max_ece_rise", "rise of the calibration error (ECE)"),
        ("max_latency_ms", "latency, one picture on one thread"),
        ("max_megabytes", "size"),
        ("max_corruption_drop", "mean accuracy on corrupted pictures (50 test rows)"),
    ):
        below = PARAMS.model_copy(update={**at, bound: at[bound] - 1e-6})
        assert failed(decide(new, old, LABELS, below)) == [name]


def test_each_check_says_what_was_observed_and_required() -> None:
    """Both say 0.6: the challenger is right on 80 % of the rows, the champion on 60 %, in each class alike."""
    new = candidate(0.8, latency_ms=7.04, megabytes=8.06, corruption=0.25)
    decision = decide(new, candidate(0.6, "old", corruption=0.5), LABELS, PARAMS, SmokeTest("fer:v2"))
    words = {one.name: (one.observed, one.required) for one in decision.checks}
    assert words["calibration (ECE)"] == ("0.200", "at most 0.500")
    assert words["latency, one picture on one thread"] == ("7.0 ms", "at most 50.0 ms")
    assert words["size"] == ("8.1 MB", "at most 100.0 MB")
    assert words["rise of the calibration error (ECE)"] == ("+0.200 (0.000 to 0.200)", "at most +0.500")
    assert words["mean accuracy on corrupted pictures (50 test rows)"] == (
        "-25.0 points [-25.0, -25.0]",
        "at least -3.0 points",
    )
    assert words["largest fall of a class's recall"][0].startswith("0.0 points (angry), lower bound -2")
    assert words["largest fall of a class's recall"][1] == "at most 5.0 points, or lower bound not above 0"
    assert words[SERVES] == ("fer:v2", "the answer of its model to one picture")
    figures = decision.figures
    spread = 1.96 * np.sqrt((0.2 - 0.2**2) / 700)
    for name in ("accuracy_gain", "macro_f1_gain"):
        low, high = figures[f"{name}_low"], figures[f"{name}_high"]
        assert (figures[name], low, high) == pytest.approx((0.2, 0.2 - spread, 0.2 + spread), abs=0.005)
        row = f"+20.00 points [{100 * low:+.2f}, {100 * high:+.2f}]"
        assert words[f"gain in {'accuracy' if name.startswith('a') else 'macro-F1'}"] == (row, "lower bound above +0.00")
    rest = {
        **{"ece": 0.2, "latency_ms": 7.04, "megabytes": 8.06, "ece_rise": 0.2, "recall_fall": 0.0},
        **{"corrupted_change": -0.25, "corrupted_change_low": -0.25, "corrupted_change_high": -0.25},
    }
    assert {name: figures[name] for name in rest} == pytest.approx(rest)
    assert decision.rows == 700
    assert decide(new, candidate(0.7, "old"), LABELS, PARAMS).figures["ece_rise"] == pytest.approx(0.1)


def test_gains_must_lie_above_their_margins() -> None:
    new, old = candidate(0.8), candidate(0.6, "old")
    low = decide(new, old, LABELS, PARAMS).figures
    for name, check_name in (("accuracy_gain", "gain in accuracy"), ("macro_f1_gain", "gain in macro-F1")):
        at = PARAMS.model_copy(update={f"min_{name}": low[f"{name}_low"]})
        assert failed(decide(new, old, LABELS, at)) == [check_name]
        assert check(decide(new, old, LABELS, at), check_name).required == f"lower bound above {100 * low[f'{name}_low']:+.2f}"
        assert decide(new, old, LABELS, at.model_copy(update={f"min_{name}": low[f"{name}_low"] - 1e-6})).promoted


def test_bounds_are_those_of_the_confidence_and_seed() -> None:
    new, old = candidate(0.8, corruption=0.5), candidate(0.6, "old", corruption=0.5)
    new.corruption_accuracy[:] = np.random.default_rng(0).uniform(0.4, 0.6, 50)  # type: ignore[index]
    wide, narrow = (
        decide(new, old, LABELS, PARAMS.model_copy(update={"confidence": confidence})).figures for confidence in (0.99, 0.6)
    )
    for name in ("accuracy_gain", "macro_f1_gain", "corrupted_change"):
        assert wide[f"{name}_low"] < narrow[f"{name}_low"] < narrow[f"{name}_high"] < wide[f"{name}_high"]
    seeded = decide(new, old, LABELS, PARAMS.model_copy(update={"seed": 9})).figures
    assert seeded["accuracy_gain_low"] != decide(new, old, LABELS, PARAMS).figures["accuracy_gain_low"]
    assert seeded["corrupted_change_low"] != decide(new, old, LABELS, PARAMS).figures["corrupted_change_low"]


def test_the_bound_of_a_fall_is_one_sided() -> None:
    """Of 100 pictures of disgust 30 are lost: the 5 % bound lies 1.645 standard errors below, not 1.96."""
    new, old = candidate(0.9), candidate(0.6, "old")
    lost = np.flatnonzero(LABELS == 1)[:30]
    new.probabilities[lost] = candidate(0.0).probabilities[lost]
    rest = np.flatnonzero(LABELS == 1)[30:]
    new.probabilities[rest] = old.probabilities[rest]
    figures = decide(new, old, LABELS, PARAMS.model_copy(update={"bootstrap": 4000})).figures
    assert figures["recall_fall"] == pytest.approx(0.3)
    assert figures["recall_fall_low"] == pytest.approx(0.3 - 1.645 * np.sqrt(0.3 * 0.7 / 100), abs=0.008)


def test_a_fall_at_the_bound_is_allowed() -> None:
    new, old = swapped(9, 0)
    fall = decide(new, old, LABELS, PARAMS).figures["recall_fall"]
    assert decide(new, old, LABELS, PARAMS.model_copy(update={"max_recall_drop": fall})).promoted
    below = PARAMS.model_copy(update={"max_recall_drop": fall - 1e-6})
    assert failed(decide(new, old, LABELS, below)) == ["largest fall of a class's recall"]


def test_guessing_is_beaten_only_with_a_bound_above_zero() -> None:
    """Where one class has most rows, saying it always is right as often."""
    labels = np.r_[np.full(60, 5), np.arange(40) % 7]
    same = Candidate("new", False, np.tile(np.eye(7)[5] * 0.9 + 0.1 / 7, (100, 1)), 1.0, 1.0)
    decision = decide(same, None, labels, PARAMS)
    found = check(decision, "accuracy above")
    assert (found.passed, found.observed, found.required) == (False, "+0.0 points [+0.0, +0.0]", "lower bound above 0")
    assert found.figures == {"over_guessing": 0, "over_guessing_low": 0, "over_guessing_high": 0}


def test_training_data_decides_between_synthetic_and_real() -> None:
    real, made = candidate(0.6), candidate(0.5, "old", synthetic=True)
    found = check(decide(real, made, LABELS, PARAMS), "training data")
    assert (found.passed, found.observed, found.required) == (
        True,
        "real pictures",
        "the champion was trained on synthetic faces",
    )
    assert "accuracy above always saying the most frequent class" in [
        one.name for one in decide(real, made, LABELS, PARAMS).checks
    ]
    found = check(decide(made, real, LABELS, PARAMS), "training data")
    assert (found.passed, found.observed, found.required) == (False, "synthetic faces", "real pictures, as the champion's")
    both = decide(candidate(0.8, synthetic=True), made, LABELS, PARAMS)
    assert both.promoted
    assert "training data" not in [one.name for one in both.checks]


@pytest.mark.parametrize(
    ("fault", "observed"),
    [("failed:", "failed:"), ("failed:\nlast", "failed: last"), ("failed\nlast", "failed"), ("a|b\n", "a/b")],
)
def test_a_fault_of_many_lines_fits_one_cell(fault: str, observed: str) -> None:
    decision = decide(candidate(0.7), None, LABELS, PARAMS, SmokeTest(None, fault))
    found = check(decision, SERVES)
    assert (found.passed, found.observed, found.required) == (False, observed, "the answer of its model to one picture")
