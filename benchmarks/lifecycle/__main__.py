"""Run the lifecycle demo: `python -m benchmarks.lifecycle`.

Exit code 1 where a claim does not hold.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import uuid
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console

from benchmarks.lifecycle import acts, servers, workspace
from benchmarks.lifecycle.prefect_api import PrefectApi
from benchmarks.lifecycle.traffic import Service
from benchmarks.lifecycle.transcript import ClaimError, Transcript
from fer_pipeline.errors import FerError
from fer_pipeline.workspace.server_process import free_ports

SHADOW_SHARE = "0.5"


def main() -> int:
    """Run all steps in a scratch workspace; return the exit code.

    Ends every process that it has started.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lifecycle", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("data/reports/lifecycle.txt"), help="file for the transcript")
    parser.add_argument("--keep", action="store_true", help="keep the scratch workspace with the servers' logs")
    arguments = parser.parse_args()
    script = Transcript(Console())
    home = Path(tempfile.mkdtemp(prefix="fer-lifecycle-"))
    mark = uuid.uuid4().hex
    code = 1
    try:
        _play(script, home, mark)
        code = 0
        script.say(f"all {script.claims} claims hold")
    except (ClaimError, FerError, KeyboardInterrupt, SystemExit) as error:
        script.say(f"ended by {type(error).__name__}: {error}")
    finally:
        left = servers.end_all(mark)
        if left:
            script.say("processes that were left had to be killed: " + "; ".join(left))
            code = 1
        if arguments.keep:
            script.say(f"the workspace and the servers' logs are in {home}")
        else:
            shutil.rmtree(home, ignore_errors=True)
        script.write(arguments.out)
    return code


def _end(number: int, _frame: object) -> None:
    sys.exit(128 + number)


def _play(script: Transcript, home: Path, mark: str) -> None:
    ports = dict(zip(("mlflow", "prefect", "service"), free_ports(3), strict=True))
    address = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
    place = workspace.make(home, mark, ports["mlflow"], ports["prefect"])
    script.act("Servers on loopback: MLflow on SQLite, Prefect with a worker")
    with ExitStack() as stack:
        store = [f"sqlite:///{home}/mlflow.db", "--artifacts-destination", str(home / "artifacts")]
        command = ["mlflow", "server", "--host", "127.0.0.1", "--port", str(ports["mlflow"]), "--workers", "1"]
        mlflow = stack.enter_context(servers.server(place, "mlflow", [*command, "--backend-store-uri", *store]))
        command = ["prefect", "server", "start", "--host", "127.0.0.1", "--port", str(ports["prefect"])]
        stack.enter_context(servers.server(place, "prefect", command)).wait_until_ready(f"{address['prefect']}/api/health")
        place.run("prefect", "work-pool", "create", "local", "--type", "process")
        place.run("prefect", "--no-prompt", "deploy", "--all")
        place.run("python", "-m", "flows.automations")
        stack.enter_context(servers.server(place, "worker", ["prefect", "worker", "start", "--pool", "local"]))
        mlflow.wait_until_ready(f"{address['mlflow']}/health")
        script.say(f"MLflow at {address['mlflow']}, Prefect at {address['prefect']}, a worker for its pool `local`")
        stage = acts.Stage(place, PrefectApi(f"{address['prefect']}/api"), Service(address["service"]), script)
        acts.schedules(stage)
        weak = acts.first_champion(stage)
        data = place.root / "data"
        variables = {"FER_PREDICTION_LOG": str(data / "predictions"), "FER_FEEDBACK": str(data / "feedback-inbox")}
        command = [
            "fer",
            "serve",
            "--port",
            str(ports["service"]),
            "--follow",
            str(acts.FOLLOW_SECONDS),
            "--shadow",
            SHADOW_SHARE,
        ]
        stack.enter_context(servers.server(place, "service", command, variables)).wait_until_ready(f"{address['service']}/readyz")
        acts.serving(stage, weak)
        good = acts.better_challenger(stage, weak)
        worse = acts.worse_challenger(stage, good)
        acts.shadow(stage, worse)
        acts.feedback(stage)
        acts.drift(stage)
        acts.rollback(stage)
        script.act("The end: all servers are stopped")
    left = servers.wait_for_ends(mark)
    script.claim("no process is left", not left, f"{len(left)} left")


if __name__ == "__main__":
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)  # so that they end as Ctrl-C does, with all processes
    sys.exit(main())
