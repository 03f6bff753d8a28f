"""Make a scratch workspace and run commands in it.

A copy of this repository's code with small settings and homes of all tools.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fer_pipeline.config import editing
from fer_pipeline.config.params import load_params
from fer_pipeline.environment import DEFAULTS
from fer_pipeline.errors import FerError
from fer_pipeline.workspace.layout import SYNTHETIC

REPOSITORY = Path(__file__).resolve().parents[2]

MARK = "FER_PIPELINE_LIFECYCLE"
"""A variable that every process of one play has in its environment, whoever started it."""

WEAK, GOOD, WORSE = "demo-weak", "demo-good", "demo-worse"
_RECIPE = "smoke"
_EPOCHS = {WEAK: 6, GOOD: 12, WORSE: 2}
_SETTINGS = {  # smaller than the defaults, so that four trainings with all that belongs to them take minutes
    "evaluate.bootstrap": 200,
    "evaluate.test_time_augmentation": False,
    "promote.corruption_pictures": 50,
}

_FACES = "faces: 2400\nseed: 0\n"  # likewise

_FILES = ("dvc.yaml", "params.yaml", "profiles.yaml", "bentofile.yaml", "pyproject.toml", "prefect.yaml")
_FOLDERS = ("fer_pipeline", "flows")
_HIDDEN = (".dvc/config", ".dvc/.gitignore", "data/.gitignore")
_OWN = ("FER_", "PREFECT_", "MLFLOW_", "BENTOML_", "DVC_")


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """The object that it printed."""
        return json.loads(self.out)


@dataclass(frozen=True)
class Workspace:
    """A copy of the repository in `root`; `home` holds it and the homes of the tools."""

    home: Path
    environment: dict[str, str]

    @property
    def root(self) -> Path:
        """Where commands run."""
        return self.home / "workspace"

    def run(self, *command: str, codes: tuple[int, ...] = (0,), timeout: float = 900) -> Done:
        """Run a program of the environment.

        Raises `FerError`, with its output, where it ends with another exit code than expected.
        """
        program = str(Path(sys.executable).with_name(command[0]))
        done = subprocess.run(
            [program, *command[1:]],
            cwd=self.root,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )
        if done.returncode not in codes:
            last = "\n".join((done.stdout + done.stderr).strip().splitlines()[-30:])
            raise FerError(f"`{' '.join(command)}` ended with exit code {done.returncode}, expected {codes}:\n{last}")
        return Done(done.returncode, done.stdout, done.stderr)


def make(home: Path, mark: str, mlflow_port: int, prefect_port: int) -> Workspace:
    """Make a workspace in an empty folder, with the profiles of the demo.

    Nothing runs yet.
    """
    root = home / "workspace"
    root.mkdir()
    for name in _FILES:
        shutil.copy2(REPOSITORY / name, root)
    for name in _FOLDERS:
        shutil.copytree(REPOSITORY / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in _HIDDEN:
        (root / name).parent.mkdir(exist_ok=True)
        shutil.copy2(REPOSITORY / name, root / name)
    (root / SYNTHETIC).write_text(_FACES)
    _set_recipes(root / "params.yaml")
    (home / "tmp").mkdir()
    workspace = Workspace(home, _environment(home, mark, mlflow_port, prefect_port))
    who = ["-c", "user.name=demo", "-c", "user.email=demo@example.org"]
    for arguments in (["init", "-q"], ["add", "-A"], [*who, "commit", "-qm", "workspace of the demonstration"]):
        subprocess.run(["git", *arguments], cwd=root, env=workspace.environment, check=True)
    return workspace


def _set_recipes(file: Path) -> None:
    editing.write_values(file, _SETTINGS)
    recipe = load_params(file).recipe(_RECIPE)
    for name, epochs in _EPOCHS.items():
        short = recipe.with_values({"epochs": epochs, "low_resolution_epochs": max(epochs - 3, 1)})
        editing.save_profile(file, name, short, f"Of the demonstration: {epochs} epochs instead of {recipe.epochs}.")


def _environment(home: Path, mark: str, mlflow_port: int, prefect_port: int) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OWN)}
    return {
        **kept,
        **DEFAULTS,
        MARK: mark,
        "PWD": str(home / "workspace"),  # prefect.yaml takes the deployments' folder from it
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "PYTHONPATH": str(home / "workspace"),  # the copy, so that nobody's edits of the repository change the play
        "TMPDIR": str(home / "tmp"),
        "XDG_DATA_HOME": str(home / "xdg"),
        "BENTOML_HOME": str(home / "bentoml"),
        "PREFECT_HOME": str(home / "prefect"),
        "PREFECT_API_URL": f"http://127.0.0.1:{prefect_port}/api",
        "PREFECT_WORKER_QUERY_SECONDS": "2",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{mlflow_port}",
    }
