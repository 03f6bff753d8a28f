"""Draw the figures of an evaluation with matplotlib, without global state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fer_pipeline.labels import EMOTIONS
from fer_pipeline.metrics.classification import Reliability
from fer_pipeline.metrics.curves import Curve
from fer_pipeline.reports.figures import BLUE, GRAY, ORANGE, RED, SLATE, draw_matrix, themed

COLORS = (RED, "#6a994e", "#7b2cbf", "#f4a300", BLUE, ORANGE, SLATE)
"""One colour per emotion."""


@themed
def confusion_figure(counts: npt.NDArray[np.int64]) -> Figure:
    """Draw a confusion matrix (7, 7): counts, and shares of each true class."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(11, 5))
    left, right = figure.subplots(1, 2)
    for axes, title, texts in (
        (left, "rows", [[f"{value:,}" for value in row] for row in counts]),
        (right, "% of each true class", [[f"{100 * value:.0f}" for value in row] for row in shares]),
    ):
        draw_matrix(axes, shares, texts, EMOTIONS, title=title, xlabel="predicted", ylabel="true")
    return figure


@themed
def roc_figure(curves: Mapping[str, Curve]) -> Figure:
    """Draw the ROC curve of each class against the rest."""
    figure, axes = _square("false-positive rate", "true-positive rate")
    axes.plot([0, 1], [0, 1], color=GRAY, linestyle=":", linewidth=1)
    _draw(axes, curves, "AUC")
    return figure


@themed
def precision_recall_figure(curves: Mapping[str, Curve]) -> Figure:
    """Draw the precision-recall curve of each class against the rest."""
    figure, axes = _square("recall", "precision")
    _draw(axes, curves, "AP")
    return figure


@themed
def reliability_figure(before: Reliability, after: Reliability) -> Figure:
    """Draw the reliability diagram before and after temperature scaling.

    Below it stands the number of rows by confidence.
    """
    figure = Figure(figsize=(10, 5))
    panels = figure.subplots(2, 2, sharex=True, height_ratios=(3, 1), sharey="row")
    for column, (table, name) in enumerate(((before, "before temperature scaling"), (after, "after"))):
        axes, counts = panels[0, column], panels[1, column]
        centres, width = (table.edges[:-1] + table.edges[1:]) / 2, table.edges[1] - table.edges[0]
        filled = table.rows > 0
        axes.bar(centres[filled], table.accuracy[filled], width * 0.92, color=BLUE, label="accuracy")
        axes.plot(table.confidence[filled], table.confidence[filled], "o", color=ORANGE, markersize=4, label="mean confidence")
        axes.plot([0, 1], [0, 1], color=GRAY, linestyle=":", linewidth=1)
        axes.set(title=f"{name}: ECE {table.ece:.3f}", ylim=(0, 1), xlim=(0, 1))
        axes.legend(loc="upper left")
        counts.bar(centres, table.rows, width * 0.92, color=SLATE)
        counts.set(xlabel="confidence")
    panels[0, 0].set_ylabel("accuracy")
    panels[1, 0].set_ylabel("rows")
    return figure


@themed
def learning_figure(history: Sequence[Mapping[str, float]], best_epoch: int) -> Figure:
    """Loss, accuracy and learning rate by epoch."""
    epochs = [entry["epoch"] for entry in history]
    figure = Figure(figsize=(11, 3.6))
    loss, share, rate = figure.subplots(1, 3)
    for axes, names, title in (
        (loss, ("loss", "val_loss"), "loss"),
        (share, ("accuracy", "val_accuracy", "val_macro_f1"), "accuracy and macro-F1"),
        (rate, ("lr",), "learning rate"),
    ):
        for name, color in zip(names, (SLATE, BLUE, ORANGE), strict=False):
            label = _CURVE_NAMES.get(name, name)
            axes.plot(
                epochs, [entry[name] for entry in history], color=color, label=label, marker="." if len(epochs) < 30 else ""
            )
        axes.axvline(best_epoch, color=GRAY, linestyle=":", linewidth=1)
        axes.set(title=title, xlabel="epoch")
    loss.legend()
    share.legend()
    return figure


_CURVE_NAMES = {
    "loss": "training (augmented, smoothed)",
    "val_loss": "validation",
    "accuracy": "training (augmented)",
    "val_accuracy": "validation",
    "val_macro_f1": "validation macro-F1",
}


def _square(x: str, y: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(5.4, 5))
    axes = figure.subplots()
    axes.set(xlabel=x, ylabel=y, xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    return figure, axes


def _draw(axes: Axes, curves: Mapping[str, Curve], area: str) -> None:
    for (name, curve), color in zip(curves.items(), COLORS, strict=True):
        axes.plot(curve.x, curve.y, color=color, linewidth=1.4, label=f"{name} ({area} {curve.area:.3f})")
    axes.legend(loc="lower left" if area == "AP" else "lower right")
