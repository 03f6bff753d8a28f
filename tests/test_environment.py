from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from fer_pipeline import environment

DEPLOYMENTS = yaml.safe_load((Path(__file__).parents[1] / "prefect.yaml").read_text())["deployments"]


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda deployment: deployment["name"])
def test_deployed_flows_have_the_defaults_of_the_command(
    deployment: dict[str, dict[str, dict[str, object]]],
) -> None:
    """prefect.yaml sets the values of environment.py."""
    assert deployment["work_pool"]["job_variables"]["env"] == dict(environment.DEFAULTS)


def test_what_the_user_has_set_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_LOGGING_LEVEL", "DEBUG")
    for name in environment.DEFAULTS:
        if name != "MLFLOW_LOGGING_LEVEL":
            monkeypatch.setenv(name, "")  # so that monkeypatch restores what apply() sets
            monkeypatch.delenv(name)
    environment.apply()
    assert os.environ["MLFLOW_LOGGING_LEVEL"] == "DEBUG"
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
