from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest

from fer_pipeline.data.synthetic.face import draw_face
from fer_pipeline.data.synthetic.generator import EMOTION_ACTION_UNITS
from fer_pipeline.errors import ModelError, ParamsError
from fer_pipeline.inference.neutral.reference import MIN_PROBABILITY, NeutralReference
from fer_pipeline.inference.recognizer import Recognizer
from fer_pipeline.labels import EMOTIONS, emotion_index

SAD, NEUTRAL = emotion_index("sad"), emotion_index("neutral")
RESTING = (0.1, 0.05, 0.05, 0.05, 0.4, 0.05, 0.3)  # a face that looks sad at rest


def test_the_formula_has_known_values() -> None:
    face = (0.1, 0.05, 0.05, 0.1, 0.6, 0.05, 0.05)
    reference = NeutralReference.of([RESTING], "abc", tau=0.5)
    ratios = [p / q for p, q in zip(face, RESTING, strict=True)]
    ratios[NEUTRAL] *= math.exp(0.5)
    assert reference.relative(face) == pytest.approx([ratio / sum(ratios) for ratio in ratios])
    assert reference.relative(face)[SAD] == pytest.approx(1.5 / (1 + 1 + 1 + 2 + 1.5 + 1 + math.exp(0.5) / 6))


@pytest.mark.parametrize("tau", [0.0, 0.5, 2.0])
def test_the_reference_itself_is_neutral_by_tau(tau: float) -> None:
    read = NeutralReference.of([RESTING], "abc", tau=tau).relative(RESTING)
    assert [math.log(read[NEUTRAL] / p) for p in read[:NEUTRAL]] == pytest.approx([tau] * 6)


def test_several_pictures_are_averaged_as_logs() -> None:
    other = tuple(reversed(RESTING))
    reference = NeutralReference.of([RESTING, other], "abc")
    assert reference.pictures == 2
    assert reference.log_probabilities == pytest.approx([0.5 * math.log(p * q) for p, q in zip(RESTING, other, strict=True)])
    assert NeutralReference.of([RESTING], "abc").probabilities == pytest.approx(RESTING)


def test_no_probability_counts_as_less_than_the_least() -> None:
    sure = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
    reference = NeutralReference.of([sure], "abc", tau=0.0)
    assert reference.log_probabilities[:NEUTRAL] == (math.log(MIN_PROBABILITY),) * 6
    assert reference.relative(sure) == pytest.approx([1 / 7] * 7)


@pytest.mark.parametrize(
    ("rows", "tau", "words"),
    [
        ([], 0.5, "at least one neutral face"),
        ([RESTING], -0.1, "tau is -0.1"),
        ([RESTING], math.nan, "tau is nan"),
        ([RESTING[:6]], 0.5, "expected 7 finite numbers"),
        ([(*RESTING[:6], math.nan)], 0.5, "expected 7 finite numbers"),
    ],
)
def test_what_is_no_reference_is_refused(rows: list[tuple[float, ...]], tau: float, words: str) -> None:
    with pytest.raises(ParamsError, match=words):
        NeutralReference.of(rows, "abc", tau)


def test_another_model_is_refused() -> None:
    with pytest.raises(ModelError, match="made by the model abc, and this is def: make it anew"):
        NeutralReference.of([RESTING], "abc").check_model("def")


def test_drawn_people_are_read_better_by_their_own_neutral() -> None:
    """The same identities neutral and with six expressions; the reference of somebody else helps less."""
    people = range(30)

    def drawn(seed: int, units: tuple[int, ...], strength: float) -> npt.NDArray[np.uint8]:
        return draw_face(np.random.default_rng(seed), dict.fromkeys(units, strength))

    every = tuple({unit for units in EMOTION_ACTION_UNITS.values() for unit in units})
    shown = [drawn(seed, EMOTION_ACTION_UNITS[name], 0.8) for seed in people for name in EMOTIONS[:NEUTRAL]]
    resting = [drawn(seed, every, 0.08) for seed in people]  # a second neutral picture, of other noise
    classifier = Recognizer.load("fast").classifier
    expressions = classifier.probabilities(np.array(shown)[..., np.newaxis]).reshape(len(people), 6, 7)
    neutral = classifier.probabilities(np.array(resting)[..., np.newaxis])[:, np.newaxis]
    faces = np.concatenate([expressions, neutral], axis=1)
    references = classifier.probabilities(np.array([drawn(seed, (), 0.0) for seed in people])[..., np.newaxis])

    def accuracy(owners: list[int]) -> float:
        read = [
            [np.argmax(NeutralReference.of([references[owner]], "abc").relative(face)) for face in faces[person]]
            for person, owner in zip(people, owners, strict=True)
        ]
        return float(np.mean(np.array(read) == np.arange(7)))

    without = float(np.mean(faces.argmax(axis=2) == np.arange(7)))
    own, anothers = accuracy(list(people)), accuracy([(person + 7) % len(people) for person in people])
    assert own > without + 0.04
    assert own > anothers + 0.04
