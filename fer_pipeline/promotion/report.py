"""Writes pages and JSON of a comparison of two models and of a decision of the gate."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from fer_pipeline.imaging import UInt8Array
from fer_pipeline.promotion.comparison import Comparison
from fer_pipeline.promotion.decision import Candidate, Decision, describe_rows
from fer_pipeline.reports.page import write_page
from fer_pipeline.workspace.files import METRICS_FILE, REPORT_FILE, replaced_folder, write_json


def write_comparison(
    out: Path,
    result: Comparison,
    a: Candidate,
    b: Candidate,
    images: UInt8Array,
    ids: npt.NDArray[np.str_],
    *,
    data: str,
    synthetic: bool,
    confidence: float,
) -> None:
    """Replaces the folder `out`: metrics.json, report.html.

    `images` uint8 (N, 48, 48, 1) and `ids` (N,) are those of the rows compared, `data` and `synthetic` say of which source they
    are; `confidence` is that of the intervals.
    """
    unknown = tuple(one.name for one in (a, b) if one.unknown_training_data)
    values = {
        "a": a.name,
        "b": b.name,
        "data": data,
        "confidence": confidence,
        "unknown_training_data": list(unknown),
        **asdict(result),
    }
    for kind in values["kinds"]:
        for shown in kind["shown"]:
            shown["id"] = str(ids[shown["row"]])
    with replaced_folder(out) as folder:
        write_json(folder / METRICS_FILE, values)
        write_page(
            folder / REPORT_FILE,
            "comparison.html",
            result=result,
            a=a,
            b=b,
            images=images,
            ids=ids,
            data=data,
            strangers=[one for one in (a, b) if one.synthetic != synthetic],
            level=round(100 * confidence),
            judged=describe_rows(result.rows, (a.name, b.name), unknown),
            figure=changes_figure(result),
        )


def changes_figure(result: Comparison) -> Figure:
    """Change of recall and F1 of each emotion from a to b, in points, with their intervals."""
    figure = Figure(figsize=(9, 0.55 * len(result.classes) + 1.2), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(result.classes))
    for offset, colour, name, changes in (
        (-0.15, "#1d4e89", "recall", [one.recall.change for one in result.classes]),
        (0.15, "#c77800", "F1", [one.f1.change for one in result.classes]),
    ):
        middle = 100 * np.array([change.estimate for change in changes])
        low, high = (100 * np.array([getattr(change, end) for change in changes]) for end in ("low", "high"))
        reach = np.clip(np.stack([middle - low, high - middle]), 0, None)  # a percentile interval may lie beside its estimate
        axes.errorbar(middle, places + offset, xerr=reach, fmt="o", color=colour, label=name, capsize=3, markersize=5)
    axes.axvline(0, color="#666", linewidth=1)
    axes.set_yticks(places, [f"{one.emotion} ({one.rows:,})" for one in result.classes])
    axes.invert_yaxis()
    axes.set_xlabel("change from the first to the second, points")
    axes.grid(axis="x", alpha=0.25)
    axes.legend(loc="best")
    return figure


DECISION_FILE = "decision.json"
PAGE_FILE = "index.html"


def write_gate(out: Path, decision: Decision, result: Comparison | None, *, data: str, confidence: float) -> None:
    """Replaces the folder `out`: decision.json, index.html.

    `result` is the comparison from champion to challenger, None where there is no champion; `data` names the source of the test
    rows, `confidence` is that of the intervals.
    """
    facts = {
        "challenger": decision.challenger,
        "champion": decision.champion,
        "promoted": decision.promoted,
        "data": data,
        "rows": decision.rows,
        "unknown_training_data": list(decision.unknown_training_data),
        "confidence": confidence,
        "checks": [{key: getattr(one, key) for key in ("name", "passed", "observed", "required")} for one in decision.checks],
        "figures": decision.figures,
    }
    with replaced_folder(out) as folder:
        write_json(folder / DECISION_FILE, facts)
        write_page(
            folder / PAGE_FILE,
            "gate.html",
            decision=decision,
            judged=decision.evaluated_on,
            data=data,
            result=result,
            figure=changes_figure(result) if result else None,
            level=round(100 * confidence),
        )
