from __future__ import annotations

import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow import MlflowClient
from sqlalchemy import Engine, event

from fer_pipeline.data.table.dataset import FaceDataset
from fer_pipeline.errors import ToolUnavailableError
from fer_pipeline.experiments import runs
from fer_pipeline.experiments.tracking.context import FLOW_RUN_VARIABLE, context_tags
from fer_pipeline.experiments.tracking.system_metrics import system_metrics

TAGS = {"data_version": "abc", "params_hash": "123"}
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_a_run_keeps_flat_parameters_curves_and_files(tracking_store: Path, tmp_path: Path) -> None:
    memo = tmp_path / "memo.json"
    run_id = runs.open_training_run(memo, "compact", {"train": {"lr": 0.1, "augment": {"flip": True}}}, TAGS)
    for epoch in (1, 2):
        runs.log_epoch(run_id, {"epoch": epoch, "loss": 1 / epoch, "val_accuracy": epoch / 2})
    runs.log_test_metrics(run_id, {"accuracy": 0.25, "validation_accuracy": 0.5})
    (tmp_path / "history.csv").write_text("epoch,loss\n")
    runs.close_training_run(memo, run_id, [tmp_path / "history.csv"])
    run = MlflowClient().get_run(run_id)
    assert run.data.params == {"train.lr": "0.1", "train.augment.flip": "True"}
    assert run.info.status == "FINISHED"
    assert [point.value for point in MlflowClient().get_metric_history(run_id, "train/loss")] == [1.0, 0.5]
    figures = {"train/loss": 0.5, "validation/accuracy": 1.0, "test/accuracy": 0.25, "validation/final_accuracy": 0.5}
    assert run.data.metrics == figures
    assert [item.path for item in MlflowClient().list_artifacts(run_id, "training")] == ["training/history.csv"]
    assert not memo.exists()


def test_the_data_of_a_training_is_named_and_the_run_goes_on(
    tracking_store: Path, tmp_path: Path, make_stripes: Callable[[int, int], FaceDataset]
) -> None:
    run_id = runs.open_training_run(tmp_path / "memo.json", "compact", {}, TAGS)
    splits = {"train": make_stripes(7, 0), "test": make_stripes(7, 1)}
    for split, faces in splits.items():
        runs.log_data_set(run_id, split, faces, "fer2013.csv")
    run = MlflowClient().get_run(run_id)
    found = {used.tags[0].value: (used.dataset.name, used.dataset.digest) for used in run.inputs.dataset_inputs}
    assert found == {split: (f"fer2013.csv-{split}", faces.fingerprint) for split, faces in splits.items()}
    assert len(set(found.values())) == 2
    assert run.info.status == "RUNNING"


def test_metrics_of_earlier_runs_are_read_by_todays_names(tracking_store: Path) -> None:
    """Of a training that went on in today's version, the newer value counts."""
    run_id = runs.ensure_run(None, "tiny", TAGS)
    flat = {"loss": 1.0, "val_accuracy": 0.5, "test_accuracy": 0.6, "test_recall_sad": 0.7, "test_validation_accuracy": 0.5}
    mlflow.log_metrics(flat | {"validation/accuracy": 0.8, "system/cpu_utilization_percentage": 3.0}, run_id=run_id)
    assert runs.read_run(run_id).metrics == {
        "train/loss": 1.0,
        "validation/accuracy": 0.8,
        "test/accuracy": 0.6,
        "test/recall_sad": 0.7,
        "validation/final_accuracy": 0.5,
        "system/cpu_utilization_percentage": 3.0,
    }


@pytest.mark.parametrize("asked", ["true", "false"])
def test_system_metrics_are_logged_where_asked_for(tracking_store: Path, asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", asked)
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.1")
    run_id = runs.open_training_run(tracking_store.parent / "memo.json", "tiny", {}, TAGS)
    with system_metrics(run_id):
        time.sleep(1.0)
    found = MlflowClient().get_run(run_id).data.metrics
    assert ("system/cpu_utilization_percentage" in found) == (asked == "true")


def test_a_killed_training_goes_on_in_its_run(tracking_store: Path, tmp_path: Path) -> None:
    """A killed training goes on in its run and another recipe starts a new one."""
    memo = tmp_path / "memo.json"
    first = runs.open_training_run(memo, "compact", {"lr": 0.1}, TAGS)
    assert runs.open_training_run(memo, "compact", {"lr": 0.1}, TAGS) == first
    assert runs.open_training_run(memo, "compact", {"lr": 0.2}, {**TAGS, "params_hash": "456"}) != first


def test_a_run_of_another_store_is_replaced_by_a_restored_one(tracking_store: Path) -> None:
    """A run of another store is replaced by one marked restored."""
    run_id = runs.ensure_run("0123456789abcdef0123456789abcdef", "compact", TAGS)
    assert MlflowClient().get_run(run_id).data.tags["restored"] == "0123456789abcdef0123456789abcdef"
    assert runs.ensure_run(run_id, "compact", TAGS) == run_id


@pytest.fixture
def impatient() -> Iterator[None]:
    """MLflow waits 0.1 s for a locked SQLite database instead of its 20 s."""

    def shorten(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> tuple[str, Any]:
        return statement.replace("busy_timeout = 20000", "busy_timeout = 100"), parameters

    event.listen(Engine, "before_cursor_execute", shorten, retval=True)
    yield
    event.remove(Engine, "before_cursor_execute", shorten)


def test_a_locked_database_is_named_as_the_cause(tracking_store: Path, impatient: None) -> None:
    run_id = runs.ensure_run(None, "tiny", TAGS)
    blocker = sqlite3.connect(tracking_store, isolation_level=None)
    blocker.execute("BEGIN EXCLUSIVE")
    try:
        with pytest.raises(ToolUnavailableError, match="database is locked by another process"):
            runs.log_metrics(run_id, {"loss": 1.0}, 1)
    finally:
        blocker.execute("ROLLBACK")
        blocker.close()
    runs.log_metrics(run_id, {"loss": 1.0}, 1)


def test_a_server_that_is_away_is_told_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    mlflow.set_tracking_uri("http://me:secret@127.0.0.1:9")
    with pytest.raises(ToolUnavailableError, match=r"server at http://127.0.0.1:9 cannot be reached: start it") as caught:
        runs.recent_runs(1)
    assert "secret" not in str(caught.value)


def test_a_run_says_who_started_it_and_where(tracking_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tags of MLflow's client are there, with the commit of the workspace, the DVC experiment and the flow run."""
    monkeypatch.setenv("USER", "ada")
    monkeypatch.setenv("LOGNAME", "ada")
    monkeypatch.setenv("DVC_EXP_NAME", "brave-ibis")
    monkeypatch.setenv(FLOW_RUN_VARIABLE, "12ab")
    monkeypatch.setattr("sys.argv", ["/opt/bin/fer", "train"])
    tags = {"git_commit": f"{COMMIT}-dirty", "network": "tiny"}
    memo = tracking_store.parent / "memo.json"
    run_id = runs.open_training_run(memo, "tiny", {}, tags)
    found = MlflowClient().get_run(run_id).data.tags
    expected = {
        "mlflow.user": "ada",
        "mlflow.source.name": "/opt/bin/fer",
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": COMMIT,
        "host": socket.gethostname(),
        "dvc_experiment": "brave-ibis",
        "prefect_flow_run": "12ab",
        **tags,
    }
    assert {key: found.get(key) for key in expected} == expected
    monkeypatch.setenv(FLOW_RUN_VARIABLE, "34cd")  # a killed training goes on in another flow run
    assert runs.open_training_run(memo, "tiny", {}, tags) == run_id
    assert MlflowClient().get_run(run_id).data.tags["prefect_flow_run"] == "34cd"


def test_no_commit_is_taken_from_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow finds that of the folder in which the program lies; the workspace may have none."""
    monkeypatch.setattr("sys.argv", [str(Path(__file__).resolve())])
    assert not [key for key in context_tags("none") if key.startswith("mlflow.source.git")]


def test_the_experiment_is_that_of_the_environment(tracking_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs.ensure_run(None, "ours", {})
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "faces-of-team-b")
    assert runs.recent_runs(9) == []
    memo = tracking_store.parent / "memo.json"
    for run_id in (runs.open_training_run(memo, "a", {}, {}), runs.ensure_run(None, "b", {})):
        experiment = MlflowClient().get_run(run_id).info.experiment_id
        assert MlflowClient().get_experiment(experiment).name == "faces-of-team-b"
    assert {run.name for run in runs.recent_runs(9)} == {"a", "b"}
    search = runs.open_search_run(None, "c", {}, {})
    assert MlflowClient().get_experiment(MlflowClient().get_run(search).info.experiment_id).name == "faces-of-team-b-search"
