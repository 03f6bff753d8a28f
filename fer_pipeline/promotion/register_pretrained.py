"""Register a pretrained model of the package like a trained one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fer_pipeline.config.params import load_params
from fer_pipeline.experiments import registry, runs
from fer_pipeline.inference.pretrained import pretrained_folder
from fer_pipeline.model_info import ModelInfo
from fer_pipeline.models.publish_pretrained import REPORTS_FILE
from fer_pipeline.promotion import champion
from fer_pipeline.training.artifacts import HISTORY_FILE, TRAINING_FILE, read_history, read_training
from fer_pipeline.workspace.layout import DATA, PARAMS


def register_pretrained(root: Path, name: str) -> tuple[registry.Version, bool]:
    """Register a pretrained model as challenger.

    Returns its version and whether it is new. It also becomes the model of data/challenger. Its MLflow run holds recipe and
    curves of its training and the figures on the test split; the card is in its export. Raises `ModelError` where there is no
    pretrained model of that name.
    """
    folder = pretrained_folder(name)
    info = ModelInfo.read(folder)
    model_name = load_params(root / PARAMS).promote.model_name
    known = [one for one in registry.versions(model_name) if one.tags.get(registry.FINGERPRINT_TAG) == info.fingerprint]
    tags = registry.describing_tags(info)
    run_id = known[0].run_id if known else _run(root, name, folder, info, tags)
    version, new = registry.register(folder, info, model_name, run_id, tags)
    champion.shadow(root, str(version.number))
    return version, new


def _run(root: Path, name: str, folder: Path, info: ModelInfo, tags: dict[str, str]) -> str:
    training = read_training(folder)
    memo = root / DATA / f".pretrained-{name}-run.json"  # a killed registration goes on with its run
    run_id = runs.open_training_run(memo, f"pretrained-{name}", {"train": training["params"]}, tags)
    for figures in read_history(folder):
        runs.log_epoch(run_id, figures)
    reports: dict[str, Any] = json.loads((folder / REPORTS_FILE).read_text(encoding="utf-8"))
    measured = dict(info.metrics)
    if "robustness" in reports:
        measured["mean_corruption_accuracy"] = reports["robustness"]["mean_corruption_accuracy"]["estimate"]
    runs.log_test_metrics(run_id, measured)
    runs.close_training_run(memo, run_id, [folder / HISTORY_FILE, folder / TRAINING_FILE])
    return run_id
