"""`fer profile`: recipes of training by name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fer_pipeline import params as params_file
from fer_pipeline import params_editing
from fer_pipeline.cli.console import results
from fer_pipeline.cli.stages import PARAMS
from fer_pipeline.workspace import RUN_LOCK, exclusive

app = typer.Typer(help="Recipes of training by name.", no_args_is_help=True)


@app.command("list")
def list_profiles() -> None:
    """List the profiles of params.yaml.

    Example: `fer profile list`
    """
    everything = params_file.load(PARAMS)
    for name in everything.profiles:
        recipe = everything.recipe(name)
        mark = "*" if name == everything.train.profile else " "
        results.print(f"{mark} {name}: {recipe.network}, {recipe.epochs} epochs of batches of {recipe.batch_size}")


@app.command()
def use(name: str) -> None:
    """Write a profile into the section `train` of params.yaml.

    Example: `fer profile use cpu`, then `dvc repro`
    """
    with exclusive(RUN_LOCK, "fer profile use"):
        recipe = params_editing.use_profile(PARAMS, name)
    results.print(f"params.yaml now trains {recipe.network} for {recipe.epochs} epochs (profile {name})")


@app.command()
def save(
    name: Annotated[str, typer.Argument(help="Name of the new profile: a-z, 0-9 and -.")],
    from_tuning: Annotated[bool, typer.Option("--from-tuning", help="Save the best trial of `fer tune`.")] = False,
    folder: Annotated[Path, typer.Option(help="Folder of the search.")] = Path("data/tuning"),
) -> None:
    """Save the recipe in use, or the best one that `fer tune` found, as a profile of params.yaml.

    Example: `fer profile save tuned --from-tuning`, then `fer profile use tuned`
    """
    from fer_pipeline.search_result import SearchResult

    with exclusive(RUN_LOCK, "fer profile save"):
        if from_tuning:
            found = SearchResult.read(folder)
            recipe, comment = found.recipe, found.comment
        else:
            recipe = params_file.load(PARAMS).train
            comment = f"Saved from the recipe in use, which began as profile {recipe.profile}. Not measured."
        params_editing.save_profile(PARAMS, name, recipe, comment)
    results.print(f"params.yaml has a profile {name} now: train with it by `fer run --profile {name}`")
