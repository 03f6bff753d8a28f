"""Write pages and JSON of comparisons and of decisions of the gate."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from fer_pipeline.imaging import UInt8Array
from fer_pipeline.promotion.comparison import Comparison, Disagreement
from fer_pipeline.promotion.decision import Candidate, Decision, describe_rows
from fer_pipeline.reports.components import Table, Thumbnail, bold, change, count, fixed, percent, toned
from fer_pipeline.reports.figures import BLUE, GRAY, ORANGE, themed
from fer_pipeline.reports.page import write_report


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
    write_report(
        out,
        "comparison.html",
        values,
        result=result,
        a=a,
        b=b,
        data=data,
        strangers=[one for one in (a, b) if one.synthetic != synthetic],
        judged=describe_rows(result.rows, (a.name, b.name), unknown),
        measures=_measure_table(result, a, b, round(100 * confidence)),
        emotions=_emotion_table(result, round(100 * confidence)),
        level=round(100 * confidence),
        kinds=[(kind, [_thumbnail(one, images, ids) for one in kind.shown]) for kind in result.kinds],
        figure=changes_figure(result),
    )


def _measure_table(result: Comparison, a: Candidate, b: Candidate, level: int) -> Table:
    loss = result.measures[2]
    rows: list[tuple[str, ...]] = [(m.name, percent(m.a, 2), percent(m.b, 2), change(m.change, 2)) for m in result.measures[:2]]
    rows.append(
        (f"{loss.name}, nats (lower is better)", fixed(loss.a, 4), fixed(loss.b, 4), change(loss.change, 4, scale=1, better=-1))
    )
    rows += [
        (name, fixed(first, digits), fixed(second, digits), f"{second - first:+.{digits}f}")
        for name, first, second, digits in (
            ("calibration error (ECE, 15 bins)", *result.ece, 4),
            ("one picture on one thread, ms", a.latency_ms, b.latency_ms, 2),
            ("size of the ONNX file, MB", a.megabytes, b.megabytes, 1),
        )
    ]
    return Table(("", "first", "second", f"change [{level} %]"), tuple(rows))


def _emotion_table(result: Comparison, level: int) -> Table:
    return Table(
        ("emotion", "rows", "recall", f"change [{level} %]", "F1", f"change [{level} %]"),
        tuple(
            (
                one.emotion,
                count(one.rows),
                f"{percent(one.recall.a)} → {percent(one.recall.b)}",
                change(one.recall.change),
                f"{percent(one.f1.a)} → {percent(one.f1.b)}",
                change(one.f1.change),
            )
            for one in result.classes
        ),
    )


def _thumbnail(one: Disagreement, images: UInt8Array, ids: npt.NDArray[np.str_]) -> Thumbnail:
    name = str(ids[one.row])
    answers = (f"1: {one.a} {percent(one.confidence_a, 0)}", f"2: {one.b} {percent(one.confidence_b, 0)}")
    return Thumbnail(images[one.row], f"Face {name}, labelled {one.label}", (bold(one.label), *answers, toned(name, "dim")))


@themed
def changes_figure(result: Comparison) -> Figure:
    """Draw the change of recall and F1 of each emotion from a to b.

    In points, with intervals.
    """
    figure = Figure(figsize=(9, 0.55 * len(result.classes) + 1.2))
    axes = figure.subplots()
    places = np.arange(len(result.classes))
    for offset, colour, name, changes in (
        (-0.15, BLUE, "recall", [one.recall.change for one in result.classes]),
        (0.15, ORANGE, "F1", [one.f1.change for one in result.classes]),
    ):
        middle = 100 * np.array([change.estimate for change in changes])
        low, high = (100 * np.array([getattr(change, end) for change in changes]) for end in ("low", "high"))
        reach = np.clip(np.stack([middle - low, high - middle]), 0, None)  # a percentile interval may be beside its estimate
        axes.errorbar(middle, places + offset, xerr=reach, fmt="o", color=colour, label=name, capsize=3, markersize=5)
    axes.axvline(0, color=GRAY, linewidth=1)
    axes.set_yticks(places, [f"{one.emotion} ({one.rows:,})" for one in result.classes])
    axes.invert_yaxis()
    axes.set_xlabel("change from the first to the second, points")
    figure.legend(loc="outside upper right", ncols=2)
    return figure


DECISION_FILE = "decision.json"
PAGE_FILE = "index.html"


def write_gate(out: Path, decision: Decision, result: Comparison | None, *, data: str, confidence: float) -> None:
    """Replaces the folder `out`: decision.json, index.html.

    `result` is the comparison from champion to challenger, None where there is no champion; `data` names the source of the test
    rows, `confidence` is that of the intervals.
    """
    values = {
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
    write_report(
        out,
        "gate.html",
        values,
        metrics_file=DECISION_FILE,
        page_file=PAGE_FILE,
        decision=decision,
        judged=decision.evaluated_on,
        data=data,
        result=result,
        checks=Table(
            ("check", "result", "observed", "required"),
            tuple(
                (one.name, toned("pass", "good") if one.passed else toned("fail", "bad"), one.observed, one.required)
                for one in decision.checks
            ),
            align="llll",
        ),
        emotions=_emotion_table(result, round(100 * confidence)) if result else None,
        figure=changes_figure(result) if result else None,
        level=round(100 * confidence),
    )
