from __future__ import annotations

import pytest

from fer_pipeline.inference.live.own_neutral import COLLECT_SECONDS, OwnNeutral
from fer_pipeline.inference.neutral.reference import NeutralReference

RESTING = (0.1, 0.05, 0.05, 0.05, 0.4, 0.05, 0.3)
SMILING = (0.01, 0.01, 0.01, 0.9, 0.02, 0.02, 0.03)


def collected(own: OwnNeutral, faces: dict[int, tuple[float, ...]], start: float = 0.0) -> None:
    own.collect("abc")
    for frame in range(21):
        own.references(faces, start + frame * COLLECT_SECONDS / 20)


def test_without_the_button_there_is_no_reference() -> None:
    own = OwnNeutral()
    assert own.references({1: RESTING}, 0.0) == {}
    assert own.state is None


def test_two_seconds_of_the_largest_face_are_averaged() -> None:
    own = OwnNeutral(tau=0.5)
    own.collect("abc")
    states = []
    for frame in range(21):
        found = own.references({7: RESTING if frame % 2 else SMILING, 3: SMILING}, 5 + frame / 10)
        states.append(own.state)
    assert states == ["collecting"] * 20 + ["set"]
    rows = [RESTING if frame % 2 else SMILING for frame in range(21)]
    assert found == {7: NeutralReference.of(rows, "abc", 0.5)}


def test_no_face_for_two_seconds_is_no_reference() -> None:
    own = OwnNeutral()
    collected(own, {})
    assert own.state is None
    assert own.references({1: RESTING}, 3.0) == {}


def test_it_can_be_forgotten_and_taken_anew() -> None:
    own = OwnNeutral()
    collected(own, {1: RESTING})
    own.clear()
    assert (own.state, own.references({1: RESTING}, 3.0)) == (None, {})
    collected(own, {1: SMILING}, start=4.0)
    assert own.references({1: RESTING}, 7.0)[1].probabilities == pytest.approx(SMILING)


def test_others_in_view_are_read_without_it() -> None:
    own = OwnNeutral()
    collected(own, {1: RESTING})
    assert set(own.references({2: SMILING, 1: RESTING}, 2.5)) == {1}
    assert own.references({2: SMILING}, 3.0) == {}  # the person may be hidden for a moment


def test_who_comes_back_alone_has_it_again() -> None:
    own = OwnNeutral()
    collected(own, {1: RESTING})
    assert own.references({2: SMILING, 3: SMILING}, 5.0) == {}  # which of them is not known
    assert set(own.references({3: SMILING}, 5.1)) == {3}
    assert set(own.references({3: SMILING, 4: SMILING}, 5.2)) == {3}
