"""Writes a decision of the gate: its numbers as JSON, and a page with the gain of each emotion."""

from __future__ import annotations

from pathlib import Path

from fer_pipeline.promotion.comparison import Comparison
from fer_pipeline.promotion.decision import Decision
from fer_pipeline.promotion.report import changes_figure
from fer_pipeline.reports.page import write_page
from fer_pipeline.workspace.files import replaced_folder, write_json

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
        "unlisted": list(decision.unlisted),
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
            judged=decision.judged,
            data=data,
            result=result,
            figure=changes_figure(result) if result else None,
            level=round(100 * confidence),
        )
