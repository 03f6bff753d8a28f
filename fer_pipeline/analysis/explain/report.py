"""Figures of saliency maps, and the report page of their faithfulness."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fer_pipeline.analysis.explain.faithfulness import BASELINES, Explain, Faithfulness
from fer_pipeline.data.table.dataset import FaceDataset
from fer_pipeline.imaging import UInt8Array
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.model_info import ModelInfo, Predict
from fer_pipeline.reports.components import ABSENT, Table, change, fixed, percent, stacked, toned
from fer_pipeline.reports.figures import BLUE, GRAY, GREEN, ORANGE, SLATE, themed
from fer_pipeline.reports.page import write_report

_COLORS = (BLUE, ORANGE, GREEN, SLATE, GRAY)


@themed
def examples_figure(faces: FaceDataset, predict: Predict, methods: Mapping[str, Explain]) -> Figure:
    """Draw the maps of each method for one test face of each emotion.

    It is the correctly classified face with the highest confidence.
    """
    probabilities = predict(faces.images)
    figure = Figure(figsize=(11, 1.75 * (len(methods) + 1)))
    grid = figure.subplots(len(methods) + 1, len(EMOTIONS), squeeze=False)
    for index, name in enumerate(EMOTIONS):
        right = (faces.labels == index) & (probabilities.argmax(axis=1) == index)
        if not right.any():
            for axes in grid[:, index]:
                axes.axis("off")
            grid[0, index].set_title(f"{name}: never right", fontsize=10)
            continue
        row = int(np.where(right, probabilities[:, index], -1).argmax())
        _face(grid[0, index], faces.images[row], f"{name} {percent(probabilities[row, index], 0)}")
        for axes, explain in zip(grid[1:, index], methods.values(), strict=True):
            heat = explain(faces.images[row])[index]
            _overlay(axes, faces.images[row], heat, float(np.abs(heat).max()))
    for axes, method in zip(grid[:, 0], ("face", *methods), strict=True):
        axes.set_ylabel(method, fontsize=11)
    return figure


@themed
def faithfulness_figure(rows: tuple[Faithfulness, ...]) -> Figure:
    """Draw the mean deletion and insertion curve of each method and baseline."""
    figure = Figure(figsize=(11, 4.2))
    left, right = figure.subplots(1, 2, sharey=True)
    for row, color in zip(rows, _COLORS, strict=False):
        line = ":" if row.method in BASELINES else "-"
        share = np.linspace(0, 1, len(row.deletion))
        left.plot(share, row.deletion, line, color=color, label=f"{row.method} ({row.deletion_auc:.3f})")
        right.plot(share, row.insertion, line, color=color, label=f"{row.method} ({row.insertion_auc:.3f})")
    left.set(title="deletion: lower is better", xlabel="share of pixels blurred away", ylabel="probability of the answer")
    right.set(title="insertion: higher is better", xlabel="share of pixels given sharp")
    for axes in (left, right):
        axes.legend(title="method (AUC)")
    return figure


def write_explanations(
    out: Path,
    rows: tuple[Faithfulness, ...],
    examples: Figure,
    info: ModelInfo,
    *,
    sample_size: int,
    absent: Mapping[str, str],
) -> dict[str, Any]:
    """Replace the folder `out` by metrics.json and report.html.

    `absent` says of each method that was not measured why. Returns the content of metrics.json.
    """
    values: dict[str, Any] = {
        "model": info.fingerprint,
        "network": info.network,
        "synthetic": info.synthetic,
        "pictures": sample_size,
        "absent": dict(absent),
        "methods": {
            row.method: {
                "deletion_auc": row.deletion_auc,
                "insertion_auc": row.insertion_auc,
                "score": asdict(row.score),
                "over_random": asdict(row.over_random) if row.over_random else None,
                "over_centre": asdict(row.over_centre) if row.over_centre else None,
                "trusted": row.trusted,
                "seconds": row.seconds,
            }
            for row in rows
        },
    }
    trusted = sorted((row for row in rows if row.trusted), key=lambda row: -row.score.estimate)
    write_report(
        out,
        "explanation.html",
        values,
        info=info,
        methods=_method_table(rows),
        trusted=[row.method for row in trusted],
        untrusted=[row.method for row in rows if not row.trusted and row.method not in BASELINES],
        sample_size=sample_size,
        absent=absent,
        examples=examples,
        curves=faithfulness_figure(rows),
    )
    return values


def _method_table(rows: tuple[Faithfulness, ...]) -> Table:
    return Table(
        (
            "method",
            "deletion AUC",
            "insertion AUC",
            "insertion minus deletion (95 %)",
            "above random (95 %)",
            "above centre (95 %)",
            "ms a picture",
        ),
        tuple(
            (
                stacked((row.method, toned("(baseline)", "dim"))) if row.method in BASELINES else row.method,
                fixed(row.deletion_auc),
                fixed(row.insertion_auc),
                f"{fixed(row.score.estimate)} " + toned(f"[{fixed(row.score.low)}, {fixed(row.score.high)}]", "dim"),
                *(
                    ABSENT if score is None else change(score, 3, scale=1, undecided="warn")
                    for score in (row.over_random, row.over_centre)
                ),
                fixed(1000 * row.seconds, 0),
            )
            for row in rows
        ),
    )


def _face(axes: Axes, image: UInt8Array, title: str) -> None:
    axes.imshow(image[:, :, 0], cmap="gray", vmin=0, vmax=255)
    axes.set_title(title, fontsize=10)
    axes.set(xticks=[], yticks=[])


def _overlay(axes: Axes, image: UInt8Array, heat: npt.NDArray[np.float64], scale: float) -> None:
    axes.imshow(image[:, :, 0], cmap="gray", vmin=0, vmax=255)
    axes.imshow(heat, cmap="RdBu_r", vmin=-max(scale, 1e-12), vmax=max(scale, 1e-12), alpha=0.5)
    axes.set(xticks=[], yticks=[])
