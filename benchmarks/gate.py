"""Measure how often the gate passes equal, better and worse challengers.

On generated answers with known recalls.

Labels come in the numbers of FER-2013's private test split, the champion finds each class as often as the shipped model does, and
champion and challenger differ on half as many pictures as two models would whose errors have nothing to do with each other; two
trainings of one recipe differ about so much. Calibration, speed and size are equal, so that recall and gains decide alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from rich.table import Table

from fer_pipeline.config.params import PromoteParams
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.metrics.classification import confusion, recalls
from fer_pipeline.promotion.checks import RECALL_FALL, decide
from fer_pipeline.promotion.decision import Candidate

ROWS = (467, 56, 496, 895, 653, 415, 607)
RECALLS = (0.625, 0.446, 0.498, 0.891, 0.554, 0.802, 0.656)
DIFFERING = 0.5
CONTESTS, SEED = 200, 0
PARAMS = PromoteParams(bootstrap=500, max_ece=1.0, max_ece_rise=1.0)


@dataclass(frozen=True)
class Case:
    """True change of every recall, and of some classes another one."""

    name: str
    change: float
    but: Mapping[str, float]

    @property
    def changes(self) -> npt.NDArray[np.float64]:
        """Per class (7,)."""
        return np.array([self.but.get(emotion, self.change) for emotion in EMOTIONS])


CASES = (
    Case("equal", 0.0, {}),
    Case("all +3", 0.03, {}),
    Case("all +3, disgust -10", 0.03, {"disgust": -0.10}),
    Case("all +3, disgust -15", 0.03, {"disgust": -0.15}),
    Case("all +3, disgust -20", 0.03, {"disgust": -0.20}),
    Case("all +3, fear -8", 0.03, {"fear": -0.08}),
    Case("all +3, happy -7", 0.03, {"happy": -0.07}),
    Case("all -5", -0.05, {}),
)


def tables() -> Iterator[Table]:
    """Return the shares of comparisons that the challenger won.

    Also the shares that the recall check stopped, and with a recall drop beyond what is allowed.
    """
    rng = np.random.default_rng(SEED)
    labels = np.repeat(np.arange(len(EMOTIONS)), ROWS)
    table = Table(
        "true recalls, points", "promoted", "stopped by the recall check", "a class fell by more than allowed",
        title=f"{CONTESTS} contests each, at most {100 * PARAMS.max_recall_drop:g} points, confidence {PARAMS.confidence:g}",
    )  # fmt: skip
    for case in CASES:
        promoted, stopped, fell = 0, 0, 0
        for _ in range(CONTESTS):
            old, new = _answers(case.changes, labels, rng)
            decision = decide(_candidate(new), _candidate(old), labels, PARAMS)
            promoted += decision.promoted
            stopped += any(check.name == RECALL_FALL and not check.passed for check in decision.checks)
            drops = recalls(confusion(labels, old)) - recalls(confusion(labels, new))
            fell += bool((drops > PARAMS.max_recall_drop).any())
        table.add_row(case.name, *(f"{100 * count / CONTESTS:.1f} %" for count in (promoted, stopped, fell)))
    yield table


def _answers(
    changes: npt.NDArray[np.float64], labels: npt.NDArray[np.int64], rng: np.random.Generator
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Answers (N,) of champion and challenger; a wrong one names the next class."""
    recall = np.array(RECALLS)
    differing = np.maximum(DIFFERING * 2 * recall * (1 - recall), np.abs(changes) + 0.02)
    only_old, only_new = (differing - changes) / 2, (differing + changes) / 2
    place = rng.random(len(labels))
    old_right = place < recall[labels]
    lost, gained = only_old / recall, only_new / (1 - recall)
    turn = rng.random(len(labels)) < np.where(old_right, lost[labels], gained[labels])
    wrong = (labels + 1) % len(EMOTIONS)
    return np.where(old_right, labels, wrong), np.where(old_right ^ turn, labels, wrong)


def _candidate(answers: npt.NDArray[np.int64]) -> Candidate:
    return Candidate("made", False, np.eye(len(EMOTIONS))[answers], latency_ms=1.0, megabytes=1.0)
