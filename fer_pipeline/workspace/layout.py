"""Paths of a workspace, relative to its root."""

from __future__ import annotations

from pathlib import Path
from typing import Final

PARAMS: Final = Path("params.yaml")
PROFILES: Final = Path("profiles.yaml")
"""Recipes by name; not in params.yaml, of which DVC shows every value as a column."""

DVC_STAGES: Final = Path("dvc.yaml")
DVC_LOCK: Final = Path("dvc.lock")
DVC_CACHE: Final = Path(".dvc/cache")

DVC_EXPERIMENTS: Final = Path(".dvc/tmp/exps")
"""Where `dvc exp run --temp` and `--queue` make a folder for each experiment, which DVC removes after it."""

MLFLOW_DATABASE: Final = Path("mlflow.db")
MLFLOW_ARTIFACTS: Final = Path("mlruns")

DATA: Final = Path("data")
SOURCE: Final = DATA / "source"
"""The raw data under DVC, written by `fer data add`."""

SYNTHETIC: Final = DATA / "synthetic.yaml"
"""Number and seed of the embedded synthetic faces; tracked by git."""

RAW: Final = DATA / "raw"
PROCESSED: Final = DATA / "processed"
MODEL: Final = DATA / "model"
EXPORT: Final = DATA / "export"
REPORTS: Final = DATA / "reports"
EVALUATION_REPORT: Final = REPORTS / "evaluation" / "report.html"
DATA_REPORT: Final = REPORTS / "data" / "index.html"
DATA_CHECKS: Final = REPORTS / "data" / "validation.json"
DRIFT_REPORT: Final = REPORTS / "drift" / "report.html"
DRIFT_RESULT: Final = REPORTS / "drift" / "drift.json"
CARD: Final = REPORTS / "card" / "model_card.html"
CARD_TEXT: Final = CARD.with_suffix(".md")

BUNDLE: Final = DATA / "bundle"
"""The champion's model: what `bentoml build` and `bentoml serve` take."""

CHALLENGER: Final = DATA / "challenger"
"""The model that a service in shadow mode runs beside the champion."""

MODEL_FOLDERS: Final = {"champion": BUNDLE, "challenger": CHALLENGER}
"""Where the model behind an alias of the registry lies."""

SOFT_LABELS: Final = DATA / "soft_labels"
TEACHERS: Final = DATA / "teachers"
ENSEMBLE: Final = DATA / "ensemble"
ADJUSTED: Final = DATA / "balanced"
BASELINE: Final = DATA / "baseline"
TUNING: Final = DATA / "tuning"
NOISE: Final = DATA / "noise"

DETECTORS: Final = DATA / "models"
"""Face detectors that were downloaded."""

YUNET: Final = DETECTORS / "yunet.onnx"

PREDICTION_LOG: Final = DATA / "predictions"
SHADOW_LOG: Final = DATA / "shadow"
FEEDBACK: Final = DATA / "feedback"
"""Accepted corrections, under DVC."""

FEEDBACK_INBOX: Final = DATA / "feedback-inbox"
"""Corrections that wait for a decision."""

OLD_REVIEW_PAGE: Final = REPORTS / "feedback"
"""Where `fer feedback review` wrote its page before it lay in the folder of the corrections."""

FEEDBACK_CHANGE: Final = DATA / ".feedback-change.json"
"""Note of a change to FEEDBACK that is not finished."""

LOGS: Final = DATA / "logs"
"""What native code and child processes of the stages wrote."""

DOWNLOADS: Final = DATA / ".registry"
"""Models downloaded from the registry; the leading dot keeps them out of git."""

RUN_LOCK: Final = DATA / ".run"
"""Held by a whole run of the pipeline."""


def workspace_root(folder: Path) -> Path:
    """Return the workspace of a temporary DVC experiment in `folder`, else `folder`.

    `folder` is absolute. What shall outlive the experiment's folder belongs there.
    """
    depth = len(DVC_EXPERIMENTS.parts)
    above = (parent for parent in folder.parents if parent.parts[-depth:] == DVC_EXPERIMENTS.parts)
    return next((parent.parents[depth - 1] for parent in above), folder)
