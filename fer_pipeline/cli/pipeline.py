"""`fer run`, `report`, `doctor`, `data` and `profile`."""

from __future__ import annotations

import tempfile
import webbrowser
from pathlib import Path
from typing import Annotated

import typer
from rich.markdown import Markdown

from fer_pipeline.cli.options import results
from fer_pipeline.config import editing
from fer_pipeline.config import params as params_file
from fer_pipeline.config.training import TrainParams
from fer_pipeline.errors import FerError, ParamsError
from fer_pipeline.workspace.layout import PARAMS, RUN_LOCK, TUNING
from fer_pipeline.workspace.locks import exclusive


def run(
    data: Annotated[
        str | None, typer.Option(help="Path of the data, or `synthetic`; left out: the source in params.yaml.")
    ] = None,
    votes: Annotated[Path | None, typer.Option(help="FER+ votes, fer2013new.csv, joined row by row.")] = None,
    profile: Annotated[str | None, typer.Option(help="Recipe of params.yaml; left out: the section train as it is.")] = None,
    wait: Annotated[float, typer.Option(help="Seconds to wait for another run of this workspace; -1: for ever.")] = 0,
) -> None:
    """Raw faces to a packaged champion: every stage, registry, gate, bundle. Unchanged stages are skipped.

    Example: `fer run --data fer2013.csv.gz --votes fer2013new.csv --profile cpu-quick`
    """
    from fer_pipeline.promotion.champion import Summary
    from flows.training import train_champion

    summary = train_champion(data, str(votes) if votes else None, profile, wait)
    assert isinstance(summary, Summary)  # a failed state raises its error here
    results.print(Markdown(summary.markdown()), soft_wrap=False)


def report(
    show: Annotated[bool, typer.Option("--open/--no-open", help="Open the pages in the browser.")] = False,
) -> None:
    """Say where the report pages are.

    Example: `fer report --open`
    """
    from fer_pipeline.workspace import dvc

    root = Path.cwd()
    found = sorted(dvc.output(root, "evaluate").parent.rglob("*.html"))
    if not found:
        raise FerError("there is no report yet: run `fer run` first")
    for page in found:
        results.print(str(page))
        if show:
            webbrowser.open(page.as_uri())


def doctor() -> None:
    """Check Java, versions, ports, disk and data; say in one line each what is wrong and how to mend it.

    Example: `fer doctor`
    """
    from fer_pipeline.cli.doctor import examine

    findings = examine(Path.cwd())
    for finding in findings:
        mark = "[green]ok[/]  " if finding.ok else "[red]fix[/] "
        results.print(f"{mark} {finding.subject}: {finding.message}")
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


data_app = typer.Typer(help="Bring raw data in, under DVC.", no_args_is_help=True)

Votes = Annotated[Path | None, typer.Option(help="FER+ votes, fer2013new.csv, joined row by row.")]


@data_app.command()
def add(
    path: Annotated[Path, typer.Argument(help="CSV (plain, .gz, .zip, .tar.gz), image folder, or `synthetic`.")],
    votes: Votes = None,
) -> None:
    """Copy data into data/source, put that under DVC, and make it the source in params.yaml.

    Example: `fer data add ~/fer2013.csv.gz --votes ~/fer2013new.csv`, then `fer run`
    """
    from fer_pipeline.experiments.tracked_stages import use_data

    with exclusive(RUN_LOCK, "fer data add"):
        results.print(use_data(Path.cwd(), path, votes))


@data_app.command()
def download(name: Annotated[str, typer.Argument(help="kaggle:OWNER/SET")]) -> None:
    """Download a data set from Kaggle (extra `kaggle`, needs a token) and add it.

    Example: `fer data download kaggle:msambare/fer2013`
    """
    from fer_pipeline.data.fetch import kaggle
    from fer_pipeline.experiments.tracked_stages import use_data

    with exclusive(RUN_LOCK, "fer data download"), tempfile.TemporaryDirectory() as scratch:
        results.print(use_data(Path.cwd(), kaggle.download(name, Path(scratch)), None))


@data_app.command()
def status() -> None:
    """Say which data is in use, and its version.

    Example: `fer data status`
    """
    from fer_pipeline.workspace import dvc

    source = params_file.load(PARAMS).fetch.source
    results.print(f"source {source}, version of the fetched table {dvc.data_version(Path.cwd())}")


profile_app = typer.Typer(help="Recipes of training by name.", no_args_is_help=True)


@profile_app.command("list")
def list_profiles() -> None:
    """List the profiles of params.yaml.

    Example: `fer profile list`
    """
    everything = params_file.load(PARAMS)
    for name in everything.profiles:
        recipe = everything.recipe(name)
        mark = "*" if name == everything.train.profile else " "
        results.print(f"{mark} {name}: {recipe.network}, {recipe.epochs} epochs of batches of {recipe.batch_size}")


@profile_app.command()
def use(name: str) -> None:
    """Write a profile into the section `train` of params.yaml.

    Example: `fer profile use cpu`, then `dvc repro`
    """
    with exclusive(RUN_LOCK, "fer profile use"):
        recipe = editing.use_profile(PARAMS, name)
    results.print(f"params.yaml now trains {recipe.network} for {recipe.epochs} epochs (profile {name})")


@profile_app.command()
def save(
    name: Annotated[str, typer.Argument(help="Name of the new profile: a-z, 0-9 and -.")],
    from_tuning: Annotated[bool, typer.Option("--from-tuning", help="Save the best trial of `fer tune`.")] = False,
    from_training: Annotated[
        Path | None, typer.Option(help="Save the recipe of the training whose training.json lies in this folder.")
    ] = None,
    folder: Annotated[Path, typer.Option(help="Folder of the search.")] = TUNING,
) -> None:
    """Save the recipe in use, of an earlier training, or the best one that `fer tune` found, as a profile of params.yaml.

    Example: `fer profile save tuned --from-tuning`, then `fer profile use tuned`

    Example: `fer profile save before --from-training benchmarks/attempts/resnet-live-185`, then `fer run --profile before`
    """
    from fer_pipeline.experiments.search.result import SearchResult

    if from_tuning and from_training:
        raise ParamsError(f"--from-tuning and --from-training {from_training} name two recipes: give one of them")
    with exclusive(RUN_LOCK, "fer profile save"):
        if from_training:
            from fer_pipeline.training.artifacts import read_training

            training = read_training(from_training)
            learned_from = {"soften_with": "none", "teachers_with": "none"}  # by fingerprint: they belong to a workspace
            recipe = TrainParams.model_validate(training["params"]).with_values(learned_from)
            comment = f"Saved from the training in {from_training.name}, of profile {training['profile']}."
        elif from_tuning:
            found = SearchResult.read(folder)
            recipe, comment = found.recipe, found.comment
        else:
            recipe = params_file.load(PARAMS).train
            comment = f"Saved from the recipe in use, which began as profile {recipe.profile}. Not measured."
        editing.save_profile(PARAMS, name, recipe, comment)
    results.print(f"params.yaml has a profile {name} now: train with it by `fer run --profile {name}`")
