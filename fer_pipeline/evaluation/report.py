"""Writes what evaluate found: tables for DVC and the gate, figures for MLflow, and the page."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from fer_pipeline.evaluation.figures import (
    confusion_figure,
    learning_figure,
    precision_recall_figure,
    reliability_figure,
    roc_figure,
)
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.metrics.calibration import CALIBRATION_FILE
from fer_pipeline.metrics.curves import Curve
from fer_pipeline.modeling.evaluation_page import write_report
from fer_pipeline.workspace.files import METRICS_FILE, REPORT_FILE, write_json

if TYPE_CHECKING:
    from fer_pipeline.evaluation.evaluate import Evaluation

PREDICTIONS_FILE = "predictions.parquet"
FIGURES_FOLDER = "figures"

PREDICTIONS = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("label", pa.int8(), nullable=False),
        *(pa.field(name, pa.float32(), nullable=False) for name in EMOTIONS),
    ]
)
"""predictions.parquet: the calibrated probabilities of each test row."""


def write_evaluation(folder: Path, evaluation: Evaluation) -> None:
    """Writes all files of an evaluation into an existing folder."""
    write_json(folder / METRICS_FILE, evaluation.metrics)
    write_json(folder / CALIBRATION_FILE, evaluation.calibration)
    _write_predictions(folder / PREDICTIONS_FILE, evaluation)
    predictions = evaluation.probabilities.argmax(axis=1)
    pairs = zip(evaluation.test.labels, predictions, strict=True)
    _write_csv(folder / "confusion.csv", ("actual", "predicted"), ((EMOTIONS[a], EMOTIONS[p]) for a, p in pairs))
    _write_csv(folder / "roc.csv", ("emotion", "false_positive_rate", "true_positive_rate"), _points(evaluation.roc))
    _write_csv(folder / "pr.csv", ("emotion", "recall", "precision"), _points(evaluation.precision_recall))
    table = evaluation.reliability_after
    _write_csv(
        folder / "reliability.csv",
        ("confidence", "accuracy", "rows"),
        ((f"{c:.6f}", f"{a:.6f}", n) for c, a, n in zip(table.confidence, table.accuracy, table.rows, strict=True) if n),
    )
    figures = {
        "confusion": confusion_figure(evaluation.confusion),
        "roc": roc_figure(evaluation.roc),
        "precision_recall": precision_recall_figure(evaluation.precision_recall),
        "reliability": reliability_figure(evaluation.reliability_before, evaluation.reliability_after),
        "learning": learning_figure(evaluation.history, evaluation.training["best_epoch"]),
    }
    (folder / FIGURES_FOLDER).mkdir()
    for name, figure in figures.items():
        figure.savefig(folder / FIGURES_FOLDER / f"{name}.png", dpi=110)
    write_report(folder / REPORT_FILE, evaluation, figures)


def _write_predictions(path: Path, evaluation: Evaluation) -> None:
    columns: dict[str, Any] = {"id": evaluation.test.ids.tolist(), "label": evaluation.test.labels.tolist()}
    columns |= {name: evaluation.probabilities[:, index] for index, name in enumerate(EMOTIONS)}
    pq.write_table(pa.table(columns).cast(PREDICTIONS), path)


def _points(curves: Mapping[str, Curve]) -> Iterable[tuple[str, str, str]]:
    for name, curve in curves.items():
        for x, y in zip(curve.x, curve.y, strict=True):
            yield name, f"{x:.6f}", f"{y:.6f}"


def _write_csv(path: Path, header: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(header)
        writer.writerows(rows)
