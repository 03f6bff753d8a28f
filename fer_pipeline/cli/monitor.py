"""`fer shadow` and `fer drift`: what the service gets, against the challenger and the validation split."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from fer_pipeline.cli.options import results
from fer_pipeline.config import params as params_file
from fer_pipeline.errors import MonitoringError
from fer_pipeline.monitoring.observations import LOG_VARIABLE
from fer_pipeline.workspace.layout import BUNDLE, PARAMS, PREDICTION_LOG, REPORTS, SHADOW_LOG
from fer_pipeline.workspace.locks import exclusive

app = typer.Typer(help="A challenger that judges what the service gets, without answering.", no_args_is_help=True)

DISAGREEMENT_EXIT_CODE = 3


@app.command()
def place(
    version: Annotated[str, typer.Argument(help="Number, alias, or run id as `fer status` prints it.")] = "challenger",
) -> None:
    """Make a registered version the model that services in shadow mode run beside the champion.

    `fer run` does it with each new challenger.

    Example: `fer shadow place 3`
    """
    from fer_pipeline.promotion import champion

    found = champion.shadow(Path.cwd(), version)
    results.print(f"{found} lies in data/challenger; a running `fer serve --shadow SHARE` takes it up within seconds")


@app.command()
def remove() -> None:
    """Take the challenger away: services in shadow mode go on without one.

    Example: `fer shadow remove`
    """
    from fer_pipeline.promotion import packaging

    packaging.remove_challenger(Path.cwd())
    results.print("there is no challenger in data/challenger any more")


@app.command()
def report(
    log: Annotated[Path, typer.Option(help="Folder that the service logs to: its FER_SHADOW_LOG.")] = SHADOW_LOG,
    window: Annotated[float, typer.Option(help="Hours before now to look at.", min=0.01)] = 24.0,
    at_least: Annotated[
        float, typer.Option(help="Exit code 3 where the lower bound of the agreement is below it.", min=0, max=1)
    ] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say how far champion and challenger agree on the faces that the service got, where not, and which is faster.

    Nobody has labelled these faces: it tells what would change for users, not which model is right (`fer compare` does).

    Example: `fer shadow report --window 24 --at-least 0.8`
    """
    from fer_pipeline.monitoring import shadow_log
    from fer_pipeline.monitoring.agreement import agreement

    until = datetime.now(UTC)
    found = shadow_log.read(log, until - timedelta(hours=window), until)
    result = agreement(found.pairs)
    if as_json:
        facts = {"champion": found.champion, "challenger": found.challenger, **asdict(result)}
        typer.echo(json.dumps({**facts, "others": found.others, "unreadable": found.unreadable}, indent=2))
    else:
        table = Table("champion says", "faces", "challenger agrees", "challenger says instead", title="where they differ")
        for one in result.classes:
            share = f"{one.agreed:,} ({100 * one.agreed / one.faces:.0f} %)" if one.faces else ""
            words = ", ".join(f"{emotion} {count:,}" for emotion, count in one.instead.items())
            table.add_row(one.emotion, f"{one.faces:,}", share, words)
        results.print(table, soft_wrap=False)
        results.print(f"champion {found.champion}, challenger {found.challenger}, last {window:g} hours")
        results.print(result.verdict)
        confident = " and ".join(f"{100 * value:.1f} %" for value in result.confidence)
        results.print(f"probabilities differ by {result.mean_difference:.4f} in the mean; mean confidence {confident}")
        times = " and ".join(f"{value:.2f}" for value in result.milliseconds)
        results.print(f"time of a face in the network: {times} ms (medians), ratio {result.latency_ratio:.2f}")
        for models, faces in found.others.items():
            results.print(f"left out: {faces:,} faces of {models}")
        for file in found.unreadable:
            results.print(f"[yellow]cannot be read:[/] {file}")
    if result.low < at_least:
        raise typer.Exit(DISAGREEMENT_EXIT_CODE)


DRIFT_EXIT_CODE = 3


def drift(
    log: Annotated[Path, typer.Option(envvar=LOG_VARIABLE, help="Folder that the service logs to.")] = PREDICTION_LOG,
    window: Annotated[float, typer.Option(help="Hours before now to look at; too few predictions widen it.", min=0.01)] = 24.0,
    since: Annotated[datetime | None, typer.Option(help="Look at all since then (UTC) instead, and no further back.")] = None,
    model: Annotated[Path, typer.Option(help="Folder of the served model.")] = BUNDLE,
    processed: Annotated[Path, typer.Option(help="Folder written by `fer preprocess`, with the data of the model.")] = Path(
        "data/processed"
    ),
    out: Annotated[Path, typer.Option(help="Folder to write: drift.json, report.html.")] = REPORTS / "drift",
) -> None:
    """Compare what the service answered with the validation split of the training; exit code 3 means drift.

    A window with fewer predictions than drift.min_rows of params.yaml is widened, up to drift.max_window_hours.

    Example: `fer drift --window 24`
    """
    from fer_pipeline.monitoring.drift_check import check

    until = datetime.now(UTC)
    start = since.replace(tzinfo=UTC) if since is not None else until - timedelta(hours=window)
    if start >= until:
        raise MonitoringError(f"--since is {start:%Y-%m-%d %H:%M} UTC, expected a time before now, {until:%Y-%m-%d %H:%M} UTC")
    with exclusive(out, "fer drift"):
        bounds = params_file.load(PARAMS).drift
        found = check(log, model, processed, out, bounds, start, until, widen=since is None)
    for one in found.result.comparisons:
        results.print(f"{'[red]drift[/]' if one.drifted else '[green]ok[/]   '} {one.name}: {one.reason}")
    if not found.result.judged:
        raise MonitoringError(f"{found.message}; page: {found.page}")
    results.print(f"{found.message}; page: {found.page}")
    if found.result.drifted:
        raise typer.Exit(DRIFT_EXIT_CODE)
