"""Locate MLflow's store and its pages, and explain its errors.

It is mlflow.db in the workspace unless MLFLOW_TRACKING_URI names another. A temporary experiment of DVC, whose folder is removed
after it, uses the one of the workspace that it was started in.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, TypeGuard
from urllib.parse import quote, urlsplit

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DatabaseError

from fer_pipeline.errors import FerError, ToolUnavailableError
from fer_pipeline.experiments.artifact_locations import artifact_location, follow_workspace
from fer_pipeline.experiments.records import Version
from fer_pipeline.workspace.layout import MLFLOW_DATABASE, workspace_root

ANSWER_SECONDS = 4
"""How long `answering_soon` waits for one answer of a server, or for a locked file."""

_SQLITE = b"SQLite format 3\0"
_AWAY = ("Max retries exceeded", "failed with timeout exception")

_followed: Final[set[tuple[Path, int | None]]] = set()  # databases, with their inode, that `_open` has looked through


def store_file() -> Path | None:
    """Return the SQLite file of the registry.

    None where the registry is a server or another database.
    """
    if "MLFLOW_TRACKING_URI" not in os.environ and mlflow.get_tracking_uri().startswith("sqlite:"):
        # MLflow's own default is the same file as a percent-encoded path, which SQLite takes literally.
        mlflow.set_tracking_uri(f"sqlite:///{os.path.relpath(workspace_root(Path.cwd()) / MLFLOW_DATABASE)}")
    try:
        url = make_url(mlflow.get_registry_uri())
    except ArgumentError:  # a folder, or "databricks"
        return None
    if url.get_backend_name() != "sqlite" or not url.database:
        return None
    file = Path(url.database)
    return file.parent.resolve() / file.name


def is_missing(error: MlflowException) -> bool:
    """Whether MLflow says that a run, a model or a version is not there."""
    return error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


@contextmanager
def clear_errors() -> Iterator[None]:
    """Turn errors of MLflow into a `FerError`.

    A store that is away, locked or damaged is a `ToolUnavailableError`.
    """
    _open(store_file())
    try:
        yield
    except FerError:
        raise
    except (MlflowException, DatabaseError) as error:
        raise _named(error) from error


@contextmanager
def answering_soon() -> Iterator[None]:
    """Make MLflow answer or fail within seconds while the block runs.

    For commands that a person waits for: a server is asked once, and a locked or damaged file is an error at once. Raises
    `ToolUnavailableError` where the store is a SQLite file that cannot be read. Outside of it a server that is away is asked
    for a minute, since it may be starting again.
    """
    hurry = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": str(ANSWER_SECONDS)}
    before = {name: os.environ.get(name) for name in hurry}
    os.environ.update(hurry)
    try:
        file = store_file()
        _check_content(file)
        _open(file)
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value


def experiment_id(name: str) -> str:
    """Return the id of an experiment, which is created where it is missing.

    Its artifacts lie in the workspace where the store is the workspace's own, else where MLflow puts them.
    """
    client, file = MlflowClient(), store_file()
    found = client.get_experiment_by_name(name)
    if found is None:
        location = artifact_location(file, name) if _is_of_workspace(file) else None
        try:
            return str(client.create_experiment(name, location))
        except MlflowException:
            found = client.get_experiment_by_name(name)
            if found is None:  # not that another process was faster
                raise
    return str(found.experiment_id)


def version_address(version: Version) -> str | None:
    """Return the page of a version; None where the registry is no server."""
    server = _server(mlflow.get_registry_uri())
    return server and f"{server}/#/models/{quote(version.name)}/versions/{version.number}"


def artifact_address(run_id: str, path: str) -> str | None:
    """Return the page of a run's artifact; None where its store is no server."""
    server = _server(mlflow.get_tracking_uri())
    if server is None:
        return None
    with clear_errors():
        experiment = MlflowClient().get_run(run_id).info.experiment_id
    return f"{server}/#/experiments/{experiment}/runs/{run_id}/artifacts/{quote(path)}"


def _server(uri: str) -> str | None:
    parts = urlsplit(uri)
    if parts.scheme not in ("http", "https"):
        return None
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"  # without a password


def _is_of_workspace(file: Path | None) -> TypeGuard[Path]:
    return file is not None and file.parent == workspace_root(Path.cwd())


def _open(file: Path | None) -> None:
    """Check the store's file, and once per process its artifact locations."""
    _check_head(file)
    if not _is_of_workspace(file):
        return
    key = (file, file.stat().st_ino if file.exists() else None)
    if key in _followed:
        return
    try:
        follow_workspace(file)
    except sqlite3.DatabaseError as error:
        raise _locked() if "locked" in str(error) else _unreadable(file, str(error)) from error
    _followed.add(key)


def _check_head(file: Path | None) -> None:
    """Raise where the file is no SQLite database.

    MLflow would retry it for 100 s without a word. An empty file it fills with its tables.
    """
    if file is None or not file.exists():
        return
    try:
        with file.open("rb") as stream:
            head = stream.read(len(_SQLITE))
    except OSError as error:
        raise _unreadable(file, str(error.strerror)) from error
    if head not in (b"", _SQLITE):
        raise _unreadable(file, "it is no SQLite database")


def _check_content(file: Path | None) -> None:
    if file is None or not file.exists():
        return
    _check_head(file)
    try:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=ANSWER_SECONDS)) as connection:
            connection.execute("SELECT name FROM registered_models LIMIT 1").fetchall()
    except sqlite3.DatabaseError as error:
        raise _locked() if "locked" in str(error) else _unreadable(file, str(error)) from error


def _named(error: Exception) -> FerError:
    words = str(error)
    if "database is locked" in words:
        return _locked()
    if "database disk image is malformed" in words and (file := store_file()):
        return _unreadable(file, "the database disk image is malformed")
    address = _without_password(mlflow.get_tracking_uri())
    if any(word in words for word in _AWAY):
        return ToolUnavailableError(
            f"the MLflow server at {address} cannot be reached: start it, or name another in MLFLOW_TRACKING_URI, then run "
            "again; finished stages are kept"
        )
    return FerError(f"MLflow at {address} failed: {words}")


def _locked() -> ToolUnavailableError:
    return ToolUnavailableError(
        "MLflow's SQLite database is locked by another process: wait for it or close it, then run again; "
        "finished stages are kept, and a training resumes at its last epoch"
    )


def _unreadable(file: Path, why: str) -> ToolUnavailableError:
    return ToolUnavailableError(
        f"MLflow's database {file} cannot be read ({why}): bring a copy back, or move it away, and `fer run` starts a new one"
    )


def _without_password(uri: str) -> str:
    scheme, separator, rest = uri.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"
