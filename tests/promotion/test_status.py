"""The status of a workspace, and `fer status`."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import mlflow
import pytest
from typer.testing import CliRunner

from fer_pipeline.cli.app import app as fer
from fer_pipeline.experiments import exports, mlflow_store, registry, runs
from fer_pipeline.experiments.version_info import version_metadata
from fer_pipeline.model_info import ModelInfo
from fer_pipeline.promotion import champion
from fer_pipeline.promotion.bundle.folder import replaced_bundle
from fer_pipeline.promotion.status import workspace_status
from fer_pipeline.workspace.layout import RUN_LOCK
from fer_pipeline.workspace.locks import exclusive


def version(number: int) -> registry.Version:
    return registry.find("fer", str(number))


def register(root: Path, export: Path, figures: dict[str, float], recipe: dict[str, float | str]) -> registry.Version:
    """One more version, with a training run of its own."""
    shutil.copytree(export, root / "more")
    info = replace(ModelInfo.read(export), temperature=9.0, metrics=figures, lineage={"data_version": "d2"})
    info.write(root / "more")
    run_id = runs.open_training_run(root / "memo", "tiny", {"train": recipe}, {"network": "brightness"})
    runs.close_training_run(root / "memo", run_id, [])
    return registry.register(root / "more", info, "fer", run_id, {})[0]


def test_an_empty_workspace_is_told_what_to_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The status of an empty workspace says what to run, and makes no database."""
    shutil.copy2(Path(__file__).parents[2] / "params.yaml", tmp_path)
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    found = workspace_status(tmp_path)
    assert (found.champion, found.challenger, found.bundle, found.runs, found.disk) == (None, None, None, (), {})
    assert "fer run" in found.advice[0]
    assert not (tmp_path / "mlflow.db").exists()


def test_the_status_names_versions_bundle_runs_and_disk(registered: Path, brightness_model: Path) -> None:
    champion.set_champion(registered, version(1), None)
    register(registered, brightness_model, {"accuracy": 0.75}, {"lr": 0.1})
    found = workspace_status(registered)
    assert found.champion is not None
    assert found.challenger is not None
    assert (found.champion.number, found.challenger.number) == (1, 4)
    assert found.bundle is not None
    assert found.bundle.of_champion
    assert found.runs[0].name == "tiny"
    assert found.runs[0].status == "FINISHED"
    assert found.disk["mlflow.db"] > 100_000
    assert found.advice == ("version 4 was not evaluated yet: `fer promote`",)
    assert found.working is None


def test_a_training_that_ended_well_has_no_earlier_failure(registered: Path) -> None:
    """A training that failed once and then ended well is shown without its failure."""
    run_id = runs.open_training_run(registered / "memo", "tiny", {}, {})
    runs.fail_run(run_id, "the loss is not a number")
    assert workspace_status(registered).runs[0].failure == "the loss is not a number"
    assert runs.open_training_run(registered / "memo", "tiny", {}, {}) == run_id
    assert "failure" not in runs.read_run(run_id).tags
    runs.close_training_run(registered / "memo", run_id, [])
    mlflow.MlflowClient().set_tag(run_id, "failure", "left by an earlier release")
    (run,) = [run for run in workspace_status(registered).runs if run.run_id == run_id]
    assert (run.status, run.failure) == ("FINISHED", None)


def test_the_status_says_how_much_bundles_take_and_what_is_free(registered: Path, isolated_homes: Path) -> None:
    bentos = isolated_homes / "bentoml" / "bentos"
    assert "bentos" not in workspace_status(registered).disk
    bentos.mkdir(parents=True)
    (bentos / "model.onnx").write_bytes(b"0" * 3_000_000)
    found = workspace_status(registered)
    assert found.disk["bentos"] == 3_000_000
    assert found.disk_free == pytest.approx(shutil.disk_usage(registered).free, rel=0.5)
    words = " ".join(CliRunner().invoke(fer, ["status"]).output.split())
    assert "bentos 3 MB" in words
    assert "GB free" in words


def test_a_wrong_or_damaged_bundle_is_shown(registered: Path) -> None:
    """The status shows a bundle of another model, a damaged one, and a lost champion."""
    champion.set_champion(registered, version(1), None)
    with replaced_bundle(registered / "export2", registered):
        pass
    found = workspace_status(registered)
    assert found.bundle is not None
    assert not found.bundle.of_champion
    assert any("fer package" in line for line in found.advice)
    (registered / "data" / "bundle" / "model.onnx").write_bytes(b"")
    damaged = workspace_status(registered).bundle
    assert damaged is not None
    assert "changed or damaged" in str(damaged.fault)
    shutil.rmtree(registered / "mlruns")
    exports._downloaded.clear()  # as in another process
    lost = workspace_status(registered)
    assert lost.champion is None
    assert lost.faults[0].startswith("champion fer version 1:")


def test_the_status_shows_the_last_drift_check(registered: Path) -> None:
    """It says so where the file of the check is damaged."""
    champion.set_champion(registered, version(1), None)
    assert workspace_status(registered).drift is None
    assert "drift no result: `fer monitor drift` checks" in " ".join(CliRunner().invoke(fer, ["status"]).output.split())
    file = registered / "data" / "reports" / "drift" / "drift.json"
    file.parent.mkdir(parents=True)
    model = version_metadata(version(1)).fingerprint
    file.write_text(json.dumps({"verdict": "drift in brightness", "drifted": True, "span": "yesterday", "model": model}))
    found = workspace_status(registered)
    assert found.drift is not None
    assert (found.drift.verdict, found.drift.drifted, found.drift.of_champion) == ("drift in brightness", True, True)
    assert "drift/report.html" in found.advice[-1]
    file.write_text("{}")
    damaged = workspace_status(registered)
    assert damaged.drift is None
    assert "fer monitor drift" in damaged.faults[0]


@pytest.fixture
def unreachable(request: pytest.FixtureRequest, registered: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A workspace with a champion, whose MLflow does not answer in the way that the parameter names."""
    champion.set_champion(registered, version(1), None)
    monkeypatch.setattr(mlflow_store, "ANSWER_SECONDS", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent_server:
        file, uri = registered / "mlflow.db", mlflow.get_tracking_uri()
        blocker = sqlite3.connect(file, isolation_level=None)
        match request.param:
            case "away":
                mlflow.set_tracking_uri("http://127.0.0.1:9")
            case "silent":
                mlflow.set_tracking_uri(f"http://127.0.0.1:{silent_server.getsockname()[1]}")
            case "locked":
                blocker.execute("BEGIN EXCLUSIVE")
            case content:
                file.write_bytes(content)
        yield registered
        blocker.close()
        mlflow.set_tracking_uri(uri)


@pytest.mark.parametrize(
    ("unreachable", "words"),
    [
        ("away", r"cannot be reached: start it"),
        ("silent", r"cannot be reached: start it"),
        ("locked", r"locked by another process: wait"),
        (b"no database, but words", r"is no SQLite database\): bring a copy"),
        (b"", r"no such table: registered_models\): bring a copy"),
    ],
    indirect=["unreachable"],
    ids=["server is away", "server is silent", "file is locked", "file is damaged", "file is empty"],
)
def test_a_silent_mlflow_is_reported_within_seconds(unreachable: Path, words: str) -> None:
    """The status says that MLflow does not answer, and what is known without it."""
    start = time.monotonic()
    found = workspace_status(unreachable)
    assert time.monotonic() - start < 10
    assert re.search(words, str(found.unreachable))
    assert (found.champion, found.challenger, found.runs, found.faults, found.advice) == (None, None, (), (), ())
    assert found.bundle is not None
    assert (found.bundle.placed_as, found.bundle.of_champion) == ("fer version 1, champion", None)
    assert "MLFLOW_HTTP_REQUEST_TIMEOUT" not in os.environ
    done = CliRunner().invoke(fer, ["status"])
    assert done.exit_code == 8
    assert "placed as fer version 1, champion" in " ".join(done.output.split())
    assert json.loads(CliRunner().invoke(fer, ["status", "--json"]).output)["champion"] is None


def test_the_status_says_who_works_here_until_that_process_dies(registered: Path) -> None:
    with exclusive(registered / RUN_LOCK, "train-champion"):
        assert f"train-champion, process {os.getpid()}" in str(workspace_status(registered).working)
        note = registered / "data" / ".run.holder.json"
        note.write_text(json.dumps({**json.loads(note.read_text()), "pid": 2**22 + 1}))
        assert workspace_status(registered).working is None
