"""The SQLite file of the store, read without MLflow: the answers are MLflow's own."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from fer_pipeline.experiments import mlflow_store, registry, runs
from fer_pipeline.experiments.exports import local_export
from fer_pipeline.experiments.sqlite_store import opened_store, readable_file
from fer_pipeline.experiments.version_info import version_metadata
from fer_pipeline.model_info import ModelInfo
from fer_pipeline.promotion import champion, status

SCRIPT = """
import sys
from fer_pipeline.cli import main
sys.argv = ["fer", *sys.argv[1:]]
try:
    main()
finally:
    print("mlflow" in sys.modules, "sqlalchemy" in sys.modules)
"""


@pytest.fixture
def file(registered: Path) -> Path:
    """The store of a workspace with a champion, a failed run and a registered model of another name."""
    champion.set_champion(registered, registry.find("fer", "2"), None)
    registry.tag_version(registry.find("fer", "1"), {"crowned": "2026-11-01"})  # as earlier releases wrote it
    run_id = runs.open_training_run(registered / "memo", "tiny", {"train": {"lr": 0.1}}, {"network": "compact"})
    runs.log_metrics(run_id, {"val_accuracy": 0.5, "loss": float("nan")}, 1)
    runs.log_metrics(run_id, {"val_accuracy": 0.6}, 2)
    runs.fail_run(run_id, "the loss is not a number")
    export = registered / "export1"
    registry.register(export, replace(ModelInfo.read(export), temperature=8.0), "other", runs.ensure_run(None, "o", {}), {})
    found = mlflow_store.store_file()
    assert found is not None
    return found


def test_the_file_is_read_as_mlflow_reads_it(file: Path, registered: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails where a newer MLflow has other tables: compare them, then renew `SCHEMA`."""
    with opened_store(file) as store:
        assert store is not None
        for name in ("fer", "other", "missing"):
            assert store.versions(name) == registry.versions(name)
            assert store.aliases(name) == registry.aliases(name)
        assert repr(store.recent_runs(9)) == repr(runs.recent_runs(9))  # as texts: NaN is not equal to itself
        for version in store.versions("fer"):
            export = store.export(version)
            assert export is not None
            assert ModelInfo.read(export) == ModelInfo.read(local_export(version))
    asked = status.workspace_status(registered)
    monkeypatch.setattr(status, "readable_file", lambda: file)
    assert repr(status.workspace_status(registered).runs) == repr(asked.runs)
    assert status.workspace_status(registered).champion == asked.champion == version_metadata(registry.find("fer", "champion"))


def test_the_commands_that_list_load_no_mlflow(file: Path, registered: Path) -> None:
    environment = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{file}"}
    for command in (["models", "list"], ["status"]):
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, *command], cwd=registered, env=environment, capture_output=True, text=True, check=False
        )
        assert "champion" in done.stdout, done.stderr
        assert done.stdout.splitlines()[-1] == "False False"


@pytest.mark.parametrize(
    "uri", ["http://127.0.0.1:1", "sqlite:///missing.db", "sqlite:///other.db", "sqlite:///broken.db", "sqlite:///a%20b.db"]
)
def test_what_is_not_known_is_left_to_mlflow(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "mlflow")
    monkeypatch.delenv("MLFLOW_REGISTRY_URI", raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    Path("broken.db").write_bytes(b"no database")
    with sqlite3.connect("other.db") as connection:
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
        connection.execute("INSERT INTO alembic_version VALUES ('of-another-release')")
    connection.close()
    assert readable_file() is None
