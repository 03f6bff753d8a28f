"""`fer run` and `fer report`: the whole pipeline and its pages."""

from __future__ import annotations

import os
import webbrowser
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from fer_pipeline.cli.doctor import check_run
from fer_pipeline.cli.options import AsJson, print_json, results
from fer_pipeline.errors import FerError


def run(
    data: Annotated[
        str | None, typer.Option(help="Path of the data, or `synthetic`; left out: the source in params.yaml.")
    ] = None,
    votes: Annotated[Path | None, typer.Option(help="FER+ votes, fer2013new.csv, joined row by row.")] = None,
    profile: Annotated[str | None, typer.Option(help="Recipe of profiles.yaml; left out: the section train as it is.")] = None,
    wait: Annotated[float, typer.Option(help="Seconds to wait for another run of this workspace; -1: for ever.")] = 0,
    require_promotion: Annotated[
        bool,
        typer.Option("--require-promotion", help="End with exit code 1 where the gate refuses the model, for scripts."),
    ] = False,
) -> None:
    """Run the pipeline: raw faces to a packaged champion.

    It runs each stage, registers the model, asks the gate and builds the bundle. Unchanged stages are skipped. What git lacks to
    make the run reproducible is named in the end, as the line that commits it.

    Example: `fer run --data fer2013.csv.gz --votes fer2013new.csv --profile cpu-quick`
    """
    if find_spec("prefect") is None:  # recognition alone is installed: no file of a workspace is what is missing
        raise ModuleNotFoundError("prefect is not installed", name="prefect")
    check_run(Path.cwd(), profile)  # before MLflow and Prefect are loaded, which takes seconds
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")  # its server keeps all lines
    from rich.markdown import Markdown

    from fer_pipeline.promotion.summary import Summary
    from fer_pipeline.workspace import git
    from flows import progress
    from flows.training import train_champion

    progress.show(results)
    summary = train_champion(data, str(votes) if votes else None, profile, wait)
    assert isinstance(summary, Summary)  # a failed state raises its error here
    results.print(Markdown(summary.markdown()), soft_wrap=False)
    if line := git.commit_advice(Path.cwd()):
        results.print(f"Commit what makes this run reproducible:\n  {line}")
    if require_promotion and not summary.decision.promoted:
        raise typer.Exit(1)


def report(
    show: Annotated[bool, typer.Option("--open/--no-open", help="Open the pages in the browser.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print the paths of the report pages.

    Example: `fer report --open`
    """
    from fer_pipeline.workspace import dvc

    root = Path.cwd()
    found = sorted(dvc.output(root, "evaluate").parent.rglob("*.html"))
    if not found:
        raise FerError("there is no report yet: run `fer run` first")
    if as_json:
        print_json([str(page) for page in found])
    for page in found:
        if not as_json:
            results.print(str(page))
        if show:
            webbrowser.open(page.as_uri())
