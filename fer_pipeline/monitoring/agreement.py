"""Measure the agreement of two models on the same faces, without labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from fer_pipeline.errors import MonitoringError
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.monitoring.observations import Pairs


@dataclass(frozen=True)
class ClassAgreement:
    """Agreement on the faces that the champion labels `emotion`.

    `instead` counts the other labels of the challenger.
    """

    emotion: str
    faces: int
    agreed: int
    instead: dict[str, int]


@dataclass(frozen=True)
class Agreement:
    """Agreement of two models on `faces` faces.

    [`low`, `high`] is Wilson's 95 % interval of `share`. The interval assumes independent faces; with many images of one person
    it is too narrow. `mean_difference` is the mean absolute difference of the probabilities, over faces and emotions,
    `confidence` the mean of the largest probability of champion and challenger. `milliseconds` are medians of champion and
    challenger, `latency_ratio` is the median over faces of the challenger's time over the champion's.
    """

    faces: int
    agreed: int
    share: float
    low: float
    high: float
    mean_difference: float
    confidence: tuple[float, float]
    milliseconds: tuple[float, float]
    latency_ratio: float
    classes: tuple[ClassAgreement, ...]

    @property
    def verdict(self) -> str:
        """Return the result in one line."""
        interval = f"[{100 * self.low:.1f}, {100 * self.high:.1f}]"
        return f"the models agree on {100 * self.share:.1f} % {interval} of {self.faces:,} faces"


def agreement(pairs: Pairs) -> Agreement:
    """Measure the agreement of two models.

    Raises `MonitoringError` where there is no face.
    """
    if not len(pairs):
        raise MonitoringError("there is no face on which the two models could agree: let the service compare some first")
    before, now = pairs.champion.argmax(axis=1), pairs.challenger.argmax(axis=1)
    agreed = int((before == now).sum())
    interval = stats.binomtest(agreed, len(pairs)).proportion_ci(method="wilson")
    return Agreement(
        faces=len(pairs),
        agreed=agreed,
        share=agreed / len(pairs),
        low=float(interval.low),
        high=float(interval.high),
        mean_difference=float(np.abs(pairs.champion - pairs.challenger).mean()),
        confidence=(float(pairs.champion.max(axis=1).mean()), float(pairs.challenger.max(axis=1).mean())),
        milliseconds=(float(np.median(pairs.champion_milliseconds)), float(np.median(pairs.challenger_milliseconds))),
        latency_ratio=float(np.median(pairs.challenger_milliseconds / pairs.champion_milliseconds)),
        classes=tuple(_of_class(index, now[before == index]) for index in range(len(EMOTIONS))),
    )


def _of_class(index: int, answers: npt.NDArray[np.int64]) -> ClassAgreement:
    counts = np.bincount(answers, minlength=len(EMOTIONS))
    order = np.argsort(-counts, kind="stable")
    instead = {EMOTIONS[other]: int(counts[other]) for other in order if other != index and counts[other]}
    return ClassAgreement(EMOTIONS[index], len(answers), int(counts[index]), instead)
