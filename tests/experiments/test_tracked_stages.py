"""Data sources of a workspace; how a tracked stage ends that an exception ends."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.artifacts import load_text

from fer_pipeline.config.params import Params, load_params
from fer_pipeline.config.training import TrainParams
from fer_pipeline.data.table.reader import ProcessedTable
from fer_pipeline.errors import FerError, ParamsError, SourceError
from fer_pipeline.evaluation import evaluate
from fer_pipeline.evaluation.stored_metrics import write_metrics
from fer_pipeline.experiments import runs
from fer_pipeline.experiments.tracked_stages import evaluate_and_track, restored_run, run_name, train_and_track, use_data
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.model_info import ModelInfo
from fer_pipeline.training import train
from fer_pipeline.workspace import dvc
from fer_pipeline.workspace.files import write_json


@pytest.fixture
def root(registered: Path) -> Path:
    return registered


def test_votes_and_synthetic_faces_do_not_go_together(root: Path) -> None:
    with pytest.raises(ParamsError, match="leave them out"):
        use_data(root, Path("synthetic"), Path("votes.csv"))


def test_a_source_that_cannot_be_read_does_not_become_the_source(root: Path) -> None:
    before = (root / "params.yaml").read_text()
    (root / "empty.csv").touch()
    with pytest.raises(SourceError, match="empty"):
        use_data(root, root / "empty.csv", None)
    assert (root / "params.yaml").read_text() == before
    assert not (root / "data" / "source").exists()


def test_the_numbering_belongs_to_the_source(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is written with the source, and not kept for the next one."""
    monkeypatch.setattr(dvc, "add_source", lambda *_: "version")
    for name in ("0", "6"):
        (root / "faces" / name).mkdir(parents=True)
        (root / "faces" / name / "1.jpg").write_bytes(b"x")
    with pytest.raises(SourceError, match="are numbers"):
        use_data(root, root / "faces", None)
    use_data(root, root / "faces", None, "affectnet", "drop")
    fetch = load_params(root / "params.yaml").fetch
    assert (fetch.source, fetch.numbering, fetch.contempt) == ("data/source", "affectnet", "drop")
    (root / "named" / "sad").mkdir(parents=True)
    (root / "named" / "sad" / "1.jpg").write_bytes(b"x")
    use_data(root, root / "named", None)
    fetch = load_params(root / "params.yaml").fetch
    assert (fetch.numbering, fetch.contempt) == ("ask", "refuse")
    with pytest.raises(ParamsError, match="numbering 'afectnet', expected fer2013"):
        use_data(root, root / "faces", None, "afectnet")


@pytest.fixture
def train_once(tracking_store: Path, make_processed: Callable[..., Path]) -> Callable[[], str]:
    """Run the tracked training on 14 rows."""
    processed = make_processed(tracking_store.parent / "processed", {"train": 14, "validation": 7, "test": 7})
    none = Path("none")
    return lambda: train_and_track(processed, Path("data/model"), Path("data/checkpoints"), recipe(), none, none)


def recipe() -> Params:
    return load_params(Path(__file__).parents[2] / "params.yaml")


def raising(error: BaseException) -> Callable[..., None]:
    def fails(*_: object, **__: object) -> None:
        raise error

    return fails


@pytest.mark.parametrize("error", [ZeroDivisionError("by zero"), OSError(28, "No space left"), FerError("loss became nan")])
def test_an_exception_ends_the_run_as_failed(
    train_once: Callable[[], str], error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its message is a tag and its traceback an artifact; the next attempt goes on in the same run."""
    monkeypatch.setattr(train, "train", raising(error))
    with pytest.raises(type(error)):
        train_once()
    (run,) = runs.recent_runs(2)
    assert run.status == "FAILED"
    assert str(error) in run.tags["failure"]
    trace = load_text(f"runs:/{run.run_id}/{runs.TRACEBACK_FILE}")
    assert "Traceback" in trace
    assert "in fails" in trace
    monkeypatch.setattr(train, "train", raising(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        train_once()
    (again,) = runs.recent_runs(2)
    assert (again.run_id, again.status, "failure" in again.tags) == (run.run_id, "RUNNING", False)


def test_a_failed_run_whose_store_is_away_keeps_its_cause(
    train_once: Callable[[], str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The exception is raised on, and the log says that the run could not be marked."""

    def fails(*_: object, **__: object) -> None:
        monkeypatch.setattr(MlflowClient, "log_text", raising(OSError(28, "No space left")))
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(train, "train", fails)
    with pytest.raises(ZeroDivisionError):
        train_once()
    assert "could not be ended as failed: [Errno 28] No space left" in caplog.text


def test_a_failed_evaluation_is_that_of_the_run(
    tracking_store: Path, make_processed: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run of the training has failed until an evaluation succeeds; then it has the test split among its data."""
    model, out = tracking_store.parent / "model", tracking_store.parent / "evaluation"
    processed = make_processed(tracking_store.parent / "processed", {"train": 14, "validation": 7, "test": 7})
    run_id = runs.ensure_run(None, "tiny", {})
    write_json(model / "training.json", {"run_id": run_id, "network": "tiny", "labels": EMOTIONS, "source": "stripes"})
    out.mkdir()
    monkeypatch.setattr(evaluate, "evaluate", raising(ZeroDivisionError("by zero")))
    with pytest.raises(ZeroDivisionError):
        evaluate_and_track(processed, model, out, recipe())
    run = runs.read_run(run_id)
    assert (run.status, run.tags["failure"]) == ("FAILED", "ZeroDivisionError: by zero")
    monkeypatch.setattr(evaluate, "evaluate", lambda *_: {"accuracy": 0.5})
    evaluate_and_track(processed, model, out, recipe())
    run = runs.read_run(run_id)
    assert (run.status, "failure" in run.tags, run.metrics) == ("FINISHED", False, {"test/accuracy": 0.5})
    (data,) = MlflowClient().get_run(run_id).inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("stripes-test", ProcessedTable.open(processed).split("test").fingerprint)


def test_a_run_that_came_by_dvc_pull_is_made_anew(
    tracking_store: Path, brightness_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the parameters, curves, metrics and report that the stages left; once, and not with those of another model."""
    root = tracking_store.parent
    shutil.copy2(Path(__file__).parents[2] / "dvc.yaml", root)
    (root / "data/model").mkdir(parents=True)
    shutil.copy2(Path(__file__).parents[2] / "fer_pipeline/weights/fast/history.csv", root / "data/model")
    info = replace(ModelInfo.read(brightness_model), lineage={"run_id": "0123abcd"}, metrics={"accuracy": 0.5, "top2": 0.75})
    training = {"run_id": "0123abcd", "params": TrainParams(lr=0.07).model_dump(mode="json"), "labels": EMOTIONS}
    write_json(root / "data/model/training.json", training)
    report = root / "data/reports/evaluation"
    report.mkdir(parents=True)
    write_metrics(report, info.metrics)
    run_id = restored_run(root, info, {"network": "tiny"})
    assert restored_run(root, info, {}) == run_id
    run, client = runs.read_run(run_id), MlflowClient()
    assert (run.status, run.tags["restored"], run.params["train.lr"]) == ("FINISHED", "0123abcd", "0.07")
    assert {name: run.metrics[name] for name in ("test/accuracy", "test/top2")} == {"test/accuracy": 0.5, "test/top2": 0.75}
    assert len(client.get_metric_history(run_id, "validation/accuracy")) > 5
    assert [item.path for item in client.list_artifacts(run_id, "training")] == ["training/history.csv", "training/training.json"]
    assert len(client.list_artifacts(run_id, "evaluation")) == 2
    other = replace(info, lineage={"run_id": "4567cdef"}, metrics={"accuracy": 0.6})
    run = runs.read_run(restored_run(root, other, {}))
    assert (run.params, run.metrics, client.list_artifacts(run.run_id)) == ({}, {"test/accuracy": 0.6}, [])


def test_a_run_is_named_by_what_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Network, profile, the values that are not the profile's, the DVC experiment."""
    params = recipe()
    profile = next(iter(params.profiles))
    plain = params.recipe(profile)
    assert run_name(params.model_copy(update={"train": plain})) == f"{plain.network}-{profile}"
    changed = plain.with_values({"lr": 0.0123, "augment.shift": 0.0456})
    monkeypatch.setenv("DVC_EXP_NAME", "brave-ibis")
    expected = f"{plain.network}-{profile} lr=0.0123 augment.shift=0.0456 @brave-ibis"
    assert run_name(params.model_copy(update={"train": changed})) == expected
    many = plain.with_values({"lr": 0.0123, "augment.shift": 0.0456, "seed": 77, "batch_size": 77, "epochs": 77})
    assert run_name(params.model_copy(update={"train": many})).endswith("and 1 more @brave-ibis")
