"""Metrics and report page of a robustness evaluation."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from fer_pipeline.analysis.robustness.corruptions import STRENGTHS
from fer_pipeline.analysis.robustness.measure import Robustness, corrupt
from fer_pipeline.data.table.dataset import FaceDataset
from fer_pipeline.imaging import UInt8Array
from fer_pipeline.model_info import ModelInfo
from fer_pipeline.reports.components import Table, bold, image_cell, percent, small, stacked, toned
from fer_pipeline.reports.figures import BLUE, GRAY, RED, themed
from fer_pipeline.reports.page import write_report


def write_robustness(out: Path, result: Robustness, test: FaceDataset, info: ModelInfo) -> dict[str, Any]:
    """Replace the folder `out` by metrics.json and report.html.

    Returns the content of metrics.json.
    """
    values: dict[str, Any] = {
        "model": info.fingerprint,
        "network": info.network,
        "synthetic": info.synthetic,
        "rows": result.rows,
        "seed": result.seed,
        "accuracy": asdict(result.clean),
        "mean_corruption_accuracy": asdict(result.mean_corruption_accuracy),
        "kept": result.kept,
        "corruptions": {
            curve.corruption.name: {
                "unit": curve.corruption.unit,
                "strengths": list(curve.corruption.strengths),
                "accuracy": list(curve.accuracy),
                "macro_f1": list(curve.macro_f1),
                "mean_accuracy": curve.mean,
            }
            for curve in result.curves
        },
    }
    write_report(
        out,
        "robustness.html",
        values,
        result=result,
        info=info,
        data_rows=len(test),
        figure=curves_figure(result),
        examples=_examples(test.images[:1], result),
    )
    return values


@themed
def curves_figure(result: Robustness) -> Figure:
    """Draw accuracy by strength, one panel per corruption.

    Lines show the clean accuracy (dashed) and that of always answering the largest class (dotted).
    """
    figure = Figure(figsize=(12, 5.6))
    panels = figure.subplots(2, 4, sharey=True)
    for axes, curve in zip(panels.flat, result.curves, strict=True):
        steps = range(STRENGTHS + 1)
        axes.axhline(result.clean.estimate, color=GRAY, linestyle="--", linewidth=1)
        axes.axhline(result.majority, color=RED, linestyle=":", linewidth=1)
        axes.plot(steps, (result.clean.estimate, *curve.accuracy), color=BLUE, marker="o", markersize=4)
        axes.set_xticks(steps, ("none", *(f"{strength:g}" for strength in curve.corruption.strengths)))
        axes.set(title=f"{curve.corruption.name}: mean {percent(curve.mean)}", xlabel=curve.corruption.unit, ylim=(0, 1))
    for axes in panels[:, 0]:
        axes.set_ylabel("accuracy")
    return figure


def _examples(face: UInt8Array, result: Robustness) -> Table:
    """One face uint8 (1, 48, 48, 1) under every corruption, with the accuracies."""
    rows = []
    for number, curve in enumerate(result.curves):
        cells = [stacked((bold(curve.corruption.name), small(toned(curve.corruption.unit, "dim"))))]
        for strength, accuracy in zip(curve.corruption.strengths, curve.accuracy, strict=True):
            image = corrupt(face, curve.corruption, strength, np.random.default_rng((result.seed, number)))[0]
            cells.append(stacked((image_cell(image, "", side=72), small(f"{strength:g}: {percent(accuracy)}"))))
        rows.append((*cells, percent(curve.mean), percent(float(np.mean(curve.macro_f1)))))
    headers = ("", *(f"strength {number}" for number in range(1, STRENGTHS + 1)), "mean accuracy", "mean macro-F1")
    return Table(headers, tuple(rows), align="l" + "L" * STRENGTHS + "rr")
