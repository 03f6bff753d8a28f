"""Files of an evaluation: metrics, tables, figures and the HTML page."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from matplotlib.figure import Figure

from fer_pipeline.evaluation.figures import (
    confusion_figure,
    learning_figure,
    precision_recall_figure,
    reliability_figure,
    roc_figure,
)
from fer_pipeline.evaluation.result import Evaluation
from fer_pipeline.evaluation.stored_metrics import write_metrics
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.metrics import classification
from fer_pipeline.metrics.calibration import CALIBRATION_FILE
from fer_pipeline.metrics.classification import Interval
from fer_pipeline.metrics.curves import Curve
from fer_pipeline.reports.components import ABSENT, Table, Thumbnail, bold, count, fixed, interval, percent, toned
from fer_pipeline.reports.page import write_page
from fer_pipeline.workspace.files import REPORT_FILE, write_json

PREDICTIONS_FILE = "predictions.parquet"
FIGURES_FOLDER = "figures"

MISTAKES = 24
"""Number of wrong answers in the gallery of the page."""

PREDICTIONS = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("label", pa.int8(), nullable=False),
        *(pa.field(name, pa.float32(), nullable=False) for name in EMOTIONS),
    ]
)
"""predictions.parquet: the calibrated probabilities of each test row."""


def write_evaluation(folder: Path, evaluation: Evaluation) -> None:
    """Write all files of an evaluation into an existing folder."""
    write_metrics(folder, evaluation.metrics)
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


def write_report(path: Path, evaluation: Evaluation, figures: Mapping[str, Figure]) -> None:
    """Write the self-contained HTML page; figures are embedded as SVG."""
    support = evaluation.confusion.sum(axis=1)
    write_page(
        path,
        "evaluation.html",
        metrics=evaluation.metrics,
        accuracy=_stored_interval(evaluation.metrics, "accuracy"),
        macro_f1=_stored_interval(evaluation.metrics, "macro_f1"),
        calibration=evaluation.calibration,
        training=evaluation.training,
        usages=evaluation.test.usages,
        copies=_copies(evaluation),
        augmented=_augmented(evaluation.metrics),
        votes=_votes(evaluation.metrics),
        classes=_classes(evaluation),
        majority={"name": EMOTIONS[int(support.argmax())], "share": float(support.max() / support.sum())},
        confused=_confused(evaluation),
        mistakes=_mistakes(evaluation),
        wrong=int(support.sum() - np.trace(evaluation.confusion)),
        figures=figures,
    )


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


def _copies(evaluation: Evaluation) -> Table:
    """Accuracy and macro-F1 with and without copies of training rows."""
    return Table(
        ("test rows", "rows", "accuracy, % (95 %)", "macro-F1, % (95 %)"),
        tuple(
            (
                subset.name,
                count(subset.rows),
                *(ABSENT if one is None else interval(one) for one in (subset.accuracy, subset.macro_f1)),
            )
            for subset in evaluation.subsets
        ),
    )


def _augmented(metrics: Mapping[str, float]) -> Table:
    """Figures without and with test-time augmentation; empty where not measured."""
    rows = []
    for name, suffix in (("plain picture, as served", ""), ("mean over ten views of the picture", "_tta")):
        if f"accuracy{suffix}" in metrics:
            shares = [interval(_stored_interval(metrics, f"{figure}{suffix}")) for figure in ("accuracy", "macro_f1")]
            ece = metrics.get(f"ece{suffix}")
            rows.append((name, *shares, "" if ece is None else fixed(ece)))
    return Table(("answers", "accuracy, % (95 %)", "macro-F1, % (95 %)", "ECE"), tuple(rows))


def _votes(metrics: Mapping[str, float]) -> Table:
    """Figures against labels and FER+ votes; empty where no row has votes."""
    if "vote_rows" not in metrics:
        return Table((), ())
    rows = []
    for name, share, prefix, rows_key in (
        ("given label", "accuracy", "", "rows"),
        ("emotion with most FER+ votes", "vote_agreement", "vote_", "vote_rows"),
    ):
        key = f"{prefix}divergence"
        rows.append(
            (
                name,
                count(int(metrics[rows_key])),
                interval(_stored_interval(metrics, share)),
                *(percent(metrics[f"{share}_at_{coverage}"]) for coverage in (90, 80)),
                percent(metrics[f"{prefix}macro_f1"]),
                fixed(metrics[f"{prefix}ece"]),
                fixed(metrics[key]) if key in metrics else "",
            )
        )
    header = (
        "judged by",
        "rows",
        "right, % (95 %)",
        "of the surest 90 %",
        "of the surest 80 %",
        "macro-F1, %",
        "ECE",
        "KL, nats",
    )
    return Table(header, tuple(rows))


def _stored_interval(metrics: Mapping[str, float], name: str) -> Interval:
    return Interval(metrics[name], metrics[f"{name}_low"], metrics[f"{name}_high"])


def _classes(evaluation: Evaluation) -> Table:
    """Figures of each emotion, and below them their means."""
    precision, f1 = classification.precisions(evaluation.confusion), classification.f1_scores(evaluation.confusion)
    rows: list[tuple[str, ...]] = []
    for index, name in enumerate(EMOTIONS):
        recall = evaluation.recalls[name]
        rows.append(
            (
                name,
                count(evaluation.confusion[index].sum()),
                ABSENT if recall is None else interval(recall),
                percent(precision[index]),
                percent(f1[index]),
                fixed(evaluation.roc[name].area),
                fixed(evaluation.precision_recall[name].area),
            )
        )
    for name, key in (("mean over emotions", "macro_f1"), ("mean over rows", "weighted_f1")):
        rows.append((bold(name), "", "", "", bold(percent(evaluation.metrics[key])), "", ""))
    return Table(("emotion", "rows", "recall (95 %)", "precision", "F1", "ROC AUC", "average precision"), tuple(rows))


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


def _mistakes(evaluation: Evaluation) -> list[Thumbnail]:
    """The wrong answers with the highest confidence."""
    predictions, confidence = evaluation.probabilities.argmax(axis=1), evaluation.probabilities.max(axis=1)
    wrong = np.nonzero(predictions != evaluation.test.labels)[0]
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")][:MISTAKES]
    thumbnails = []
    for row in worst:
        label, row_id = EMOTIONS[evaluation.test.labels[row]], str(evaluation.test.ids[row])
        answer = f"{label} → " + bold(EMOTIONS[predictions[row]]) + f" {percent(confidence[row], 0)}"
        thumbnails.append(
            Thumbnail(evaluation.test.images[row], f"Face {row_id}, labelled {label}", (answer, toned(row_id, "dim")))
        )
    return thumbnails
