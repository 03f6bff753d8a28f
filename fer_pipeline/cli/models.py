"""Commands on recipes and registered models."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from fer_pipeline import params as params_file
from fer_pipeline.cli.console import results
from fer_pipeline.cli.stages import PARAMS
from fer_pipeline.errors import ModelError

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
    recipe = params_file.use_profile(PARAMS, name)
    results.print(f"params.yaml now trains {recipe.network} for {recipe.epochs} epochs (profile {name})")


def promote(version: Annotated[int | None, typer.Option(help="Version to judge; the challenger by default.")] = None) -> None:
    """Judge a registered version against the champion; when it wins, package it and move the alias.

    Example: `fer promote`
    """
    from fer_pipeline.modeling.promotion import Decision
    from flows.promotion import promote_challenger

    decision = promote_challenger(version)
    assert isinstance(decision, Decision)  # a failed state raises its error here
    results.print(decision.markdown())
    if not decision.promoted:
        raise typer.Exit(1)


def package() -> None:
    """Build and try the BentoML bundle of the champion.

    Example: `fer package`, then `fer serve`
    """
    from fer_pipeline import lifecycle

    results.print(f"packaged as {lifecycle.package_version(Path.cwd(), lifecycle.champion(Path.cwd()))}")


def serve(
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 3000,
    host: Annotated[str, typer.Option(help="Address to listen on; loopback by default.")] = "127.0.0.1",
) -> None:
    """Serve the champion's bundle with BentoML.

    Example: `fer serve --port 3000`
    """
    from fer_pipeline import lifecycle

    tag = lifecycle.champion_tag(Path.cwd())
    if tag is None:
        raise ModelError("there is no packaged champion yet: run `fer run` first")
    results.print(f"serving {tag} on http://{host}:{port}")
    bentoml = str(Path(sys.executable).with_name("bentoml"))
    os.execv(bentoml, [bentoml, "serve", tag, "--host", host, "--port", str(port)])
