"""`fer models register`, with the model that really comes with the package."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mlflow import MlflowClient
from typer.testing import CliRunner

from fer_pipeline.cli.app import app
from fer_pipeline.experiments import registry, runs
from fer_pipeline.experiments.exports import training_images
from fer_pipeline.inference.pretrained import pretrained_folder
from fer_pipeline.model_info import ModelInfo
from fer_pipeline.workspace import layout


def test_a_pretrained_model_becomes_a_version_once(registered: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pretrained model becomes a version with recipe, curves and figures, once."""
    monkeypatch.chdir(registered)
    done = CliRunner().invoke(app, ["models", "register", "fast"])
    assert done.exit_code == 0, (done.output, done.exception)
    assert "fast registered as fer version 4, alias challenger" in done.output
    version, info = registry.find("fer", "challenger"), ModelInfo.read(pretrained_folder("fast"))
    run = runs.read_run(version.run_id)
    assert (run.status, run.name, run.tags["shipped_as"]) == ("FINISHED", "pretrained-fast", "fast")
    assert run.params["train.epochs"] == "20"
    assert run.metrics["test/accuracy"] == info.metrics["accuracy"]
    assert 0.4 < run.metrics["test/mean_corruption_accuracy"] < 0.7
    curve = MlflowClient().get_metric_history(version.run_id, "validation/accuracy")
    epochs = (pretrained_folder("fast") / "history.csv").read_text().splitlines()[1:]
    assert [point.step for point in curve] == [int(float(line.split(",")[0])) for line in epochs]
    assert ModelInfo.read(registered / layout.CHALLENGER).fingerprint == info.fingerprint
    learned = training_images(version)
    assert learned is not None
    training = json.loads((pretrained_folder("fast") / "reports.json").read_text())["data"]["splits"]["train"]
    assert len(learned) == sum(training.values())

    again = CliRunner().invoke(app, ["models", "register", "fast"])
    assert again.exit_code == 0, (again.output, again.exception)
    assert "fast is already fer version 4" in again.output
    assert len(registry.versions("fer")) == 4
    assert len(MlflowClient().search_runs(["1"], "attributes.run_name = 'pretrained-fast'")) == 1


def test_an_unknown_pretrained_name_registers_nothing(registered: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name under which nothing is pretrained registers nothing."""
    monkeypatch.chdir(registered)
    done = CliRunner().invoke(app, ["models", "register", "best"])
    assert "no pretrained model is named 'best'" in str(done.exception)
    assert len(registry.versions("fer")) == 3
