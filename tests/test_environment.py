from __future__ import annotations

import getpass
import os
import pwd
import urllib.request
from pathlib import Path

import pytest
import yaml

from fer_pipeline import environment
from fer_pipeline.workspace.homes import user_home

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


@pytest.mark.parametrize(
    ("lower", "upper", "hosts"),
    [
        ("", "", "127.0.0.1,localhost,::1"),
        ("example.org, 127.0.0.1", "", "example.org,127.0.0.1,localhost,::1"),
        ("a.org", "b.org", "a.org,b.org,127.0.0.1,localhost,::1"),
    ],
)
def test_loopback_bypasses_proxies(lower: str, upper: str, hosts: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy is asked for a server on this machine, and those of the user's exceptions stay."""
    monkeypatch.setenv("no_proxy", lower)
    monkeypatch.setenv("NO_PROXY", upper)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    environment.apply()
    assert (os.environ["no_proxy"], os.environ["NO_PROXY"]) == (hosts, hosts)
    for address in ("127.0.0.1:4200", "localhost:4200"):
        assert urllib.request.proxy_bypass_environment(address)
    assert not urllib.request.proxy_bypass_environment("files.example.com")


def test_a_user_without_proxies_for_any_host_keeps_that(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv("NO_PROXY", raising=False)
    environment.apply()
    assert os.environ["no_proxy"] == "*"
    assert "NO_PROXY" not in os.environ


@pytest.mark.parametrize(("user", "name"), [(None, f"uid-{os.getuid()}"), ("builder", "builder")])
def test_a_user_without_a_name_gets_one(user: str | None, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tools that ask who runs them get an answer where the list of users has none."""

    def unknown(number: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {number}")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME", "HOME"):
        monkeypatch.setenv(variable, "")
        monkeypatch.delenv(variable)
    if user:
        monkeypatch.setenv("USER", user)
    environment.apply()
    assert getpass.getuser() == name
    assert Path.home() == Path(environment.NO_HOME)
    assert user_home() is None
