"""The report page of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from fer_pipeline.labels import EMOTIONS
from fer_pipeline.metrics import classification
from fer_pipeline.reports.page import write_page

if TYPE_CHECKING:
    from fer_pipeline.evaluation.evaluate import Evaluation

MISTAKES = 24
"""Faces in the gallery."""


def write_report(path: Path, evaluation: Evaluation, figures: Mapping[str, Figure]) -> None:
    """Writes the self-contained page; the figures go in as SVG."""
    support = evaluation.confusion.sum(axis=1)
    write_page(
        path,
        "evaluation.html",
        metrics=evaluation.metrics,
        calibration=evaluation.calibration,
        training=evaluation.training,
        subsets=evaluation.subsets,
        usages=evaluation.test.usages,
        classes=_classes(evaluation),
        majority={"name": EMOTIONS[int(support.argmax())], "share": float(support.max() / support.sum())},
        confused=_confused(evaluation),
        mistakes=_mistakes(evaluation),
        wrong=int(support.sum() - np.trace(evaluation.confusion)),
        figures=figures,
    )


def _classes(evaluation: Evaluation) -> list[dict[str, Any]]:
    precision, f1 = classification.precisions(evaluation.confusion), classification.f1_scores(evaluation.confusion)
    return [
        {
            "name": name,
            "rows": int(evaluation.confusion[index].sum()),
            "recall": evaluation.recalls[name],
            "precision": float(precision[index]),
            "f1": float(f1[index]),
            "auc": evaluation.roc[name].area,
            "ap": evaluation.precision_recall[name].area,
        }
        for index, name in enumerate(EMOTIONS)
    ]


def _confused(evaluation: Evaluation, most: int = 5) -> list[dict[str, Any]]:
    """The pairs of classes that are mixed up most, as a share of the true class."""
    table = evaluation.confusion
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    np.fill_diagonal(shares, 0)
    cells = np.argsort(-shares, axis=None, kind="stable")[:most]
    pairs = [divmod(int(cell), len(EMOTIONS)) for cell in cells]
    return [
        {
            "true": EMOTIONS[t],
            "predicted": EMOTIONS[p],
            "share": float(shares[t, p]),
            "rows": int(table[t, p]),
            "of": int(table[t].sum()),
        }
        for t, p in pairs
        if table[t, p]
    ]


def _mistakes(evaluation: Evaluation) -> list[dict[str, Any]]:
    """The wrong answers the model was most sure of."""
    predictions, sure = evaluation.probabilities.argmax(axis=1), evaluation.probabilities.max(axis=1)
    wrong = np.nonzero(predictions != evaluation.test.labels)[0]
    worst = wrong[np.argsort(-sure[wrong], kind="stable")][:MISTAKES]
    return [
        {
            "image": evaluation.test.images[row],
            "true": EMOTIONS[evaluation.test.labels[row]],
            "predicted": EMOTIONS[predictions[row]],
            "confidence": float(sure[row]),
            "id": str(evaluation.test.ids[row]),
        }
        for row in worst
    ]
