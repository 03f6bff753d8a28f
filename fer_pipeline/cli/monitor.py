"""`fer monitor`: compare what the service answered with the data of its model."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from fer_pipeline.cli.options import labelled, results
from fer_pipeline.config.params import load_params
from fer_pipeline.environment import LOG_VARIABLE
from fer_pipeline.errors import MonitoringError
from fer_pipeline.workspace.layout import BUNDLE, PARAMS, PREDICTION_LOG, PROCESSED, REPORTS
from fer_pipeline.workspace.locks import exclusive

app = typer.Typer(help="What the deployed model sees and answers.", no_args_is_help=True)

DRIFT_EXIT_CODE = 3


@app.command()
def drift(
    log: Annotated[Path, typer.Option(envvar=LOG_VARIABLE, help="Folder that the service logs to.")] = PREDICTION_LOG,
    window: Annotated[float, typer.Option(help="Hours before now to look at; too few predictions widen it.", min=0.01)] = 24.0,
    since: Annotated[datetime | None, typer.Option(help="Look at all since then (UTC) instead, and no further back.")] = None,
    model: Annotated[Path, typer.Option(help="Folder of the served model.")] = BUNDLE,
    processed: Annotated[Path, typer.Option(help="Folder written by `fer preprocess`, with the data of the model.")] = PROCESSED,
    out: Annotated[Path, typer.Option(help="Folder to write: drift.json, report.html.")] = REPORTS / "drift",
) -> None:
    """Compare the log of predictions with the validation split of the model.

    Exit code 3 means drift.

    A window with fewer predictions than drift.min_rows of params.yaml is widened, up to drift.max_window_hours.

    Example: `fer monitor drift --window 24`
    """
    from fer_pipeline.monitoring.drift_check import check

    until = datetime.now(UTC)
    start = since.replace(tzinfo=UTC) if since is not None else until - timedelta(hours=window)
    if start >= until:
        raise MonitoringError(f"--since is {start:%Y-%m-%d %H:%M} UTC, expected a time before now, {until:%Y-%m-%d %H:%M} UTC")
    with exclusive(out, "fer monitor drift"):
        bounds = load_params(PARAMS).drift
        found = check(log, model, processed, out, bounds, start, until, widen=since is None)
    for one in found.result.comparisons:
        results.print(labelled(*(("drift", "red") if one.drifted else ("ok   ", "green")), f"{one.name}: {one.reason}"))
    if not found.result.judged:
        raise MonitoringError(f"{found.message}; page: {found.page}")
    results.print(f"{found.message}; page: {found.page}")
    if found.result.drifted:
        raise typer.Exit(DRIFT_EXIT_CODE)
