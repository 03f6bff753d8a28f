"""`fer ui`: start the user interface of MLflow or Prefect on loopback."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from sqlite3 import DatabaseError
from typing import Annotated, NoReturn
from urllib.parse import urlsplit

import typer

from fer_pipeline.cli.options import check_port, results
from fer_pipeline.workspace.homes import check_homes
from fer_pipeline.workspace.layout import MLFLOW_DATABASE

app = typer.Typer(help="Open the MLflow or the Prefect user interface.", no_args_is_help=True)

Port = Annotated[int, typer.Option(help="Port to listen on, on loopback.", min=1, max=65535)]


@app.command()
def mlflow(port: Port = 5000) -> None:
    """Compare runs and models in the MLflow UI.

    Where MLFLOW_TRACKING_URI names a server, that server has the UI: its address is printed.

    Example: `fer ui mlflow --port 5000`
    """
    from fer_pipeline.experiments.artifact_locations import follow_workspace

    server = urlsplit(os.environ.get("MLFLOW_TRACKING_URI", ""))
    if server.scheme in ("http", "https"):
        host = server.netloc.rpartition("@")[2]  # without a password
        results.print(
            f"runs and models are on the MLflow server of MLFLOW_TRACKING_URI: open {server.scheme}://{host}{server.path}"
        )
        return
    program = _program("mlflow")
    os.environ.setdefault(
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false"
    )  # four processes of 260 MB, for judges of language models
    own = f"sqlite:///{MLFLOW_DATABASE}"
    store = os.environ.get("MLFLOW_TRACKING_URI", own)
    if store == own:
        with suppress(DatabaseError):  # the server says what is wrong with the file
            follow_workspace(Path.cwd() / MLFLOW_DATABASE)
    check_port("127.0.0.1", port, "fer ui mlflow")
    results.print(f"MLflow on {store}: open http://127.0.0.1:{port} (it takes about half a minute to start; Ctrl-C ends it)")
    _become(program, "server", "--backend-store-uri", store, "--host", "127.0.0.1", "--port", str(port), "--workers", "1")


@app.command()
def prefect(port: Port = 4200) -> None:
    """Watch flow runs in the Prefect UI.

    Example: `fer ui prefect --port 4200`
    """
    program = _program("prefect")
    check_homes("Prefect")
    check_port("127.0.0.1", port, "fer ui prefect")
    results.print(f"Prefect: open http://127.0.0.1:{port} (Ctrl-C ends it)")
    _become(program, "server", "start", "--host", "127.0.0.1", "--port", str(port))


def _program(tool: str) -> str:
    program = Path(sys.executable).with_name(tool)
    if not program.exists():
        raise ModuleNotFoundError(name=tool)
    return str(program)


def _become(program: str, *arguments: str) -> NoReturn:
    os.execv(program, [program, *arguments])
