"""Run BentoML's commands on its store of bentos, in processes of their own.

The store lies in `BENTOML_HOME`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from fer_pipeline.errors import ModelError
from fer_pipeline.workspace.homes import check_homes, tool_home

_LOG_LINES = 30


def store_folder() -> Path | None:
    """Return BentoML's folder of bentos, None where the user has no home."""
    home = tool_home("BentoML")
    return home / "bentos" if home else None


def writable_store() -> Path:
    """Return BentoML's folder of bentos, which can be written.

    Raises `ToolUnavailableError` where it cannot.
    """
    check_homes("BentoML")
    folder = store_folder()
    assert folder is not None  # the check has found it
    return folder


def is_packaged(tag: str) -> bool:
    """Whether BentoML's store holds a bento of this tag."""
    return tag in [bento["tag"] for bento in json.loads(run_bentoml("list", "--output", "json"))]


def bento_path(tag: str) -> str:
    """Return the folder of a bento.

    Raises `ModelError` where the store does not hold it.
    """
    return run_bentoml("get", tag, "--output", "path").strip()


def run_bentoml(*arguments: str, cwd: Path | None = None) -> str:
    """Return the output of a command of BentoML.

    Raises `ModelError`, with its last lines, where it fails.
    """
    environment = {**bentoml_environment(), "COLUMNS": "10000"}  # or a line ends at 80, in the middle of a path
    command = [sys.executable, "-m", "bentoml", *arguments]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        output = "\n".join((done.stdout + done.stderr).strip().splitlines()[-_LOG_LINES:])
        raise ModelError(f"`bentoml {' '.join(arguments)}` failed:\n{output}")
    return done.stdout


def bentoml_environment() -> dict[str, str]:
    """Return this environment without the service's settings, telemetry off."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FER_") and name != "PYTHONPATH"}
    return {**kept, "BENTOML_DO_NOT_TRACK": "True"}
