"""What was tried on FER-2013, from what each training and evaluation left in benchmarks/attempts and fer_pipeline/weights.

PublicTest is test, validation is carved from Training: 548 rows (preprocess.validation_share 0.02) for the shipped models and
resnet-gpu-185, else 2,733. The recipe of each is in its training.json; profile "none" is one that is no profile, or no longer.
`fer run --profile NAME` on the same source repeats the others. ensemble-3 is accurate, resnet-gpu-185 and resnet-live-185.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.table import Table

FOLDERS = (Path("benchmarks/attempts"), Path("fer_pipeline/weights"))


def tables() -> Iterator[Table]:
    """One row for each attempt, by accuracy on PublicTest."""
    columns = ("attempt", "profile", "seed", "minutes", "validation", "PublicTest", "no copies", "ten views", "macro-F1")
    table = Table(*columns, title="attempts on FER-2013, accuracy in %")
    found = [file.parent for folder in FOLDERS for file in folder.glob("*/metrics.json")]
    attempts = [(place, _read(place / "metrics.json")) for place in found]
    for place, metrics in sorted(attempts, key=lambda attempt: -attempt[1]["accuracy"]):
        shares = ("validation_accuracy", "accuracy", "accuracy_dedup", "accuracy_tta", "macro_f1")
        trained = _trained(place / "training.json") if (place / "training.json").exists() else ("", "", "")  # an ensemble
        table.add_row(place.name, *trained, *(f"{100 * metrics[share]:.1f}" if share in metrics else "" for share in shares))
    yield table


def _trained(file: Path) -> tuple[str, str, str]:
    training = _read(file)
    return training["profile"], str(training["params"]["seed"]), f"{training['seconds'] / 60:.0f}"


def _read(file: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return content
