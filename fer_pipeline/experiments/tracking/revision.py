"""Compare the tables of MLflow's store with those that the installed MLflow has."""

from __future__ import annotations

import os
import re
import shlex
import sqlite3
from contextlib import closing
from importlib.metadata import distribution, version
from pathlib import Path

from fer_pipeline.errors import ToolUnavailableError
from fer_pipeline.workspace.layout import MLFLOW_DATABASE

_MIGRATIONS = "mlflow/store/db_migrations/versions/"
_REVISION = re.compile(r'^(down_revision|revision)(?::[^=]*)? = "(\w+)"', re.MULTILINE)
_SQLITE = "sqlite:///"
_SECONDS = 4.0


def check_revision(root: Path) -> str:
    """Say which store the workspace `root` has; neither MLflow nor a server is asked.

    Raises `ToolUnavailableError`, with what to do, where it is a SQLite file whose tables are of another MLflow, or that cannot
    be read.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI", f"{_SQLITE}{MLFLOW_DATABASE}")
    if not uri.startswith(_SQLITE):
        return f"{uri.partition('://')[0]}, of MLFLOW_TRACKING_URI: its server or `mlflow db upgrade` looks after its tables"
    file = root / uri.removeprefix(_SQLITE)
    if not file.exists() or file.stat().st_size == 0:
        return f"{file.name}, not there yet"
    try:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=_SECONDS)) as connection:
            ((found,),) = connection.execute("SELECT version_num FROM alembic_version").fetchall()
    except (sqlite3.Error, ValueError) as error:
        raise ToolUnavailableError(f"{file} cannot be read ({error}): bring a copy back, or move it away") from error
    known, newest = installed_revisions()
    installed = f"MLflow {version('mlflow')}"
    if found == newest:
        return f"{file.name}, tables of {installed} (revision {newest})"
    if found in known:
        raise ToolUnavailableError(
            f"{file} has the tables of an earlier MLflow (revision {found}), {installed} needs {newest}: end what uses it, copy "
            f"it, then `mlflow db upgrade {shlex.quote(uri)}`"
        )
    raise ToolUnavailableError(
        f"{file} has tables that {installed} does not know (revision {found}), of a newer one: `make install`"
    )


def installed_revisions() -> tuple[frozenset[str], str]:
    """Return all revisions of tables that the installed MLflow knows, and the newest."""
    scripts = (file for file in distribution("mlflow").files or () if str(file).startswith(_MIGRATIONS) and file.suffix == ".py")
    found = [match for file in scripts for match in _REVISION.findall(Path(str(file.locate())).read_text(encoding="utf-8"))]
    known = frozenset(revision for kind, revision in found if kind == "revision")
    (newest,) = known - {revision for kind, revision in found if kind == "down_revision"}
    return known, newest
