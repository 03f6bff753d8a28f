"""The decision of the gate as values, sentences and a table."""

from __future__ import annotations

import numpy as np
import pytest

from fer_pipeline.promotion.decision import ALREADY_CHAMPION, Candidate, Check, Decision, describe_rows

PASSED = Check("size", True, "1.0 MB", "at most 2.0 MB", {"megabytes": 1.0})
FAILED = Check("latency", False, "9.0 ms", "at most 5.0 ms", {"latency_ms": 9.0})


@pytest.mark.parametrize(
    ("checks", "promoted", "figures"),
    [
        ((PASSED,), True, {"megabytes": 1.0}),
        ((PASSED, FAILED), False, {"megabytes": 1.0, "latency_ms": 9.0}),
        ((Check(ALREADY_CHAMPION, False, "", ""),), False, {}),
    ],
)
def test_only_a_challenger_that_passes_all_is_promoted(
    checks: tuple[Check, ...], promoted: bool, figures: dict[str, float]
) -> None:
    decision = Decision("new", "old", checks)
    assert (decision.promoted, decision.figures) == (promoted, figures)
    assert decision.already_champion == (checks[0].name == ALREADY_CHAMPION)


def test_a_decision_reads_as_a_heading_and_a_table() -> None:
    assert Decision("new", "old", (PASSED, FAILED), 1234).markdown().splitlines() == [
        "### new: not promoted against old",
        "",
        "Evaluated on 1,234 test rows. None of them is an exact copy of a picture that new or old was trained on.",
        "",
        "| check | result | observed | required |",
        "|---|---|---|---|",
        "| size | pass | 1.0 MB | at most 2.0 MB |",
        "| latency | **fail** | 9.0 ms | at most 5.0 ms |",
    ]
    assert Decision("new", None, (PASSED,)).markdown().splitlines() == [
        "### new: promoted, there is no champion yet",
        "",
        "| check | result | observed | required |",
        "|---|---|---|---|",
        "| size | pass | 1.0 MB | at most 2.0 MB |",
    ]
    same = Decision("new", "new", (Check(ALREADY_CHAMPION, False, "", ""),))
    assert same.markdown() == "### new is the champion already"


def test_rows_are_described_with_what_is_known_of_the_models() -> None:
    unknown = (
        "The training pictures of a and b are not known (no list beside the weights): copies of them may be among these rows "
        "and favour that model."
    )
    assert describe_rows(2, ["a", "b"], ["a", "b"]) == f"Evaluated on 2 test rows. {unknown}"
    assert describe_rows(2, [], []) == "Evaluated on 2 test rows."
    assert Decision("a", None, (PASSED,), 2, ("a",)).evaluated_on.count("None of them") == 0
    assert Decision("a", "b", (PASSED,), 2, ("a",)).evaluated_on.count("picture that b was trained on.") == 1


@pytest.mark.parametrize(("synthetic", "kind"), [(True, "synthetic faces"), (False, "real pictures")])
def test_a_candidate_says_what_it_was_trained_on(synthetic: bool, kind: str) -> None:
    assert Candidate("a", synthetic, np.zeros((0, 7)), 1.0, 1.0).kind == kind
