"""`fer models`, `promote` and `rollback`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.markdown import Markdown
from rich.table import Table

from fer_pipeline.cli.options import results
from fer_pipeline.config import params as params_file
from fer_pipeline.errors import ModelError
from fer_pipeline.workspace.layout import PARAMS

app = typer.Typer(help="The registered models.", no_args_is_help=True)


@app.command("list")
def list_models() -> None:
    """List the registered versions with their figures, newest first; aliases and roll-backs are marked.

    Example: `fer models list`
    """
    from fer_pipeline.experiments import registry

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


@app.command()
def show(
    version: Annotated[str, typer.Argument(help="Number, alias, or run id as `fer status` prints it.")] = "champion",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show all that is known of one version: where it comes from, its parameters, its figures, the gate's decision.

    Example: `fer models show challenger`
    """
    from fer_pipeline.experiments import registry
    from fer_pipeline.experiments.version_info import version_facts

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


@app.command()
def diff(
    a: Annotated[str, typer.Argument(help="Number, alias, or run id as `fer status` prints it.")],
    b: Annotated[str, typer.Argument(help="Number, alias, or run id as `fer status` prints it.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show what differs between two versions: data, code, parameters, and all figures of their own evaluations.

    Whether a difference is more than luck is for `fer compare`, which runs both on the same rows.

    Example: `fer models diff champion challenger`
    """
    from fer_pipeline.experiments import registry
    from fer_pipeline.experiments.version_info import differences, version_facts

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


def promote(version: Annotated[int | None, typer.Option(help="Version to judge; the challenger by default.")] = None) -> None:
    """Judge a registered version against the champion; when it wins and its bundle answers, move the alias.

    Example: `fer promote`
    """
    from fer_pipeline.promotion import champion, gate

    champion.challenger(Path.cwd(), version)  # a wrong number is told at once, before Prefect is loaded and its server started
    from fer_pipeline.promotion.decision import Decision
    from flows.promotion import promote_challenger

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
    """Make an earlier champion champion again, with its bundle. It does not wait for a training that runs.

    That takes seconds where the version was packaged, as each champion of the gate was. One that never was, or whose bundle is
    gone, is packaged and tried first: up to minutes. Without --to, versions of synthetic faces never follow one of real pictures.

    Example: `fer rollback`
    """
    from fer_pipeline.promotion.rollback import roll_back

    # Without RUN_LOCK, which a training holds for hours: `crown` has a lock of its own and looks at the champion inside it.
    done = roll_back(Path.cwd(), to)
    results.print(f"{done.version} is champion again, bundle {done.bundle}; a running `fer serve` goes over to it")
    for one in done.skipped:
        results.print(f"passed over: {one}, trained on synthetic faces; `fer rollback --to {one.number}` takes it")
