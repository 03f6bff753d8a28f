"""`fer data`: add raw data to the workspace, and name the data in use."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from fer_pipeline.cli.options import results
from fer_pipeline.config.params import load_params
from fer_pipeline.labels import NUMBERINGS
from fer_pipeline.workspace.layout import PARAMS, RUN_LOCK
from fer_pipeline.workspace.locks import exclusive

app = typer.Typer(help="Bring raw data in, under DVC.", no_args_is_help=True)

Votes = Annotated[Path | None, typer.Option(help="FER+ votes, fer2013new.csv, joined row by row.")]
Numbering = Annotated[
    str,
    typer.Option(
        help=f"What numbers mean as labels: {', '.join(NUMBERINGS)}, or the emotions in their order from 0 with commas between."
    ),
]
Contempt = Annotated[str, typer.Option(help="The eighth emotion: refuse, drop, or the emotion that it counts as.")]


@app.command()
def add(
    path: Annotated[Path, typer.Argument(help="CSV (plain, .gz, .zip, .tar.gz), image folder, or `synthetic`.")],
    votes: Votes = None,
    numbering: Numbering = "ask",
    contempt: Contempt = "refuse",
) -> None:
    """Copy data to data/source under DVC, and make it the source in params.yaml.

    Example: `fer data add ~/fer2013.csv.gz --votes ~/fer2013new.csv`, then `fer run`
    """
    from fer_pipeline.experiments.tracked_stages import use_data

    with exclusive(RUN_LOCK, "fer data add"):
        results.print(use_data(Path.cwd(), path, votes, numbering, contempt))


@app.command()
def download(
    name: Annotated[str, typer.Argument(help="kaggle:OWNER/SET")],
    numbering: Numbering = "ask",
    contempt: Contempt = "refuse",
) -> None:
    """Download a data set from Kaggle (extra `kaggle`, needs a token) and add it.

    Example: `fer data download kaggle:msambare/fer2013`
    """
    from fer_pipeline.data.fetch import kaggle
    from fer_pipeline.experiments.tracked_stages import use_data

    with exclusive(RUN_LOCK, "fer data download"), tempfile.TemporaryDirectory() as scratch:
        results.print(use_data(Path.cwd(), kaggle.download(name, Path(scratch)), None, numbering, contempt))


@app.command()
def status() -> None:
    """Print which data is in use, and its version.

    Example: `fer data status`
    """
    from fer_pipeline.workspace import dvc

    source = load_params(PARAMS).fetch.source
    results.print(f"source {source}, version of the fetched table {dvc.data_version(Path.cwd())}")
