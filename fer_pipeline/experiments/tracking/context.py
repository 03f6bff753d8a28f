"""Tags that say who started a run, where and for what."""

from __future__ import annotations

import os
import socket

from mlflow.tracking.context.registry import resolve_tags
from mlflow.utils.mlflow_tags import MLFLOW_GIT_BRANCH, MLFLOW_GIT_COMMIT, MLFLOW_GIT_REPO_URL

FLOW_RUN_VARIABLE = "FER_FLOW_RUN"
"""Names the Prefect flow run that a process works for."""


def dvc_experiment() -> str | None:
    """Return the name of the `dvc exp run` that this process belongs to."""
    return os.environ.get("DVC_EXP_NAME") or None


def context_tags(git_commit: str) -> dict[str, str]:
    """Return the tags of a run that is started now.

    Those that MLflow's own client sets (mlflow.user, mlflow.source.name, ...), `host`, and where they apply `dvc_experiment` and
    `prefect_flow_run`. `git_commit` is that of the workspace, as `git.commit` returns it: MLflow looks where `fer` is installed.
    """
    tags = {str(key): str(value) for key, value in resolve_tags().items()}
    commit = git_commit.removesuffix("-dirty")
    if tags.get(MLFLOW_GIT_COMMIT) != commit:
        for key in (MLFLOW_GIT_COMMIT, MLFLOW_GIT_BRANCH, MLFLOW_GIT_REPO_URL):
            tags.pop(key, None)
    if commit != "none":
        tags[MLFLOW_GIT_COMMIT] = commit
    tags["host"] = socket.gethostname()
    for key, value in (("dvc_experiment", dvc_experiment()), ("prefect_flow_run", os.environ.get(FLOW_RUN_VARIABLE))):
        if value:
            tags[key] = value
    return tags
