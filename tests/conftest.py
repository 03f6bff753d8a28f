"""Isolation of all tools' homes, and small answer-known data."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Before any tool is imported: nothing leaves the machine, and importing TensorFlow stays quiet.
os.environ.update(
    {
        "BENTOML_DO_NOT_TRACK": "True",
        "CUDA_VISIBLE_DEVICES": "",
        "DO_NOT_TRACK": "1",
        "DVC_NO_ANALYTICS": "1",
        "GX_ANALYTICS_ENABLED": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
)


@pytest.fixture(autouse=True)
def isolated_homes(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh home of every tool for each test, so that no test reads or leaves state."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("BENTOML_HOME", str(home / "bentoml"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{home}/mlflow.db")
    monkeypatch.setenv("PREFECT_HOME", str(home / "prefect"))
    return home
