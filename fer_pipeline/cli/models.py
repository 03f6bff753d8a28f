"""Commands on recipes and registered models."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from fer_pipeline import params as params_file
from fer_pipeline.cli.console import results
from fer_pipeline.cli.stages import PARAMS
from fer_pipeline.errors import ModelError
from fer_pipeline.workspace import RUN_LOCK, exclusive

models_app = typer.Typer(help="The registered models.", no_args_is_help=True)
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


def rollback(
    to: Annotated[int | None, typer.Option(help="Version to go back to; the champion before by default.")] = None,
) -> None:
    """Make an earlier champion champion again, with its bundle.

    Example: `fer rollback`
    """
    from fer_pipeline import lifecycle

    with exclusive(RUN_LOCK, "fer rollback"):
        version, bundle = lifecycle.roll_back(Path.cwd(), to)
    results.print(f"{version} is champion again, bundle {bundle}; restart `fer serve` to serve it")


@models_app.command("list")
def list_models() -> None:
    """List the registered versions with their figures, newest first; aliases and roll-backs are marked.

    Example: `fer models list`
    """
    from fer_pipeline.modeling import registry

    name = params_file.load(PARAMS).promote.model_name
    holders = registry.aliases(name)
    table = Table("version", "alias", "network", "data", "accuracy", "macro-F1", "gate", "bundle", title=f"model {name}")
    for version in reversed(registry.versions(name)):
        held = [alias for alias, number in holders.items() if number == version.number]
        marks = ", ".join([*held, *(["rolled back"] if "rolled_back" in version.tags else [])])
        figures = [f"{float(version.tags[key]):.4f}" if key in version.tags else "" for key in ("accuracy", "macro_f1")]
        words = [version.tags.get(key, "") for key in ("network", "data")]
        table.add_row(str(version.number), marks, *words, *figures, version.tags.get("gate", ""), version.tags.get("bundle", ""))
    results.print(table, soft_wrap=False)


def package() -> None:
    """Build and try the BentoML bundle of the champion.

    Example: `fer package`, then `fer serve`
    """
    from fer_pipeline import lifecycle

    root = Path.cwd()
    with exclusive(RUN_LOCK, "fer package"):
        version = lifecycle.champion(root)
        tag = lifecycle.package_version(root, version)
        lifecycle.crown(root, version)
    results.print(f"packaged as {tag}; restart `fer serve` to serve it")


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
