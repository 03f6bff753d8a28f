"""Commands on recipes and registered models."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.markdown import Markdown
from rich.table import Table

from fer_pipeline import params as params_file
from fer_pipeline import params_editing
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
        recipe = params_editing.use_profile(PARAMS, name)
    results.print(f"params.yaml now trains {recipe.network} for {recipe.epochs} epochs (profile {name})")


@profile_app.command()
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


def promote(version: Annotated[int | None, typer.Option(help="Version to judge; the challenger by default.")] = None) -> None:
    """Judge a registered version against the champion; when it wins, package it and move the alias.

    Example: `fer promote`
    """
    from fer_pipeline import gate, lifecycle
    from fer_pipeline.modeling.promotion import Decision
    from flows.promotion import promote_challenger

    lifecycle.challenger(Path.cwd(), version)  # a wrong number is told at once, not after the start of a Prefect server
    decision = promote_challenger(version)
    assert isinstance(decision, Decision)  # a failed state raises its error here
    results.print(decision.markdown())
    if decision.rows:
        results.print(f"page: {gate.page(Path.cwd())}")
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
    results.print(f"{version} is champion again, bundle {bundle}; a running `fer serve` goes over to it")


@models_app.command("list")
def list_models() -> None:
    """List the registered versions with their figures, newest first; aliases and roll-backs are marked.

    Example: `fer models list`
    """
    from fer_pipeline.modeling import registry

    name = params_file.load(PARAMS).promote.model_name
    holders = registry.aliases(name)
    table = Table("version", "alias", "network", "data", "accuracy", "macro-F1", "gate", "bundle", title=f"model {name}")
    known = registry.versions(name)
    if not known:
        results.print(f"no version of model {name} yet: `fer run` trains and registers one")
        return
    for version in reversed(known):
        held = [alias for alias, number in holders.items() if number == version.number]
        marks = ", ".join([*held, *(["rolled back"] if "rolled_back" in version.tags else [])])
        figures = [f"{float(version.tags[key]):.4f}" if key in version.tags else "" for key in ("accuracy", "macro_f1")]
        words = [version.tags.get(key, "") for key in ("network", "data")]
        table.add_row(str(version.number), marks, *words, *figures, version.tags.get("gate", ""), version.tags.get("bundle", ""))
    results.print(table, soft_wrap=False)


@models_app.command()
def show(
    version: Annotated[str, typer.Argument(help="Number or alias.")] = "champion",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show all that is known of one version: where it comes from, its parameters, its figures, the gate's decision.

    Example: `fer models show challenger`
    """
    from fer_pipeline.modeling import registry
    from fer_pipeline.versions import version_facts

    facts = version_facts(registry.find(params_file.load(PARAMS).promote.model_name, version))
    if as_json:
        typer.echo(json.dumps(asdict(facts), indent=2))
        return
    title = f"{facts.name} version {facts.number}"
    about = Table("", "", title=title, show_header=False)
    about.add_row("aliases", ", ".join(facts.aliases))
    for name in ("run", "network", "data", "synthetic", "fingerprint", "temperature", "crowned", "rolled_back", "gate", "bundle"):
        value = getattr(facts, name)
        about.add_row(name.replace("_", " "), "" if value is None else str(value))
    for name, word in facts.lineage.items():
        about.add_row("trained as run" if name == "run_id" else name.replace("_", " "), word)
    results.print(about, soft_wrap=False)
    if facts.params:
        results.print(_two_columns("parameter", facts.params), soft_wrap=False)
    else:
        results.print("parameters: none in this tracking store, as when a model came from DVC's cache")
    results.print(_two_columns("test split", {name: f"{value:.4f}" for name, value in facts.metrics.items()}), soft_wrap=False)
    if facts.decision:
        results.print(Markdown(facts.decision), soft_wrap=False)


@models_app.command()
def diff(
    a: Annotated[str, typer.Argument(help="Number or alias.")],
    b: Annotated[str, typer.Argument(help="Number or alias.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show what differs between two versions: data, code, parameters, and all figures of their own evaluations.

    Whether a difference is more than luck is for `fer compare`, which runs both on the same rows.

    Example: `fer models diff champion challenger`
    """
    from fer_pipeline.modeling import registry
    from fer_pipeline.versions import differences, version_facts

    name = params_file.load(PARAMS).promote.model_name
    versions = [registry.find(name, reference) for reference in (a, b)]
    if versions[0] == versions[1]:
        raise ModelError(f"{a} and {b} are both {versions[0]}: name two versions (`fer models list`)")
    sides = [version_facts(version) for version in versions]
    found = differences(*sides)
    if as_json:
        typer.echo(json.dumps(asdict(found), indent=2))
        return
    for facts in sides:
        if not facts.params:
            results.print(
                f"parameters: none of {facts.name} version {facts.number} in this store, as when a model came from DVC's cache"
            )
    parameters = found.params if all(facts.params for facts in sides) else None
    for title, changes in (("origin", found.lineage), ("parameters", parameters), ("test split", found.metrics)):
        if changes is None:
            continue
        if not changes:
            results.print(f"{title}: no difference")
            continue
        table = Table(title, found.a, found.b, "change")
        for change in changes:
            delta = "" if change.delta is None else f"{change.delta:+.4g}"
            table.add_row(change.key, _word(change.a), _word(change.b), delta)
        results.print(table, soft_wrap=False)


def _two_columns(title: str, values: Mapping[str, str]) -> Table:
    table = Table(title, "", title, "")
    pairs = list(values.items())
    half = (len(pairs) + 1) // 2
    for row, left in enumerate(pairs[:half]):
        right = pairs[half + row] if half + row < len(pairs) else ("", "")
        table.add_row(*left, *right)
    return table


def _word(value: str | float | None) -> str:
    return "" if value is None else f"{value:.5g}" if isinstance(value, float) else str(value)


def package() -> None:
    """Build and try the BentoML bundle of the champion.

    Example: `fer package`, then `fer serve`
    """
    from fer_pipeline import lifecycle

    root = Path.cwd()
    with exclusive(RUN_LOCK, "fer package"):
        version = lifecycle.champion(root)
        tag = lifecycle.package_version(root, version)
        lifecycle.crown(root, version, str(version))
    results.print(f"packaged as {tag}; a running `fer serve` goes over to its model")


def serve(
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 3000,
    host: Annotated[str, typer.Option(help="Address to listen on; loopback by default.")] = "127.0.0.1",
    follow: Annotated[
        float,
        typer.Option(
            help="Seconds after which a new champion takes over at the latest; 0: none does.", min=0, envvar="FER_RELOAD_SECONDS"
        ),
    ] = 5,
    workers: Annotated[int, typer.Option(help="Processes that answer; one uses two cores for pictures.", min=1)] = 1,
    shadow: Annotated[
        float | None,
        typer.Option(help="Share of the requests that the challenger judges, too; see `fer shadow report`.", min=0.001, max=1),
    ] = None,
) -> None:
    """Serve the champion's bundle with BentoML; a new champion takes over while it runs.

    Example: `fer serve --port 3000`
    """
    from fer_pipeline import lifecycle
    from fer_pipeline.model_info import ModelInfo
    from fer_pipeline.serving import packaging

    tag = lifecycle.champion_tag(Path.cwd())
    if tag is None:
        raise ModelError("there is no packaged champion yet: run `fer run` first")
    if follow:
        folder = Path(os.environ.setdefault("FER_MODEL_DIR", str(packaging.bundle_folder(Path.cwd()))))
        ModelInfo.read(folder)
        os.environ["FER_RELOAD_SECONDS"] = str(follow)
        results.print(f"a new champion in {folder} takes over within {follow:g} s")
    else:
        os.environ.pop("FER_RELOAD_SECONDS", None)
    if shadow is not None:
        root = Path.cwd()
        challenger = os.environ.setdefault("FER_SHADOW_MODEL", str(packaging.challenger_folder(root)))
        log = os.environ.setdefault("FER_SHADOW_LOG", str(root / "data" / "shadow"))
        os.environ["FER_SHADOW_SHARE"] = str(shadow)
        results.print(f"the challenger in {challenger} is run on {shadow:g} of the requests, and compared in {log}")
    if workers > 1:
        others = os.environ.get("BENTOML_CONFIG_OPTIONS", "")
        os.environ["BENTOML_CONFIG_OPTIONS"] = f"{others} services.fer.workers={workers}".strip()
    results.print(f"serving {tag} on http://{host}:{port}")
    bentoml = str(Path(sys.executable).with_name("bentoml"))
    os.execv(bentoml, [bentoml, "serve", tag, "--host", host, "--port", str(port)])
