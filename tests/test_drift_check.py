"""The whole check on a model whose answer is the brightness: `fer monitor drift`, and the flow with its event."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from prefect.events.schemas.deployment_triggers import DeploymentEventTrigger
from typer.testing import CliRunner

from fer_pipeline.cli.app import app
from fer_pipeline.config.editing import write_values
from fer_pipeline.data.table.training_images import image_hashes, write_training_images
from fer_pipeline.errors import FerError, MonitoringError
from fer_pipeline.imaging import ImageSpec
from fer_pipeline.inference.classifier import EmotionClassifier
from fer_pipeline.inference.quality import measure
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.model_info import TRAINING_IMAGES_FILE, ModelInfo
from fer_pipeline.monitoring import log_files
from fer_pipeline.monitoring.observations import LoggedFace
from fer_pipeline.schemas import PROCESSED

ROOT = Path(__file__).parents[1]
ROWS = 320
TRAINED = [f"{number:032x}" for number in range(1, 11)]
"""Content hashes of the training rows."""


def faces(rows: int, seed: int) -> npt.NDArray[np.uint8]:
    """Noise uint8 (rows, 48, 48) of any brightness."""
    rng = np.random.default_rng(seed)
    levels = rng.uniform(50, 200, (rows, 1, 1))
    return np.clip(levels + rng.normal(0, rng.uniform(10, 40, (rows, 1, 1)), (rows, 48, 48)), 0, 255).astype(np.uint8)


def write_processed(folder: Path, *, synthetic: bool = False, source: str = "nothing") -> None:
    """The table of the source that the brightness model names, unless told otherwise; first the validation rows."""
    (folder / "faces").mkdir(parents=True)
    rows = ROWS + len(TRAINED)
    known: dict[str, Any] = {
        "id": [f"{row:08d}" for row in range(rows)],
        "row": range(rows),
        "name": ["toy"] * rows,
        "split": ["validation"] * ROWS + ["train"] * len(TRAINED),
        "label": [0] * rows,
        "image": [face.tobytes() for face in (*faces(ROWS, 0), *faces(len(TRAINED), 9))],
        "content_hash": ["0"] * ROWS + TRAINED,
        "perceptual_hash": ["0"] * rows,
        "copies": [1] * rows,
        "in_train": [row < 10 for row in range(rows)],
    }
    zeros = {"copy_rank", "brightness", "contrast"}
    columns = {
        field.name: known.get(field.name, [None if field.nullable else 0 if field.name in zeros else False] * rows)
        for field in PROCESSED
    }
    pq.write_table(pa.table(columns, schema=PROCESSED), folder / "faces" / "part.parquet")
    facts = {"image_spec": asdict(ImageSpec()), "source": {"name": source, "synthetic": synthetic}}
    (folder / "facts.json").write_text(json.dumps(facts))


def log_predictions(folder: Path, model: Path, pictures: npt.NDArray[np.uint8], when: datetime | None = None) -> None:
    """What the service would have logged for these faces."""
    info = ModelInfo.read(model)
    rows = []
    for face, row in zip(pictures, EmotionClassifier.load(model).probabilities(pictures[..., None]), strict=True):
        quality, best = measure(face), EMOTIONS[int(row.argmax())]
        values = (quality.size, quality.sharpness, quality.brightness, quality.contrast)
        rows.append(LoggedFace(when or datetime.now(UTC), info.network, info.fingerprint, tuple(row), best, False, *values))
    log_files.write(folder, rows)


@pytest.fixture
def workspace(brightness_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy2(ROOT / name, tmp_path)
    write_training_images(Path(shutil.copytree(brightness_model, tmp_path / "data" / "bundle")), image_hashes(TRAINED))
    write_processed(tmp_path / "data" / "processed")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def result_of(workspace: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((workspace / "data" / "reports" / "drift" / "drift.json").read_text())
    return values


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
def test_the_exit_code_the_numbers_and_the_page_say_whether_it_drifted(
    workspace: Path, gain: float, exit_code: int, drifted: set[str]
) -> None:
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


def test_a_model_of_unknown_training_pictures_is_checked_with_a_warning(workspace: Path) -> None:
    (workspace / "data" / "bundle" / TRAINING_IMAGES_FILE).unlink()
    log_predictions(workspace / "data" / "predictions", workspace / "data" / "bundle", faces(300, 1))
    outcome = CliRunner().invoke(app, ["monitor", "drift"])
    assert outcome.exit_code == 0, outcome.output
    report = workspace / "data" / "reports" / "drift" / "report.html"
    for text in (" ".join(outcome.output.split()), report.read_text()):
        assert "it is not known which pictures this model learned from" in text
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


def test_a_window_with_few_predictions_is_widened_until_it_holds_enough_and_that_is_told(workspace: Path) -> None:
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


def test_a_missing_log_table_or_kind_of_data_is_an_error_whose_code_does_not_read_as_drift(workspace: Path) -> None:
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


def test_the_flow_makes_artifacts_and_emits_the_event_on_drift_alone(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from flows import drift as flow_module

    events, artifacts = [], {}

    def emit(event: str, resource: dict[str, str], payload: dict[str, str]) -> None:
        events.append((event, resource["prefect.resource.id"], payload["verdict"]))

    def markdown(text: str, key: str, **_: str) -> None:
        artifacts[key] = text

    def link(uri: str, key: str, **_: str) -> None:
        artifacts[key] = uri

    monkeypatch.setattr(flow_module, "emit_event", emit)
    monkeypatch.setattr(flow_module, "create_markdown_artifact", markdown)
    monkeypatch.setattr(flow_module, "create_link_artifact", link)
    log, model = workspace / "data" / "predictions", workspace / "data" / "bundle"

    states = [flow_module.check_drift.fn()]
    assert "FER_PREDICTION_LOG" in states[0].message
    assert artifacts["fer-drift"] == f"# {states[0].message}"
    log_predictions(log, model, faces(300, 1))
    states.append(flow_module.check_drift.fn())
    assert events == []
    log_predictions(log, model, faces(300, 1) // 3)
    states.append(flow_module.check_drift.fn())
    assert [state.name for state in states] == ["NotJudged", "NoDrift", "Drift"]
    ((event, resource, verdict),) = events
    assert (event, resource) == ("fer.drift.detected", f"fer.model.{ModelInfo.read(model).fingerprint}")
    assert str(states[2].message).startswith(f"{verdict}, ")
    assert artifacts["fer-drift"].startswith("# drift in ")
    assert artifacts["fer-drift-page"] == (workspace / "data" / "reports" / "drift" / "report.html").as_uri()


def test_the_flow_says_why_nothing_was_judged(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from flows import drift as flow_module

    artifacts: dict[str, str] = {}
    monkeypatch.setattr(flow_module, "create_markdown_artifact", lambda text, key, **_: artifacts.update({key: text}))
    monkeypatch.setattr(flow_module, "create_link_artifact", lambda *_, **__: None)
    log, served = workspace / "data" / "predictions", workspace / "served"
    shutil.copytree(workspace / "data" / "bundle", served)
    replace(ModelInfo.read(served), temperature=3.0).write(served)
    log_predictions(log, served, faces(20, 1))
    (day,) = log.iterdir()
    (day / "damaged.parquet").write_text("")
    state = flow_module.check_drift.fn()
    asked, logged = (ModelInfo.read(folder).fingerprint for folder in (workspace / "data" / "bundle", served))
    assert state.name == "NotJudged"
    for text in (state.message, artifacts["fer-drift"]):
        assert "not judged: 0 predictions" in text
        assert f"the log holds predictions of {logged} (20), none of {asked}: give" in text
        assert f"eft out: 1 damaged file(s) of the log, {day.name}/damaged.parquet" in text


def test_command_and_flow_find_the_log_where_the_service_writes_it(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows import drift as flow_module

    monkeypatch.setattr(flow_module, "create_markdown_artifact", lambda *_, **__: None)
    monkeypatch.setattr(flow_module, "create_link_artifact", lambda *_, **__: None)
    monkeypatch.setenv("FER_PREDICTION_LOG", str(tmp_path / "elsewhere"))
    assert str(tmp_path / "elsewhere") in flow_module.check_drift.fn().message
    log_predictions(tmp_path / "elsewhere", workspace / "data" / "bundle", faces(300, 1))
    assert flow_module.check_drift.fn().name == "NoDrift"
    done = CliRunner().invoke(app, ["monitor", "drift"])
    assert (done.exit_code, done.exception) == (0, None), done.output


def test_a_log_without_the_model_that_wrote_it_is_a_failure_of_the_flow(workspace: Path) -> None:
    from flows.drift import check_drift

    log_predictions(workspace / "data" / "predictions", workspace / "data" / "bundle", faces(20, 1))
    shutil.rmtree(workspace / "data" / "bundle")
    assert check_drift.fn().is_failed()


def test_the_event_of_the_flow_starts_the_training() -> None:
    from flows.drift import DRIFT_EVENT

    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    (train,) = [deployment for deployment in deployments if deployment["name"] == "train"]
    triggers = [DeploymentEventTrigger.model_validate(trigger) for trigger in train["triggers"]]
    (trigger,) = [trigger for trigger in triggers if trigger.expect == {DRIFT_EVENT}]
    assert trigger.match.matches({"prefect.resource.id": "fer.model.0123456789ab"})
