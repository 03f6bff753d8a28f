"""The servers on PostgreSQL, as a team would run them: Debian's own PostgreSQL, in a private folder, on loopback."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from fer_pipeline.experiments import registry, runs
from fer_pipeline.experiments.exports import local_export
from fer_pipeline.model_info import ModelInfo
from fer_pipeline.workspace.server_process import free_port, running_server

PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))
PASSWORD = "only-for-this-test"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not PROGRAMS, reason="PostgreSQL's server is not installed (apt-get install postgresql)"),
]


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """User, password and address of an empty server, such as "fer:secret@127.0.0.1:5432"."""
    folder = Path("/tmp") / f"fer-postgres-{os.getpid()}"  # PostgreSQL's own user must be able to reach it
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    (folder / "password").write_text(PASSWORD)
    (folder / "password").chmod(0o644)
    port, programs = free_port(), PROGRAMS[-1].parent
    other_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []  # it refuses to run as root

    def run(*command: str) -> None:
        subprocess.run([*other_user, *command], check=True, cwd=folder, stdout=subprocess.DEVNULL)

    options = f"-c listen_addresses=127.0.0.1 -p {port} -k {folder}"
    data = str(folder / "data")
    try:
        run(str(programs / "initdb"), "-D", data, "-U", "fer", "-A", "scram-sha-256", f"--pwfile={folder / 'password'}")
        run(str(programs / "pg_ctl"), "-D", data, "-o", options, "-l", str(folder / "log"), "-w", "start")
        for name in ("mlflow", "prefect"):
            address = f"postgresql://fer:{PASSWORD}@127.0.0.1:{port}/postgres"
            subprocess.run([str(programs / "psql"), address, "-qc", f"create database {name}"], check=True)
        yield f"fer:{PASSWORD}@127.0.0.1:{port}"
    finally:
        with suppress(subprocess.CalledProcessError):
            run(str(programs / "pg_ctl"), "-D", data, "-m", "immediate", "stop")
        shutil.rmtree(folder)


def test_models_live_in_an_mlflow_server_on_postgresql(
    database: str, brightness_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("psycopg", reason="needs the extra: make test-slow")
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--backend-store-uri", f"postgresql+psycopg://{database}/mlflow"]
    command += ["--artifacts-destination", str(tmp_path / "artifacts")]
    with running_server(command, tmp_path / "mlflow.log") as server:
        server.wait_until_ready(f"{address}/health")
        import mlflow

        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        monkeypatch.chdir(tmp_path)
        mlflow.set_tracking_uri(address)
        info = ModelInfo.read(brightness_model)
        run_id = runs.ensure_run(None, "brightness", {"data_version": "abc"})
        runs.log_metrics(run_id, {"test_accuracy": 0.5})
        version, new = registry.register(brightness_model, info, "fer", run_id, {"data_version": "abc"})
        assert new
        registry.set_alias(version, registry.CHAMPION)
        champion = registry.by_alias("fer", registry.CHAMPION)
        assert champion is not None
        assert champion.tags["data_version"] == "abc"
        assert ModelInfo.read(local_export(champion)) == info
        assert not (tmp_path / "mlruns").exists()  # all artifacts went to the server


def test_prefect_keeps_its_runs_in_postgresql(database: str, tmp_path: Path) -> None:
    port = free_port()
    address = f"http://127.0.0.1:{port}/api"
    environment = {
        "PREFECT_API_DATABASE_CONNECTION_URL": f"postgresql+asyncpg://{database}/prefect",
        "PREFECT_HOME": str(tmp_path / "prefect"),
    }
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    flow = "import prefect\n@prefect.flow(name='kept')\ndef kept():\n    return 1\nkept()\n"
    with running_server(command, tmp_path / "prefect.log", environment={**os.environ, **environment}) as server:
        server.wait_until_ready(f"{address}/health")
        subprocess.run([sys.executable, "-c", flow], check=True, env={**os.environ, "PREFECT_API_URL": address}, timeout=120)
    psql = [str(PROGRAMS[-1].parent / "psql"), f"postgresql://{database}/prefect", "-Atc"]
    query = "select flow.name, flow_run.state_type from flow_run join flow on flow.id = flow_run.flow_id"
    found = subprocess.run([*psql, query], check=True, capture_output=True, text=True).stdout
    assert found.strip() == "kept|COMPLETED"
