"""Store and read the metrics of an evaluation: those that decide, and the rest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from fer_pipeline.errors import ModelError
from fer_pipeline.workspace.files import METRICS_FILE, write_json

MORE_METRICS_FILE: Final = "more_metrics.json"

DECIDING: Final = (
    "validation_accuracy",
    "accuracy",
    "accuracy_dedup",
    "macro_f1",
    "nll",
    "ece",
    "vote_agreement",
    "vote_divergence",
)
"""The metrics of metrics.json, which `dvc metrics diff` and `dvc exp show` list; those of votes where test rows have some."""


def write_metrics(folder: Path, metrics: Mapping[str, float]) -> None:
    """Write metrics.json with the metrics of `DECIDING`, the others beside it."""
    write_json(folder / METRICS_FILE, {name: metrics[name] for name in DECIDING if name in metrics})
    write_json(folder / MORE_METRICS_FILE, {name: value for name, value in metrics.items() if name not in DECIDING})


def read_metrics(folder: Path) -> dict[str, float]:
    """Read all metrics of an evaluation, of which earlier versions wrote one file.

    Raises `ModelError` where a file is missing or damaged.
    """
    metrics = _read(folder / METRICS_FILE)
    more = folder / MORE_METRICS_FILE
    return metrics | _read(more) if more.exists() else metrics


def _read(path: Path) -> dict[str, float]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read: {error}; run `fer evaluate` first") from error
    if not isinstance(values, dict):
        raise ModelError(f"{path} holds no table of values: run `fer evaluate` again")
    return values
