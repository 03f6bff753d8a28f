from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from fer_pipeline.cli.app import app
from fer_pipeline.config.editing import write_values
from fer_pipeline.data.table.training_images import image_hashes, write_training_images
from fer_pipeline.errors import FerError, MonitoringError
from fer_pipeline.model_info import TRAINING_IMAGES_FILE, ModelInfo
from tests.monitoring.drift_workspace import ROWS, TRAINED, faces, log_predictions, result_of, write_processed


@pytest.mark.parametrize(
    ("gain", "exit_code", "drifted"),
    [
        (1.0, 0, set()),  # the same kind of pictures
        (
            0.6,
            3,
            {"confidence", "brightness", "contrast", "sharpness", "emotion mix"},
        ),  # a darker camera, for a model that sees light
    ],
)
def test_exit_code_numbers_and_page_state_whether_it_drifted(
    workspace: Path, gain: float, exit_code: int, drifted: set[str]
) -> None:
    """The exit code the numbers and the page say whether it drifted."""
    log_predictions(workspace / "data" / "predictions", workspace / "data" / "bundle", (faces(300, 1) * gain).astype(np.uint8))
    outcome = CliRunner().invoke(app, ["monitor", "drift"])
    assert outcome.exit_code == exit_code, outcome.output
    values = result_of(workspace)
    assert {one["name"] for one in values["comparisons"] if one["drifted"]} <= drifted
    assert values["drifted"] is bool(drifted)
    assert (values["rows"], values["reference_rows"]) == (300, ROWS - 10)  # ten have a copy in training
    page = (workspace / "data" / "reports" / "drift" / "report.html").read_text()
    assert values["verdict"] in page
    assert values["training_pictures_known"] is True
    assert "http://" not in page
    assert "https://" not in page


def test_unknown_training_images_are_a_warning_of_the_check(workspace: Path) -> None:
    """A model of unknown training images is checked with a warning."""
    (workspace / "data" / "bundle" / TRAINING_IMAGES_FILE).unlink()
    log_predictions(workspace / "data" / "predictions", workspace / "data" / "bundle", faces(300, 1))
    outcome = CliRunner().invoke(app, ["monitor", "drift"])
    assert outcome.exit_code == 0, outcome.output
    report = workspace / "data" / "reports" / "drift" / "report.html"
    for text in (" ".join(outcome.output.split()), report.read_text()):
        assert "it is unknown on which pictures this model was trained" in text
    assert result_of(workspace)["training_pictures_known"] is False


def test_too_few_predictions_are_told_apart_from_no_drift(workspace: Path) -> None:
    log_predictions(workspace / "data" / "predictions", workspace / "data" / "bundle", faces(20, 1))
    outcome = CliRunner().invoke(app, ["monitor", "drift"])
    assert isinstance(outcome.exception, MonitoringError)
    assert outcome.exception.exit_code not in (0, 3)
    assert "not judged: 20 predictions, at least 200" in str(outcome.exception)
    assert result_of(workspace)["judged"] is False


def test_only_the_window_is_looked_at(workspace: Path) -> None:
    log, bundle, now = workspace / "data" / "predictions", workspace / "data" / "bundle", datetime.now(UTC)
    log_predictions(log, bundle, faces(300, 1), now - timedelta(days=3))
    outcome = CliRunner().invoke(app, ["monitor", "drift", "--since", f"{now - timedelta(hours=24):%Y-%m-%dT%H:%M:%S}"])
    assert "not judged: 0 predictions" in str(outcome.exception)
    assert "look further back" in str(outcome.exception)
    assert CliRunner().invoke(app, ["monitor", "drift", "--window", "96"]).exit_code == 0
    assert "widened" not in result_of(workspace)["span"]
    outcome = CliRunner().invoke(app, ["monitor", "drift", "--since", "2999-01-01"])
    assert "--since is 2999-01-01 00:00 UTC, expected a time before now" in str(outcome.exception)


def test_a_window_with_few_predictions_is_widened(workspace: Path) -> None:
    """A window with few predictions is widened until it holds enough and that."""
    log, bundle, now = workspace / "data" / "predictions", workspace / "data" / "bundle", datetime.now(UTC)
    for days in range(5):  # a service with 60 faces a day; four days hold 240 of them
        log_predictions(log, bundle, faces(60, days), now - timedelta(days=days, hours=1))
    outcome = CliRunner().invoke(app, ["monitor", "drift"])
    assert outcome.exit_code == 0, outcome.output
    assert result_of(workspace)["rows"] == 240
    page = (workspace / "data" / "reports" / "drift" / "report.html").read_text()
    for text in (" ".join(outcome.output.split()), page):
        assert "24 hours held too few predictions, so they were widened to 96" in text
    write_values(workspace / "params.yaml", {"drift.max_window_hours": 40.0})
    outcome = CliRunner().invoke(app, ["monitor", "drift"])
    assert "not judged: 120 predictions, at least 200 are needed" in str(outcome.exception)
    assert "so they were widened to 40" in str(outcome.exception)


def test_a_log_of_another_model_is_told_with_both_fingerprints(workspace: Path) -> None:
    served = workspace / "served"
    shutil.copytree(workspace / "data" / "bundle", served)
    replace(ModelInfo.read(served), temperature=3.0).write(served)
    log_predictions(workspace / "data" / "predictions", served, faces(20, 1))
    outcome = CliRunner().invoke(app, ["monitor", "drift"])
    asked, logged = (ModelInfo.read(folder).fingerprint for folder in (workspace / "data" / "bundle", served))
    assert f"the log holds predictions of {logged} (20), none of {asked}: give" in str(outcome.exception)


def test_a_missing_log_or_table_has_another_exit_code_than_drift(workspace: Path) -> None:
    """A missing log table or kind of data is an error whose code does not read as drift."""

    def error_of(message: str) -> None:
        outcome = CliRunner().invoke(app, ["monitor", "drift"])
        assert isinstance(outcome.exception, FerError), outcome.output
        assert outcome.exception.exit_code not in (0, 3)
        assert message in str(outcome.exception)

    error_of("there is no log of predictions in data/predictions: name its folder with --log, or let the service write one")
    error_of(f"FER_PREDICTION_LOG={workspace}/data/predictions")
    log_predictions(workspace / "data" / "predictions", workspace / "data" / "bundle", faces(20, 1))
    processed = workspace / "data" / "processed"
    shutil.rmtree(processed)
    error_of("no reference to compare with")
    write_processed(processed, synthetic=True)
    error_of("holds generated ones: make the data of the model the source again")
    shutil.rmtree(processed)
    write_processed(processed, source="other.csv")
    write_training_images(workspace / "data" / "bundle", image_hashes([*TRAINED[:4], "f" * 32]))
    error_of("it learned from 40% of the training pictures of data/processed (other.csv), expected at least 50%")
    (workspace / "data" / "bundle" / TRAINING_IMAGES_FILE).unlink()
    error_of("the model was trained on nothing, data/processed holds other.csv: make the data of the model the source again")
