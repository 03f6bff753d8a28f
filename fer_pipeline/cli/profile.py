"""`fer profile`: list, use and save the recipes of profiles.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fer_pipeline.cli.options import AsJson, print_json, results
from fer_pipeline.config import editing
from fer_pipeline.config.params import load_params
from fer_pipeline.config.training import TrainParams
from fer_pipeline.errors import ParamsError
from fer_pipeline.workspace.layout import PARAMS, PROFILES, RUN_LOCK, TUNING
from fer_pipeline.workspace.locks import exclusive

app = typer.Typer(help="Recipes of training by name.", no_args_is_help=True)


@app.command("list")
def list_profiles(as_json: AsJson = False) -> None:
    """List the profiles of profiles.yaml.

    Example: `fer profile list`
    """
    everything = load_params(PARAMS)
    if as_json:
        print_json({name: everything.recipe(name).model_dump(mode="json") for name in everything.profiles})
        return
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
        recipe = editing.use_profile(PARAMS, name)
    results.print(f"params.yaml now trains {recipe.network} for {recipe.epochs} epochs (profile {name})")


@app.command()
def save(
    name: Annotated[str, typer.Argument(help="Name of the new profile: a-z, 0-9 and -.")],
    from_tuning: Annotated[bool, typer.Option("--from-tuning", help="Save the best trial of `fer tune`.")] = False,
    from_training: Annotated[
        Path | None, typer.Option(help="Save the recipe of the training whose training.json lies in this folder.")
    ] = None,
    folder: Annotated[Path, typer.Option(help="Folder of the search.")] = TUNING,
) -> None:
    """Save a training recipe as a profile in profiles.yaml.

    The recipe is the one in use, that of an earlier training, or the best one that `fer tune` found.

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
            learned_from = {"soft_labels_hash": "none", "teachers_hash": "none"}  # by fingerprint: they belong to a workspace
            recipe = TrainParams.from_stored(training["params"]).with_values(learned_from)
            comment = f"Saved from the training in {from_training.name}, of profile {training['profile']}."
        elif from_tuning:
            found = SearchResult.read(folder)
            recipe, comment = found.recipe, found.comment
        else:
            recipe = load_params(PARAMS).train
            comment = f"Saved from the recipe in use, which began as profile {recipe.profile}. Not measured."
        editing.save_profile(PARAMS, name, recipe, comment)
    results.print(f"{PROFILES} has a profile {name} now: train with it by `fer run --profile {name}`")
