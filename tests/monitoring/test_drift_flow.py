from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from prefect.events.schemas.deployment_triggers import DeploymentEventTrigger
from typer.testing import CliRunner

from fer_pipeline.cli.app import app
from fer_pipeline.model_info import ModelInfo
from tests.monitoring.drift_workspace import ROOT, faces, log_predictions


def test_the_flow_makes_artifacts_and_emits_only_on_drift(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The flow makes artifacts and emits the event on drift alone."""
    from flows import drift as flow_module

    events, artifacts = [], {}

    def emit(event: str, resource: dict[str, str], payload: dict[str, str]) -> None:
        events.append((event, resource["prefect.resource.id"], payload["verdict"]))

    monkeypatch.setattr(flow_module, "emit_event", emit)
    monkeypatch.setattr(flow_module, "publish", lambda key, text, _: artifacts.update({key: text}))
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
    assert f"`{workspace / 'data' / 'reports' / 'drift' / 'report.html'}`" in artifacts["fer-drift"]


def test_the_flow_says_why_nothing_was_judged(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from flows import drift as flow_module

    artifacts: dict[str, str] = {}
    monkeypatch.setattr(flow_module, "publish", lambda key, text, _: artifacts.update({key: text}))
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


def test_command_and_flow_find_the_log_of_the_service(workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Command and flow find the log where the service writes it."""
    from flows import drift as flow_module

    monkeypatch.setattr(flow_module, "publish", lambda *_: None)
    monkeypatch.setenv("FER_PREDICTION_LOG", str(tmp_path / "elsewhere"))
    assert str(tmp_path / "elsewhere") in flow_module.check_drift.fn().message
    log_predictions(tmp_path / "elsewhere", workspace / "data" / "bundle", faces(300, 1))
    assert flow_module.check_drift.fn().name == "NoDrift"
    done = CliRunner().invoke(app, ["monitor", "drift"])
    assert (done.exit_code, done.exception) == (0, None), done.output


def test_a_log_of_a_missing_model_is_a_failure_of_the_flow(workspace: Path) -> None:
    """A log without the model that wrote it is a failure of the flow."""
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
