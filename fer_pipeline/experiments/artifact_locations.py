"""Make the artifact locations in a workspace's mlflow.db follow the workspace.

MLflow stores absolute paths. They name the old place after a workspace was renamed, moved or copied.
"""

from __future__ import annotations

import re
import shlex
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote, urlsplit
from urllib.request import url2pathname

from fer_pipeline.errors import ToolUnavailableError
from fer_pipeline.workspace.layout import MLFLOW_ARTIFACTS, MLFLOW_DATABASE

_COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "storage_location"),
    ("model_versions", "source"),
)
_LOCATION = re.compile(rf"(?P<root>(?:file:)?/.*/{MLFLOW_ARTIFACTS})/(?P<tail>.+)", re.DOTALL)
_LOCK_SECONDS = 10


def artifact_location(file: Path, experiment: str) -> str:
    """Return the artifact URI of a new experiment in the database `file`.

    MLflow's own default is a plain path, of which it cannot read back one that holds a percent sign.
    """
    return (file.parent / MLFLOW_ARTIFACTS / quote(experiment, safe="")).as_uri()


def follow_workspace(file: Path) -> None:
    """Re-base artifact locations that name an earlier place of the workspace.

    `file` is the workspace's mlflow.db; its artifacts lie in mlruns beside it. A location elsewhere stays as it is where there is
    such a folder and no other workspace around it. Raises `ToolUnavailableError`, which names both places, where the file cannot
    be written or an earlier release put it elsewhere, and `sqlite3.DatabaseError` where it cannot be read.
    """
    if not file.exists():
        if earlier := misplaced_store(file):
            raise ToolUnavailableError(
                f"the MLflow database of this workspace lies in {earlier}, where an earlier release put it, not in {file}: "
                f"`mv {shlex.quote(str(earlier))} {shlex.quote(str(file))}`, then run again"
            )
        return
    own = file.parent / MLFLOW_ARTIFACTS
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=_LOCK_SECONDS)) as connection:
        changes = [
            (table, column, location, new)
            for table, column in _columns(connection)
            for (location,) in connection.execute(f"SELECT DISTINCT {column} FROM {table}")
            if (new := _present_location(location, own)) is not None
        ]
    if not changes:
        return
    try:
        with closing(sqlite3.connect(file, timeout=_LOCK_SECONDS)) as connection, connection:
            for table, column, location, new in changes:
                connection.execute(f"UPDATE {table} SET {column} = ? WHERE {column} = ?", (new, location))
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise
        raise ToolUnavailableError(
            f"this workspace is now {file.parent}, but its MLflow database names the earlier place {changes[0][2]} and cannot be "
            f"changed ({error}): `chmod u+w {shlex.quote(str(file.parent))} {shlex.quote(str(file))}`, then run again"
        ) from error


def misplaced_store(file: Path) -> Path | None:
    """Return the database at the percent-encoded path, None where there is none.

    An earlier release wrote it there instead of at this path.
    """
    earlier = Path(quote(str(file)))
    try:
        return earlier if earlier != file and earlier.is_file() else None
    except OSError:  # a folder above it cannot be searched, or the name is too long: it was never written
        return None


def _columns(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    return [(table, column) for table, column in _COLUMNS if table in tables]


def _present_location(location: str | None, own: Path) -> str | None:
    """Return the location below the folder `own` that replaces this one.

    None where it stays as it is.
    """
    found = _LOCATION.fullmatch(location or "")
    if location is None or found is None or location.startswith(f"{own.as_uri()}/"):
        return None
    root, tail = _path(found["root"]), found["tail"]
    if root == own and "%" not in str(own):
        return None
    earlier, present = root / tail, own / tail
    if root == own or present.exists() or not earlier.exists() or (root.parent / MLFLOW_DATABASE).exists():
        return f"{own.as_uri()}/{tail}"
    return None


def _path(root: str) -> Path:
    return Path(url2pathname(urlsplit(root).path) if root.startswith("file:") else root)
