"""Artifact locations follow a workspace that was renamed, moved or copied."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import mlflow
import pytest

from fer_pipeline.errors import ToolUnavailableError
from fer_pipeline.experiments import exports, registry, runs
from fer_pipeline.experiments.artifact_locations import artifact_location, follow_workspace
from fer_pipeline.model_info import ModelInfo

ODD = "ä b@+(),#%41'=!:&?[é]"
COLUMNS = {
    "experiments": "artifact_location",
    "runs": "artifact_uri",
    "logged_models": "artifact_location",
    "model_versions": "storage_location",
}


def locations(file: Path) -> dict[str, set[str]]:
    with closing(sqlite3.connect(file)) as connection:
        found = {}
        for table, column in COLUMNS.items():
            found[table] = {value for (value,) in connection.execute(f"SELECT {column} FROM {table}")}
    return found


def use(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    mlflow.set_tracking_uri(f"sqlite:///{root}/mlflow.db")


def store_naming(root: Path, location: Path | str) -> Path:
    """A database that names the artifacts of one run."""
    root.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(root / "mlflow.db")) as connection, connection:
        connection.execute("CREATE TABLE runs (artifact_uri TEXT)")
        connection.execute("INSERT INTO runs VALUES (?)", (str(location),))
    return root / "mlflow.db"


def run_location(file: Path) -> str:
    with closing(sqlite3.connect(file)) as connection:
        return str(connection.execute("SELECT artifact_uri FROM runs").fetchone()[0])


@pytest.mark.parametrize("copied", [True, False])
def test_a_moved_workspace_keeps_its_versions(
    registered: Path, tmp_path_factory: pytest.TempPathFactory, copied: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copied or moved workspace reads and writes artifacts at its own place alone."""
    there = tmp_path_factory.mktemp("other") / "there now"
    before = sorted(registered.rglob("*"))
    if copied:
        shutil.copytree(registered, there)
    else:
        shutil.move(registered, there)
    use(there, monkeypatch)
    version = registry.find("fer", "2")
    assert ModelInfo.read(exports.local_export(version)).temperature == 2.0
    new = runs.open_training_run(there / "memo", "tiny", {}, {})
    (there / "note").write_text("of here")
    runs.close_training_run(there / "memo", new, [there / "note"])
    assert [path.read_text() for path in (there / "mlruns").rglob("note")] == ["of here"]
    own = (there / "mlruns").as_uri()
    named = locations(there / "mlflow.db")
    assert named["runs"]
    assert all(value.startswith(f"{own}/") for values in named.values() for value in values)
    assert sorted(registered.rglob("*")) == (before if copied else [])


def test_a_store_outside_the_workspace_keeps_its_locations(registered: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database of MLFLOW_TRACKING_URI belongs to no workspace."""
    file = registered / "mlflow.db"
    before = locations(file)
    elsewhere = registered / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert [version.number for version in registry.versions("fer")] == [1, 2, 3]
    assert locations(file) == before


def test_artifacts_that_lie_elsewhere_stay_there(tmp_path: Path) -> None:
    """A folder of artifacts outside, which is no other workspace's, stays named."""
    elsewhere = tmp_path / "large disk" / "mlruns" / "1" / "abc" / "artifacts"
    elsewhere.mkdir(parents=True)
    file = store_naming(tmp_path / "work", elsewhere)
    follow_workspace(file)
    assert run_location(file) == str(elsewhere)


@pytest.mark.parametrize("as_uri", [True, False])
def test_a_location_at_a_place_that_is_gone_follows(tmp_path: Path, as_uri: bool) -> None:
    gone = tmp_path / "earlier name" / "mlruns" / "1" / "abc" / "artifacts"
    file = store_naming(tmp_path / ODD, gone.as_uri() if as_uri else gone)
    follow_workspace(file)
    assert run_location(file) == (tmp_path / ODD / "mlruns" / "1" / "abc" / "artifacts").as_uri()


def test_a_store_that_cannot_be_written_names_both_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a moved store cannot be changed, the error names both places and one command."""
    gone, here = tmp_path / "earlier", tmp_path / "here"
    file = store_naming(here, gone / "mlruns" / "1" / "artifacts")
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TRIGGER stays BEFORE UPDATE ON runs BEGIN SELECT RAISE(ABORT, 'x'); END")
        connection.commit()
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda _name, **keys: connect(f"{file.as_uri()}?mode=ro", **{**keys, "uri": True}))
    with pytest.raises(ToolUnavailableError, match="chmod u") as error:
        follow_workspace(file)
    assert str(gone) in str(error.value)
    assert str(here) in str(error.value)


def test_the_database_that_was_written_elsewhere_is_named(tmp_path: Path) -> None:
    """Earlier releases wrote the database to the percent-encoded path of the workspace."""
    earlier = store_naming(tmp_path / "a%20b", "s3://bucket/1")
    (tmp_path / "a b").mkdir()
    with pytest.raises(ToolUnavailableError, match="mv ") as error:
        follow_workspace(tmp_path / "a b" / "mlflow.db")
    assert str(earlier) in str(error.value)


def test_a_workspace_of_any_name_holds_its_database(migrated_store: Path, tmp_path: Path) -> None:
    """The database and the artifacts lie in a workspace with signs of URIs in its path."""
    root = tmp_path / ODD
    root.mkdir()
    shutil.copy2(migrated_store, root / "mlflow.db")
    code = (
        "from pathlib import Path; from fer_pipeline.experiments import mlflow_store as store, runs;"
        "Path('note').write_text('x'); run = runs.open_training_run(Path('memo'), 'tiny', {}, {});"
        "runs.close_training_run(Path('memo'), run, [Path('note')]); print(store.store_file());"
        "import mlflow; print(mlflow.artifacts.download_artifacts(run_id=run, artifact_path='training/note', dst_path='back'))"
    )
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    done = subprocess.run([sys.executable, "-c", code], cwd=root, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0] == str(root / "mlflow.db")
    assert (root / "back" / "training" / "note").exists() or (root / "back" / "note").exists()
    assert {path.name for path in root.iterdir()} == {"mlflow.db", "mlruns", "note", "back"}
    assert [path.name for path in tmp_path.iterdir()] == [ODD]


def test_a_temporary_dvc_experiment_keeps_its_run(tracking_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run and artifacts are those of the workspace, and there when DVC has removed the folder of the experiment."""
    root = tracking_store.parent
    folder = root / ".dvc" / "tmp" / "exps" / "standalone" / "tmpx1"
    folder.mkdir(parents=True)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    monkeypatch.chdir(folder)
    run_id = runs.open_training_run(Path("memo"), "tiny", {}, {})
    Path("note").write_text("kept")
    runs.close_training_run(Path("memo"), run_id, [Path("note")])
    assert [path.name for path in folder.iterdir()] == ["note"]
    monkeypatch.chdir(root)
    shutil.rmtree(folder)
    assert [run.run_id for run in runs.recent_runs(2)] == [run_id]
    assert mlflow.artifacts.load_text(f"runs:/{run_id}/training/note") == "kept"
    (location,) = locations(root / "mlflow.db")["runs"]
    assert location.startswith((root / "mlruns").as_uri())


def test_the_location_of_an_experiment_is_a_uri(tmp_path: Path) -> None:
    location = artifact_location(tmp_path / "100 % #1" / "mlflow.db", "fer")
    assert location == f"{tmp_path.as_uri()}/100%20%25%20%231/mlruns/fer"
