"""Read MLflow's SQLite file without loading MLflow, which takes seconds.

For commands that only list. Where the store is a server, another database or of another release, MLflow itself is asked.
"""

from __future__ import annotations

import math
import os
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit
from urllib.request import url2pathname

from fer_pipeline.errors import FerError
from fer_pipeline.experiments.artifact_locations import follow_workspace
from fer_pipeline.experiments.legacy_tags import current_metrics, current_tags
from fer_pipeline.experiments.records import EXPORT_PATH, TrackedRun, Version, training_experiment
from fer_pipeline.model_info import INFO_FILE
from fer_pipeline.workspace.layout import MLFLOW_DATABASE, workspace_root

SCHEMA: Final = "dc11669786a5"
"""Revision of MLflow's tables that this module knows; a file of another one is left to MLflow."""

_PREFIX: Final = "sqlite:///"
_SECONDS = 4.0


class SQLiteStore:
    """Versions and runs in the file of a store; the answers are those of MLflow.

    Raises `sqlite3.Error` where the file is locked or damaged.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def versions(self, name: str) -> list[Version]:
        """All versions of the registered model, oldest first."""
        rows = self._rows(
            "SELECT version, run_id FROM model_versions WHERE name = ? AND workspace = 'default' "
            "AND current_stage != 'Deleted_Internal' ORDER BY version",
            name,
        )
        return [Version(name, number, str(run), current_tags(self._tags(name, number))) for number, run in rows]

    def aliases(self, name: str) -> dict[str, int]:
        """Return the number of the version behind each alias."""
        rows = self._rows("SELECT alias, version FROM registered_model_aliases WHERE name = ? AND workspace = 'default'", name)
        return {alias: int(number) for alias, number in rows}

    def export(self, version: Version) -> Path | None:
        """Return the folder of a version's exported model.

        None where it is not on this machine, or in an earlier layout.
        """
        ((location,),) = self._rows(
            "SELECT storage_location FROM model_versions WHERE name = ? AND version = ? AND workspace = 'default'",
            version.name,
            version.number,
        )
        parts = urlsplit(location or "")
        model = Path(url2pathname(parts.path))
        places = (model / EXPORT_PATH, model) if parts.scheme in ("", "file") else ()
        return next((folder for folder in places if (folder / INFO_FILE).is_file()), None)

    def params(self, run_id: str) -> dict[str, str]:
        """Return the parameters of a run."""
        return dict(self._rows("SELECT key, value FROM params WHERE run_uuid = ?", run_id))

    def recent_runs(self, limit: int) -> list[TrackedRun]:
        """The runs of the experiment, youngest first."""
        rows = self._rows(
            "SELECT run_uuid, runs.name, status, start_time, end_time FROM runs JOIN experiments USING (experiment_id) "
            "WHERE experiments.name = ? AND workspace = 'default' AND runs.lifecycle_stage = 'active' "
            "ORDER BY start_time DESC, run_uuid LIMIT ?",
            training_experiment(),
            limit,
        )
        return [
            TrackedRun(
                run,
                name,
                status,
                start / 1000,
                end / 1000 if end else None,
                self.params(run),
                self._metrics(run),
                self._run_tags(run),
            )
            for run, name, status, start, end in rows
        ]

    def _tags(self, name: str, number: int) -> dict[str, str]:
        query = "SELECT key, value FROM model_version_tags WHERE name = ? AND version = ? AND workspace = 'default'"
        return dict(self._rows(query, name, number))

    def _metrics(self, run: str) -> dict[str, float]:
        rows = self._rows("SELECT key, value, is_nan FROM latest_metrics WHERE run_uuid = ?", run)
        return current_metrics({key: math.nan if is_nan else value for key, value, is_nan in rows})

    def _run_tags(self, run: str) -> dict[str, str]:
        rows = self._rows("SELECT key, value FROM tags WHERE run_uuid = ?", run)
        return {key: value for key, value in rows if not key.startswith("mlflow.")}

    def _rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        return self._connection.execute(query, values).fetchall()


@contextmanager
def opened_store(file: Path) -> Iterator[SQLiteStore | None]:
    """Open the file of a store for reading.

    Yields None where its tables are not those of `SCHEMA`.
    """
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=_SECONDS)) as connection:
        known = connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(SCHEMA,)]
        yield SQLiteStore(connection) if known else None


def readable_file() -> Path | None:
    """Return the SQLite file of the store, its locations brought up to date.

    None where MLflow must be asked: the store is no such file, it cannot be read, or MLflow is loaded already.
    """
    own = workspace_root(Path.cwd())
    uri = os.environ.get("MLFLOW_TRACKING_URI", f"{_PREFIX}{os.path.relpath(own / MLFLOW_DATABASE)}")
    if "mlflow" in sys.modules or "MLFLOW_REGISTRY_URI" in os.environ:
        return None
    if not uri.startswith(_PREFIX) or any(sign in uri for sign in "?%"):
        return None
    file = Path(uri.removeprefix(_PREFIX))
    file = file.parent.resolve() / file.name
    try:
        if not file.is_file() or file.stat().st_size == 0:
            return None
        if file.parent == own:
            follow_workspace(file)
        with opened_store(file) as store:
            return file if store is not None else None
    except (OSError, sqlite3.Error, FerError):  # MLflow's side says what is wrong, and what to do
        return None
