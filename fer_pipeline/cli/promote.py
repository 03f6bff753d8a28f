"""`fer promote`, `rollback` and `package`: change the champion and its bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fer_pipeline.cli.options import VERSION_WORDS, results
from fer_pipeline.workspace.layout import RUN_LOCK
from fer_pipeline.workspace.locks import exclusive


def promote(
    version: Annotated[str | None, typer.Option(help=f"Version to judge: {VERSION_WORDS} Left out: the challenger.")] = None,
) -> None:
    """Compare a version with the champion, and promote it if it wins.

    The alias moves once the version's bundle answers as it should. Exit code 1: the champion stays.

    Example: `fer promote`
    """
    from fer_pipeline.promotion import champion, gate

    champion.challenger(Path.cwd(), version)  # a wrong number is told at once, before Prefect is loaded and its server started
    from fer_pipeline.promotion.decision import Decision
    from fer_pipeline.workspace.homes import check_homes

    check_homes("Prefect", "BentoML")
    from flows.promotion import promote_challenger

    decision = promote_challenger(version)
    assert isinstance(decision, Decision)  # a failed state raises its error here
    results.print(decision.markdown())
    if decision.rows:
        results.print(f"page: {gate.page(Path.cwd())}")
    if not decision.promoted:
        raise typer.Exit(1)


def rollback(
    to: Annotated[str | None, typer.Option(help=f"Version to go back to: {VERSION_WORDS} Left out: the champion before.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Also to a version that the gate has refused.")] = False,
) -> None:
    """Make an earlier champion the champion again, with its bundle.

    It does not wait for a training that runs.

    That takes seconds where the version was packaged, as each champion of the gate was. One that never was, or whose bundle is
    gone, is packaged and tried first: up to minutes. Without --to, versions of synthetic faces never follow one of real pictures.

    Example: `fer rollback`
    """
    from fer_pipeline.promotion.rollback import roll_back

    # Without RUN_LOCK, which a training holds for hours: `set_champion` has its own lock and reads the champion inside it.
    done = roll_back(Path.cwd(), to, force=force)
    results.print(f"{done.version} is champion again, bundle {done.bundle}; a running `fer serve` goes over to it")
    for one in done.skipped:
        results.print(f"passed over: {one}, trained on synthetic faces; `fer rollback --to {one.number}` takes it")


def package() -> None:
    """Build and try the BentoML bundle of the champion.

    Example: `fer package`, then `fer serve`
    """
    from fer_pipeline.promotion import champion

    root = Path.cwd()
    with exclusive(RUN_LOCK, "fer package"):
        version = champion.champion(root)
        tag = champion.package_version(root, version)
        champion.set_champion(root, version, str(version))
    results.print(f"packaged as {tag}; a running `fer serve` goes over to its model")
