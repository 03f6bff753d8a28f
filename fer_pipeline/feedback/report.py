"""The page and the table on which a person decides about corrections."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fer_pipeline.feedback.review import Review, Reviewed
from fer_pipeline.reports.page import write_page
from fer_pipeline.workspace.files import replaced_folder, write_json


def write(out: Path, review: Review, inbox: Path) -> Path:
    """Replaces the folder `out`: index.html with a thumbnail per correction, review.json without pictures. Returns the page."""
    with replaced_folder(out) as aside:
        write_json(aside / "review.json", {"items": [as_dict(item) for item in review.items], "damaged": list(review.damaged)})
        order = {"refused": 2, "doubtful": 1, "passes": 0}
        items = sorted(review.items, key=lambda item: order[item.verdict])
        counts = {verdict: sum(item.verdict == verdict for item in items) for verdict in order}
        write_page(aside / "index.html", "feedback.html", review=review, items=items, counts=counts, inbox=inbox)
    return out / "index.html"


def as_dict(item: Reviewed) -> dict[str, Any]:
    """Plain values of one correction for JSON, without its picture."""
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
