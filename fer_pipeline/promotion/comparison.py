"""Compare two models on the same test rows: changes with intervals.

Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from fer_pipeline.config.params import PromoteParams
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.metrics.classification import (
    Floats,
    Interval,
    Ints,
    Statistic,
    accuracy,
    confusion,
    f1_scores,
    macro_f1,
    nll,
    paired_bootstrap,
    recalls,
    reliability,
)
from fer_pipeline.metrics.intervals import McNemar, mcnemar, mean_interval
from fer_pipeline.promotion.decision import Candidate

SHOWN: Final = 12
"""Disagreements listed of each kind."""


@dataclass(frozen=True)
class Measure:
    """One figure of both models.

    `change` is b - a with its paired bootstrap interval, in the unit of the figure.
    """

    name: str
    a: float
    b: float
    change: Interval


@dataclass(frozen=True)
class ClassChange:
    """Recall and F1 of one emotion.

    It has `rows` test rows; both measures are changes from a to b.
    """

    emotion: str
    rows: int
    recall: Measure
    f1: Measure


@dataclass(frozen=True)
class Disagreement:
    """A test row to which the two models give different answers.

    `row` counts in the rows compared; each answer has its confidence.
    """

    row: int
    label: str
    a: str
    b: str
    confidence_a: float
    confidence_b: float


@dataclass(frozen=True)
class Kind:
    """Disagreements of one kind.

    `rows` is how many there are; `shown` holds those with the highest lower confidence of both models first.
    """

    title: str
    rows: int
    shown: tuple[Disagreement, ...]


@dataclass(frozen=True)
class Comparison:
    """Changes from model a to model b on `rows` test rows.

    `ece` is (of a, of b); emotions without test rows are not in `classes`.
    """

    rows: int
    measures: tuple[Measure, ...]
    ece: tuple[float, float]
    classes: tuple[ClassChange, ...]
    test: McNemar
    same_answer: int
    kinds: tuple[Kind, ...]

    @property
    def verdict(self) -> str:
        """What the rows say of the accuracies, in one sentence."""
        change = self.measures[0].change
        found = f"{100 * change.estimate:+.2f} points [{100 * change.low:+.2f}, {100 * change.high:+.2f}]"
        if change.low > 0:
            return f"The second is right more often: {found}."
        if change.high < 0:
            return f"The first is right more often: the second's accuracy differs by {found}."
        return f"No difference in accuracy can be told on {self.rows:,} rows: {found} includes 0."


def compare(a: Candidate, b: Candidate, labels: Ints, params: PromoteParams) -> Comparison:
    """Compare the predictions of two models on rows with these labels.

    `labels` is int (N,). Resamples, seed and confidence are those of the gate.
    """
    said_a, said_b = a.probabilities.argmax(axis=1), b.probabilities.argmax(axis=1)
    tables = confusion(labels, said_a), confusion(labels, said_b)
    losses = [_losses(labels, one.probabilities) for one in (a, b)]

    def measure(name: str, statistic: Statistic) -> Measure:
        change = paired_bootstrap(
            labels, said_b, said_a, statistic, confidence=params.confidence, resamples=params.bootstrap, seed=params.seed
        )
        return Measure(name, float(statistic(tables[0])), float(statistic(tables[1])), change)

    change_of_loss = mean_interval(
        losses[1] - losses[0], confidence=params.confidence, resamples=params.bootstrap, seed=params.seed
    )
    support = tables[0].sum(axis=1)
    return Comparison(
        rows=len(labels),
        measures=(
            measure("accuracy", accuracy),
            measure("macro-F1", macro_f1),
            Measure("negative log-likelihood", nll(labels, a.probabilities), nll(labels, b.probabilities), change_of_loss),
        ),
        ece=(reliability(labels, a.probabilities).ece, reliability(labels, b.probabilities).ece),
        classes=tuple(
            ClassChange(
                emotion,
                int(support[index]),
                measure("recall", _of_class(recalls, index)),
                measure("F1", _of_class(f1_scores, index)),
            )
            for index, emotion in enumerate(EMOTIONS)
            if support[index]
        ),
        test=mcnemar(said_a == labels, said_b == labels),
        same_answer=int((said_a == said_b).sum()),
        kinds=_kinds(labels, a.probabilities, b.probabilities),
    )


def _kinds(labels: Ints, a: Floats, b: Floats) -> tuple[Kind, ...]:
    said_a, said_b = a.argmax(axis=1), b.argmax(axis=1)
    differ = said_a != said_b
    surest = np.minimum(a.max(axis=1), b.max(axis=1))
    kinds = []
    for title, chosen in (
        ("only the second is right", differ & (said_b == labels)),
        ("only the first is right", differ & (said_a == labels)),
        ("both are wrong, each in its way", differ & (said_a != labels) & (said_b != labels)),
    ):
        rows = np.nonzero(chosen)[0]
        shown = rows[np.argsort(-surest[rows], kind="stable")][:SHOWN]
        listed = tuple(
            Disagreement(
                row=int(row),
                label=EMOTIONS[labels[row]],
                a=EMOTIONS[said_a[row]],
                b=EMOTIONS[said_b[row]],
                confidence_a=float(a[row].max()),
                confidence_b=float(b[row].max()),
            )
            for row in shown
        )
        kinds.append(Kind(title, len(rows), listed))
    return tuple(kinds)


def _of_class(statistic: Statistic, index: int) -> Statistic:
    return lambda confusions: statistic(confusions)[..., index]


def _losses(labels: Ints, probabilities: Floats) -> npt.NDArray[np.float64]:
    losses: npt.NDArray[np.float64] = -np.log(np.clip(probabilities[np.arange(len(labels)), labels], 1e-12, None))
    return losses
