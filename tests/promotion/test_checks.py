from __future__ import annotations

import numpy as np
import pytest

from fer_pipeline.promotion.checks import SERVES, decide
from fer_pipeline.promotion.decision import Candidate, SmokeTest
from tests.promotion.judged import LABELS, PARAMS, candidate, failed, swapped


def test_the_first_model_becomes_champion_when_it_beats_guessing() -> None:
    decision = decide(candidate(0.6), None, LABELS, PARAMS)
    assert decision.promoted
    assert "there is no champion yet" in decision.markdown()


def test_a_first_model_that_only_guesses_is_refused() -> None:
    assert failed(decide(candidate(0.14), None, LABELS, PARAMS)) == ["accuracy above always saying the most frequent class"]


def test_a_clearly_better_challenger_wins() -> None:
    assert decide(candidate(0.7), candidate(0.6, "old"), LABELS, PARAMS).promoted


def test_an_equal_challenger_does_not_replace_the_champion() -> None:
    assert failed(decide(candidate(0.6), candidate(0.6, "old"), LABELS, PARAMS)) == ["gain in accuracy", "gain in macro-F1"]


def test_a_gain_below_the_margin_is_not_enough() -> None:
    strict = PARAMS.model_copy(update={"min_accuracy_gain": 0.2})
    assert failed(decide(candidate(0.7), candidate(0.6, "old"), LABELS, strict)) == ["gain in accuracy"]


def test_a_class_that_is_given_up_stops_a_better_challenger() -> None:
    decision = decide(candidate(0.9, spare=1), candidate(0.6, "old"), LABELS, PARAMS)
    assert failed(decision) == ["largest fall of a class's recall"]
    assert "60.0 points (disgust), lower bound +" in decision.markdown()


def test_a_fall_of_a_class_that_may_be_luck_is_no_reason() -> None:
    # Nine pictures of disgust fewer of 100: 9 lost and none gained, or 49 lost and 40 gained.
    """A fall of a class that may be luck does not stop a better challenger."""
    surely, by_luck = (swapped(lost, gained) for lost, gained in ((9, 0), (49, 40)))
    assert failed(decide(*surely, LABELS, PARAMS)) == ["largest fall of a class's recall"]
    assert decide(*by_luck, LABELS, PARAMS).promoted
    assert "9.0 points (disgust), lower bound -" in decide(*by_luck, LABELS, PARAMS).markdown()


def test_of_two_falls_the_one_that_refuses_is_named() -> None:
    new, old = swapped(49, 40)
    happy = np.flatnonzero(LABELS == 3)
    new.probabilities[happy] = old.probabilities[happy]
    new.probabilities[happy[:6]] = np.roll(old.probabilities[happy[:6]], 1, axis=1)
    decision = decide(new, old, LABELS, PARAMS)
    assert "6.0 points (happy)" in decision.markdown()
    assert failed(decision) == ["largest fall of a class's recall"]


@pytest.mark.parametrize(
    ("challenger", "check"),
    [
        (candidate(0.7, latency_ms=51), "latency, one picture on one thread"),
        (candidate(0.7, megabytes=101), "size"),
    ],
)
def test_budgets_hold_for_every_challenger(challenger: Candidate, check: str) -> None:
    assert failed(decide(challenger, candidate(0.5, "old"), LABELS, PARAMS)) == [check]


def test_a_badly_calibrated_challenger_is_refused() -> None:
    strict = PARAMS.model_copy(update={"max_ece": 0.05})
    assert failed(decide(candidate(0.9), candidate(0.5, "old"), LABELS, strict)) == ["calibration (ECE)"]


def test_a_synthetic_model_never_replaces_a_real_one() -> None:
    """A synthetic model never replaces one trained on real pictures."""
    assert failed(decide(candidate(1.0, synthetic=True), candidate(0.3, "old"), LABELS, PARAMS)) == ["training data"]


def test_a_real_model_replaces_a_better_synthetic_champion() -> None:
    """A model of real pictures replaces a synthetic champion even if that scores higher here."""
    assert decide(candidate(0.6), candidate(0.9, "old", synthetic=True), LABELS, PARAMS).promoted


def test_the_decision_is_the_same_each_time() -> None:
    first, second = (decide(candidate(0.62), candidate(0.6, "old"), LABELS, PARAMS) for _ in range(2))
    assert first == second


def test_a_better_but_badly_calibrated_challenger_is_refused() -> None:
    # Both say 0.6: the champion is right 60 % of the time, so its ECE is 0, that of the challenger 0.2.
    """A challenger that is right more often but far less sure of it is refused."""
    strict = PARAMS.model_copy(update={"max_ece_rise": 0.1})
    decision = decide(candidate(0.8), candidate(0.6, "old"), LABELS, strict)
    assert failed(decision) == ["rise of the calibration error (ECE)"]
    assert "+0.200 (0.000 to 0.200)" in decision.markdown()
    assert decide(candidate(0.8), candidate(0.6, "old"), LABELS, PARAMS).promoted


def test_a_challenger_that_bears_bad_pictures_worse_is_refused() -> None:
    decision = decide(candidate(0.62, corruption=0.4), candidate(0.58, "old", corruption=0.5), LABELS, PARAMS)
    assert failed(decision) == ["mean accuracy on corrupted pictures (50 test rows)"]
    assert "-10.0 points" in decision.markdown()


@pytest.mark.parametrize(("new", "old"), [(0.48, 0.5), (0.9, 0.5), (None, 0.5), (0.1, None)])
def test_a_small_fall_or_none_measured_is_no_reason(new: float | None, old: float | None) -> None:
    """A small fall or none measured does not stop a better challenger."""
    assert decide(candidate(0.63, corruption=new), candidate(0.58, "old", corruption=old), LABELS, PARAMS).promoted


def test_the_decision_names_models_of_unknown_training_data() -> None:
    """The decision names those of whom the training pictures are not known."""
    known = decide(candidate(0.62), candidate(0.58, "old"), LABELS, PARAMS)
    assert "700 test rows. None of them is an exact copy of a picture that new or old was trained on." in known.evaluated_on
    assert "not known" not in known.evaluated_on
    one = decide(candidate(0.62, known=False), candidate(0.58, "old"), LABELS, PARAMS)
    assert "copy of a picture that old was trained on" in one.evaluated_on
    assert "training pictures of new are not known" in one.evaluated_on
    both = decide(candidate(0.62, known=False), candidate(0.58, "old", known=False), LABELS, PARAMS)
    assert "exact copy" not in both.evaluated_on
    assert "training pictures of new and old are not known" in both.evaluated_on
    assert known.promoted == one.promoted == both.promoted
    assert "a picture that new was trained on" in decide(candidate(0.62), None, LABELS, PARAMS).evaluated_on


@pytest.mark.parametrize(
    ("fault", "observed"),
    [
        ("bento b does not serve its model: not ready\nlog\nmore", "bento b does not serve its model: not ready"),
        ("`bentoml build` failed:\nTraceback\nValueError: a|b", "`bentoml build` failed: ValueError: a/b"),
    ],
)
def test_a_challenger_whose_bundle_fails_is_refused(fault: str, observed: str) -> None:
    """A better challenger whose bundle does not answer is refused with the reason."""
    decision = decide(candidate(0.7), candidate(0.6, "old"), LABELS, PARAMS, SmokeTest(None, fault))
    assert failed(decision) == [SERVES]
    assert f"| {SERVES} | **fail** | {observed} |" in decision.markdown()


def test_a_bundle_that_answers_helps_no_worse_challenger() -> None:
    """A bundle that answers makes no worse challenger champion."""
    smoke_test = SmokeTest("fer:v2")
    assert decide(candidate(0.7), candidate(0.6, "old"), LABELS, PARAMS, smoke_test).promoted
    assert SERVES not in failed(decide(candidate(0.6), candidate(0.6, "old"), LABELS, PARAMS, smoke_test))
