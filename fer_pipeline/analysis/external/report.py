"""Metrics and report page of an evaluation on an external data set."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from fer_pipeline.analysis.external.measure import ExternalResult
from fer_pipeline.evaluation.figures import confusion_figure
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.model_info import ModelInfo
from fer_pipeline.reports.components import Table, count, interval
from fer_pipeline.reports.page import write_report


def write_external(out: Path, result: ExternalResult, info: ModelInfo) -> dict[str, Any]:
    """Replace the folder `out` by metrics.json and report.html.

    Returns the content of metrics.json.
    """
    values: dict[str, Any] = {
        "data": result.data.title,
        "part": result.data.part,
        "model": info.fingerprint,
        "network": info.network,
        "synthetic": info.synthetic,
        "detector": result.detector or "none",
        "shared": list(result.shared),
        "lacking": list(result.lacking),
        "left_out": result.left_out,
        "notes": list(result.data.notes),
        "rows": result.rows,
        "rows_unreadable": len(result.unreadable),
        "rows_without_face": len(result.without_face),
        "ece": result.ece,
        "accuracy": asdict(result.accuracy),
        "macro_f1": asdict(result.macro_f1),
        "restricted_accuracy": asdict(result.restricted_accuracy),
        "recall": {name: asdict(interval) for name, interval in result.recalls.items()},
    }
    support = result.confusion.sum(axis=1)
    write_report(
        out,
        "external.html",
        values,
        result=result,
        info=info,
        rows_used=_rows_used(result),
        recalls=Table(
            ("emotion", "pictures", "recall (95 %)"),
            tuple((name, count(support[EMOTIONS.index(name)]), interval(recall)) for name, recall in result.recalls.items()),
        ),
        figure=confusion_figure(result.confusion),
        majority={"name": EMOTIONS[int(support.argmax())], "share": float(support.max() / support.sum())},
    )
    return values


def _rows_used(result: ExternalResult) -> Table:
    """Classes and pictures that are in the figures, and those that are not."""
    lacking = (
        f"{', '.join(result.lacking)}. They are in no average; an answer of one of them counts as wrong, except in “among shared "
        "classes”."
    )
    left_out = ", ".join(f"{name} ({rows:,} pictures)" for name, rows in result.left_out.items())
    rows = [
        ("classes that both have", ", ".join(result.shared)),
        ("classes of the model that this set lacks", lacking if result.lacking else "none"),
        ("pictures of this set without a label of the model", f"{left_out}. They are in no figure." if left_out else "none"),
        ("pictures that cannot be read", _unused(result.unreadable)),
    ]
    if result.detector:
        rows.append(("pictures without a face found", _unused(result.without_face)))
    return Table(("", ""), tuple(rows))


def _unused(names: tuple[str, ...], most: int = 12) -> str:
    if not names:
        return "0"
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return f"{len(names):,}: {', '.join(names[:most])}{more}. They are in no figure."
