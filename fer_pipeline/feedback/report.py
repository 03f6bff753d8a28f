"""Write the review page and table of corrections."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from fer_pipeline.feedback.review import Review, Reviewed
from fer_pipeline.feedback.review_page import ITEMS_FILE
from fer_pipeline.reports.components import Table, Tone, bold, code, image_cell, percent, stacked, toned
from fer_pipeline.reports.page import write_page
from fer_pipeline.workspace.files import replaced_folder, write_json

PAGE_FILE: Final = "index.html"


def write(out: Path, review: Review, inbox: Path) -> Path:
    """Write index.html with a thumbnail per correction, and review.json.

    Replaces the folder `out`, for its owner alone, and returns the page.
    """
    with replaced_folder(out, private=True) as aside:
        write_json(aside / ITEMS_FILE, {"items": [as_dict(item) for item in review.items], "damaged": list(review.damaged)})
        order = {"refused": 2, "doubtful": 1, "passes": 0}
        items = sorted(review.items, key=lambda item: order[item.verdict])
        counts = {verdict: sum(item.verdict == verdict for item in items) for verdict in order}
        write_page(
            aside / PAGE_FILE,
            "feedback.html",
            review=review,
            items=_item_table(items),
            checks=_check_table(review),
            counts=counts,
            inbox=inbox,
        )
    return out / PAGE_FILE


def _item_table(items: list[Reviewed]) -> Table:
    return Table(
        ("face", "answered", "the person says", "checks", "quality", "given, and deleted unless accepted (UTC)", "id"),
        tuple(_item_row(item, number) for number, item in enumerate(items, start=1)),
        align="lllllll",
    )


def _item_row(item: Reviewed, number: int) -> tuple[str, ...]:
    correction, quality = item.correction, item.quality
    verdicts = [toned("passes", "good")] if item.passes else []
    verdicts += [toned("refused:", "bad") + f" {fault}" for fault in item.faults]
    verdicts += [toned("doubtful:", "warn") + f" {doubt}" for doubt in item.doubts]
    size = "" if correction.size is None else f"{correction.size:.0f} px, "
    measured = f"{size}sharpness {quality.sharpness:.0f}, brightness {quality.brightness:.0f}, contrast {quality.contrast:.0f}"
    return (
        image_cell(item.face, f"Face of correction {number}", side=96),
        stacked((correction.answered, toned(percent(correction.confidence, 0), "dim"))),
        bold(correction.corrected),
        stacked(verdicts),
        stacked((measured, toned(", ".join(quality.reasons), "warn"))) if quality.reasons else measured,
        stacked((f"{correction.time:%Y-%m-%d %H:%M}", toned(f"{correction.expires:%Y-%m-%d}", "dim"))),
        stacked((code(correction.id), toned(f"sender {correction.sender}, model {correction.version}", "dim"))),
    )


def _check_table(review: Review) -> Table:
    rows = []
    for one in review.checks:
        tone: Tone = "good" if not one.failed else "bad" if one.severity == "error" else "warn"
        rows.append((one.name, one.severity, one.expected, toned(str(len(one.failed)), tone), one.note))
    return Table(("check", "severity", "expected", "broken by", "why"), tuple(rows), align="lllrl")


def as_dict(item: Reviewed) -> dict[str, Any]:
    """Return plain values of one correction for JSON, without its image."""
    correction, quality = item.correction, item.quality
    return {
        "id": correction.id,
        "verdict": item.verdict,
        "answered": correction.answered,
        "confidence": correction.confidence,
        "corrected": correction.corrected,
        "time": correction.time.isoformat(),
        "expires": correction.expires.isoformat(),
        "model": correction.version,
        "sender": correction.sender,
        "size": correction.size,
        "sharpness": round(quality.sharpness, 1),
        "brightness": round(quality.brightness, 1),
        "contrast": round(quality.contrast, 1),
        "faults": list(item.faults),
        "doubts": list(item.doubts),
    }
