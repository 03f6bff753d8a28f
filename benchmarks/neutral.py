"""Measure what a person's own neutral face is worth, on drawn people.

Each of 200 drawn people shows six expressions in two strengths, and rests: once for the reference, once with other noise to be
recognized. Drawn faces stand for nobody, and the shipped models learned from photographs: what counts is the difference that a
reference makes, and the difference between the own one and somebody else's.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
import numpy.typing as npt
from rich.table import Table

from fer_pipeline.data.synthetic.face import draw_face
from fer_pipeline.data.synthetic.generator import EMOTION_ACTION_UNITS
from fer_pipeline.inference.classifier import EmotionClassifier
from fer_pipeline.inference.neutral.reference import DEFAULT_TAU, NeutralReference
from fer_pipeline.inference.pretrained import pretrained_folder, pretrained_models
from fer_pipeline.labels import EMOTIONS, emotion_index

PEOPLE = 200
STRENGTHS = (0.6, 0.9)
TAUS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
AT_REST = 0.08
"""Strength of all action units of the neutral face that is recognized."""


def tables() -> Iterator[Table]:
    """Return a table, a column per shipped model."""
    every = {unit for units in EMOTION_ACTION_UNITS.values() for unit in units}
    shown = [name for name in EMOTIONS if name != "neutral"]
    faces, labels = [], []
    for person in range(PEOPLE):
        for name, strength in product(shown, STRENGTHS):
            faces.append(_drawn(person, dict.fromkeys(EMOTION_ACTION_UNITS[name], strength)))
            labels.append(emotion_index(name))
        faces += [_drawn(person, dict.fromkeys(every, AT_REST))] * len(STRENGTHS)
        labels += [emotion_index("neutral")] * len(STRENGTHS)
    resting = [_drawn(person, {}) for person in range(PEOPLE)]
    truth = np.array(labels).reshape(PEOPLE, -1)
    table = Table("reference", *pretrained_models(), title="Accuracy, and recall of neutral, in percent; drawn people")
    columns = []
    for model in pretrained_models():
        classifier = EmotionClassifier.load(pretrained_folder(model), threads=2)
        read = classifier.probabilities(np.stack(faces)).reshape(PEOPLE, -1, len(EMOTIONS))
        neutral = classifier.probabilities(np.stack(resting))
        own = [_figures(_relative(read, neutral, tau), truth) for tau in TAUS]
        others = _relative(read, np.roll(neutral, 1, axis=0), DEFAULT_TAU)
        columns.append([_figures(read.argmax(axis=2), truth), *own, _figures(others, truth)])
    names = ("none", *(f"own, tau {tau:g}" for tau in TAUS), f"somebody else's, tau {DEFAULT_TAU:g}")
    for name, *figures in zip(names, *columns, strict=True):
        table.add_row(name, *figures)
    yield table


def _relative(read: npt.NDArray[np.float64], neutral: npt.NDArray[np.float64], tau: float) -> npt.NDArray[np.int64]:
    """Return class ids of faces (people, faces, 7) beside neutral ones (people, 7)."""
    references = [NeutralReference.of([row], "drawn", tau) for row in neutral.tolist()]
    return np.array(
        [
            [np.argmax(reference.relative(face)) for face in faces]
            for reference, faces in zip(references, read.tolist(), strict=True)
        ]
    )


def _figures(answers: npt.NDArray[np.int64], truth: npt.NDArray[np.int64]) -> str:
    resting = truth == emotion_index("neutral")
    right = answers == truth
    return f"{100 * right.mean():.1f}, {100 * right[resting].mean():.0f}"


def _drawn(person: int, units: dict[int, float]) -> npt.NDArray[np.uint8]:
    """Draw a face uint8 (48, 48, 1); people have the same looks in all of theirs."""
    return draw_face(np.random.default_rng(person), units)[:, :, np.newaxis]
