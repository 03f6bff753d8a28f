"""Versions and runs as records, apart from MLflow, which takes seconds to load."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

CHAMPION = "champion"
CHALLENGER = "challenger"
BASELINE = "baseline"
FINGERPRINT_TAG = "fingerprint"
EXPORT = "export"
"""Artifact of a registered model that holds the files of the export, and the card."""

EXPORT_PATH = f"artifacts/{EXPORT}"
"""Where that artifact lies in the model."""

BUNDLE_TAG, PROMOTED_TAG, ROLLED_BACK_TAG = "bundle", "promoted_at", "rolled_back_at"
"""Tags of a version: its BentoML bundle, and when it last became champion or was rolled back (ISO 8601, UTC)."""


_CURVES = frozenset({"loss", "accuracy", "lr", "size", "seconds"})
_GROUPS = {
    "val_": "validation/",
    "best_val_": "validation/best_",
    "validation_accuracy_reg": "validation/accuracy_reg",
    "test_validation_": "validation/final_",
    "test_": "test/",
}


def metric_name(figure: str) -> str:
    """Return the name of a figure in MLflow, grouped as train/, validation/ or test/.

    `figure` is a column of history.csv ("val_loss"), or a metric of evaluate with test_ before it. Of these, validation_accuracy
    is of the finished network, and so no point of the curve validation/accuracy. Earlier versions logged `figure` as it is.
    """
    if figure in _CURVES:
        return f"train/{figure}"
    prefix = next((prefix for prefix in _GROUPS if figure.startswith(prefix)), None)
    return figure if prefix is None else _GROUPS[prefix] + figure.removeprefix(prefix)


def training_experiment() -> str:
    """Return the MLflow experiment of trainings: MLFLOW_EXPERIMENT_NAME, or "fer"."""
    return os.environ.get("MLFLOW_EXPERIMENT_NAME") or "fer"


@dataclass(frozen=True)
class Version:
    """One version of the registered model."""

    name: str
    number: int
    run_id: str
    tags: Mapping[str, str]

    def __str__(self) -> str:
        return f"{self.name} version {self.number}"


@dataclass(frozen=True)
class TrackedRun:
    """A run as the store holds it.

    Times are in seconds since 1970, `ended` is None while it runs; `metrics` are the last values.
    """

    run_id: str
    name: str
    status: str
    started: float
    ended: float | None
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
