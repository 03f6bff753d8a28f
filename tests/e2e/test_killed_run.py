"""A worker and its run are killed, on a real Prefect server: flows/automations.yaml gives the slot to the next run."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import yaml
from prefect.deployments import run_deployment
from prefect.settings import PREFECT_API_URL, temporary_settings

from benchmarks.lifecycle.prefect_api import PrefectApi
from fer_pipeline import environment
from fer_pipeline.workspace.server_process import free_port, running_server

PREFECT = [sys.executable, "-m", "prefect", "--no-prompt"]
AUTOMATIONS = yaml.safe_load((Path(__file__).parents[2] / "flows" / "automations.yaml").read_text())
(KILLED,) = AUTOMATIONS["automations"]
WITHIN = int(environment.DEFAULTS["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"]) + 10
"""Seconds without a heartbeat, fewer than in the file; Prefect allows no heartbeats that come faster."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PrefectApi]:
    """A running server with a work pool, a deployment sleeper/sleeper of one slot, and the automation."""
    port = free_port()
    address = f"http://127.0.0.1:{port}/api"
    quicker = {"PREFECT_SERVER_DEPLOYMENTS_CONCURRENCY_SLOT_WAIT_SECONDS": "5", "PREFECT_WORKER_QUERY_SECONDS": "2"}
    for name, value in {**environment.DEFAULTS, **quicker, "PREFECT_API_URL": address}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    Path("sleeper.py").write_text("import time, prefect\n@prefect.flow\ndef sleeper(seconds: int):\n    time.sleep(seconds)\n")
    quick = {**KILLED, "trigger": {**KILLED["trigger"], "within": WITHIN}}
    Path("automations.yaml").write_text(yaml.safe_dump({"automations": [quick]}))
    command = [*PREFECT, "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with running_server(command, tmp_path / "server.log") as server, temporary_settings({PREFECT_API_URL: address}):
        server.wait_until_ready(f"{address}/health")
        for words in (
            "work-pool create local --type process",
            "deploy sleeper.py:sleeper --name sleeper --pool local --concurrency-limit 1 --tag fer",
            "automation create --from-file automations.yaml",
        ):
            subprocess.run([*PREFECT, *words.split()], check=True, timeout=120)
        yield PrefectApi(address)


@contextmanager
def worker() -> Iterator[psutil.Popen]:
    """A worker of the pool, killed with its runs in the end."""
    process = psutil.Popen([*PREFECT, "worker", "start", "--pool", "local"])
    try:
        yield process
    finally:
        kill(process)


def kill(process: psutil.Popen) -> None:
    for one in [process, *process.children(recursive=True)] if process.is_running() else []:
        one.kill()
    process.wait(timeout=30)


def start(seconds: int) -> str:
    return str(run_deployment("sleeper/sleeper", parameters={"seconds": seconds}, timeout=0).id)


def test_a_run_killed_with_its_worker_ends_as_crashed(api: PrefectApi) -> None:
    """A run that was killed with its worker ends as crashed and the next one starts."""
    with worker() as first_worker:
        killed = start(600)
        assert api.wait_for_events("prefect.flow-run.heartbeat", 120)
        waiting = start(0)
        kill(first_worker)
    states = {run.id: run.kind for run in api.runs("sleeper/sleeper")}
    assert states == {killed: "RUNNING", waiting: "SCHEDULED"}
    with worker():
        crashed = api.wait_for_end("sleeper/sleeper", killed, WITHIN + 60)
        assert (crashed.kind, crashed.message) == ("CRASHED", KILLED["actions"][0]["message"])
        assert api.wait_for_end("sleeper/sleeper", waiting, 120).kind == "COMPLETED"
