"""Versions and runs as records, apart from MLflow, which takes seconds to load."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

CHAMPION = "champion"
CHALLENGER = "challenger"
BASELINE = "baseline"
FINGERPRINT_TAG = "fingerprint"
BUNDLE_TAG, PROMOTED_TAG, ROLLED_BACK_TAG = "bundle", "promoted_at", "rolled_back_at"
"""Tags of a version: its BentoML bundle, and when it last became champion or was rolled back (ISO 8601, UTC)."""


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
