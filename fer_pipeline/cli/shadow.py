"""`fer shadow`: run the challenger beside the champion, compare their answers."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from fer_pipeline.cli.options import VERSION_WORDS, AsJson, labelled, print_json, print_table, results
from fer_pipeline.workspace.layout import CHALLENGER, SHADOW_LOG

app = typer.Typer(help="A challenger that judges what the service gets, without answering.", no_args_is_help=True)

DISAGREEMENT_EXIT_CODE = 3


@app.command()
def start(
    version: Annotated[str, typer.Argument(help=VERSION_WORDS.capitalize())] = "challenger",
) -> None:
    """Place a registered version for services in shadow mode.

    They run it beside the champion. `fer run` does it with each new challenger.

    Example: `fer shadow start 3`
    """
    from fer_pipeline.promotion import champion

    found = champion.shadow(Path.cwd(), version)
    results.print(f"{found} lies in {CHALLENGER}; a running `fer serve --shadow SHARE` takes it up within seconds")


@app.command()
def stop() -> None:
    """Remove the challenger: services in shadow mode go on without one.

    Example: `fer shadow stop`
    """
    from fer_pipeline.promotion.bundle.folder import remove_challenger

    remove_challenger(Path.cwd())
    results.print(f"there is no challenger in {CHALLENGER} any more")


@app.command()
def report(
    log: Annotated[Path, typer.Option(help="Folder that the service logs to: its FER_SHADOW_LOG.")] = SHADOW_LOG,
    window: Annotated[float, typer.Option(help="Hours before now to look at.", min=0.01)] = 24.0,
    at_least: Annotated[
        float, typer.Option(help="Exit code 3 where the lower bound of the agreement is below it.", min=0, max=1)
    ] = 0,
    as_json: AsJson = False,
) -> None:
    """Report how far champion and challenger agree, and which is faster.

    Nobody has labelled these faces: it tells what would change for users, not which model is right (`fer models compare` does).

    Example: `fer shadow report --window 24 --at-least 0.8`
    """
    from fer_pipeline.monitoring import shadow_log
    from fer_pipeline.monitoring.agreement import agreement

    until = datetime.now(UTC)
    found = shadow_log.read(log, until - timedelta(hours=window), until)
    result = agreement(found.pairs)
    if as_json:
        metadata = {"champion": found.champion, "challenger": found.challenger, **asdict(result)}
        print_json({**metadata, "others": found.others, "unreadable": found.unreadable})
    else:
        table = Table("champion says", "faces", "challenger agrees", "challenger says instead", title="where they differ")
        for one in result.classes:
            share = f"{one.agreed:,} ({100 * one.agreed / one.faces:.0f} %)" if one.faces else ""
            words = ", ".join(f"{emotion} {count:,}" for emotion, count in one.instead.items())
            table.add_row(one.emotion, f"{one.faces:,}", share, words)
        print_table(table)
        results.print(f"champion {found.champion}, challenger {found.challenger}, last {window:g} hours")
        results.print(result.verdict)
        confident = " and ".join(f"{100 * value:.1f} %" for value in result.confidence)
        results.print(f"probabilities differ by {result.mean_difference:.4f} in the mean; mean confidence {confident}")
        times = " and ".join(f"{value:.2f}" for value in result.milliseconds)
        results.print(f"time of a face in the network: {times} ms (medians), ratio {result.latency_ratio:.2f}")
        for models, faces in found.others.items():
            results.print(f"left out: {faces:,} faces of {models}")
        for file in found.unreadable:
            results.print(labelled("cannot be read:", "yellow", str(file)))
    if result.low < at_least:
        raise typer.Exit(DISAGREEMENT_EXIT_CODE)
