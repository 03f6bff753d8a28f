"""What the doctor says of MLflow's store."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

import pytest

from fer_pipeline.errors import ToolUnavailableError
from fer_pipeline.experiments.sqlite_store import SCHEMA
from fer_pipeline.experiments.tracking.revision import check_revision, installed_revisions


def store_of(file: Path, revision: str) -> Path:
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))
    return file


def test_a_store_of_the_installed_mlflow_is_right(tracking_store: Path) -> None:
    known, newest = installed_revisions()
    assert SCHEMA in known
    assert check_revision(tracking_store.parent) == f"mlflow.db, tables of MLflow {version('mlflow')} (revision {newest})"


def test_a_store_of_another_mlflow_is_named(tracking_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an earlier one with the command that renews it, of a newer one with that which renews MLflow."""
    root = tracking_store.parent
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    store_of(tracking_store, "451aebb31d03")
    with pytest.raises(
        ToolUnavailableError, match=r"an earlier MLflow \(revision 451aebb31d03\).*mlflow db upgrade sqlite:///mlf"
    ):
        check_revision(root)
    store_of(tracking_store, "ffffffffffff")
    with pytest.raises(ToolUnavailableError, match=r"does not know \(revision ffffffffffff\), of a newer one: `make install`"):
        check_revision(root)
    tracking_store.write_bytes(b"no database")
    with pytest.raises(ToolUnavailableError, match=r"cannot be read"):
        check_revision(root)


def test_a_store_elsewhere_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert check_revision(tmp_path) == "mlflow.db, not there yet"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql+psycopg://me:secret@127.0.0.1:9/mlflow")
    assert "secret" not in check_revision(tmp_path)
