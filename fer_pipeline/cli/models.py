"""`fer models`: list, show, compare, register and fetch models."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markdown import Markdown
from rich.table import Table

from fer_pipeline.cli.options import VERSION_WORDS, AsJson, errors, print_json, print_table, results
from fer_pipeline.config.params import load_params
from fer_pipeline.errors import ModelError, ParamsError, ToolUnavailableError
from fer_pipeline.workspace.layout import PARAMS, REPORTS, RUN_LOCK
from fer_pipeline.workspace.locks import exclusive

if TYPE_CHECKING:  # MLflow is loaded by the commands, not by `fer --help`
    from fer_pipeline.experiments.registry import Version

YUNET_NAME = "yunet"

app = typer.Typer(help="The registered models.", no_args_is_help=True)


@app.command("list")
def list_models(as_json: AsJson = False) -> None:
    """List the registered versions with their figures, newest first.

    Example: `fer models list --json`
    """
    name = load_params(PARAMS).promote.model_name
    known, holders = _known_versions(name)
    if as_json:
        print_json([_as_json(version, holders) for version in reversed(known)])
        return
    table = Table("version", "alias", "network", "data", "accuracy", "macro-F1", "gate", "bundle", title=f"model {name}")
    if not known:
        results.print(f"no version of model {name} yet: `fer run` trains and registers one")
        return
    for version in reversed(known):
        held = [alias for alias, number in holders.items() if number == version.number]
        marks = ", ".join([*held, *(["rolled back"] if "rolled_back_at" in version.tags else [])])
        figures = [f"{float(version.tags[key]):.4f}" if key in version.tags else "" for key in ("accuracy", "macro_f1")]
        words = [version.tags.get(key, "") for key in ("network", "data")]
        table.add_row(str(version.number), marks, *words, *figures, version.tags.get("gate", ""), version.tags.get("bundle", ""))
    print_table(table)


@app.command()
def show(
    version: Annotated[str, typer.Argument(help=VERSION_WORDS.capitalize())] = "champion",
    as_json: AsJson = False,
) -> None:
    """Show lineage, parameters, figures and gate decision of one version.

    Example: `fer models show challenger`
    """
    from fer_pipeline.experiments import registry
    from fer_pipeline.experiments.version_info import version_metadata

    metadata = version_metadata(registry.find(load_params(PARAMS).promote.model_name, version))
    if as_json:
        print_json(asdict(metadata))
        return
    title = f"{metadata.name} version {metadata.number}"
    about = Table("", "", title=title, show_header=False)
    about.add_row("aliases", ", ".join(metadata.aliases))
    model = ("run", "network", "data", "synthetic", "fingerprint", "temperature")
    for name in (*model, "promoted_at", "rolled_back_at", "gate", "bundle"):
        value = getattr(metadata, name)
        about.add_row(name.replace("_", " "), "" if value is None else str(value))
    for name, word in metadata.lineage.items():
        about.add_row("trained as run" if name == "run_id" else name.replace("_", " "), word)
    print_table(about)
    if metadata.params:
        print_table(_two_columns("parameter", metadata.params))
    else:
        results.print("parameters: none in this tracking store, as when a model came from DVC's cache")
    print_table(_two_columns("test split", {name: f"{value:.4f}" for name, value in metadata.metrics.items()}))
    if metadata.decision:
        results.print(Markdown(metadata.decision), soft_wrap=False)


@app.command()
def compare(
    a: Annotated[str, typer.Argument(help=f"First version: {VERSION_WORDS} `baseline` is that of `fer baseline`.")],
    b: Annotated[str, typer.Argument(help="Second version, likewise.")],
    params: Annotated[
        bool,
        typer.Option("--params", help="Compare data, code, parameters and the figures of each version's own evaluation instead."),
    ] = False,
    out: Annotated[Path, typer.Option(help="Folder to write.")] = REPORTS / "compare",
    as_json: AsJson = False,
) -> None:
    """Run two versions on the same test rows and compare their answers.

    The page has paired intervals, McNemar's test, the recall of each emotion, and pictures on which the versions differ. Rows of
    which either version was trained on a copy are left out where its run lists its pictures; the page says where it does not.

    With --params no model is run: it prints what differs in data, code, parameters and figures.

    Takes about 5 s per network `compact` on FER-2013.

    Example: `fer models compare champion challenger`

    Example: `fer models compare champion challenger --params`
    """
    from fer_pipeline.experiments import registry

    name = load_params(PARAMS).promote.model_name
    first, second = (registry.find(name, reference) for reference in (a, b))
    if params:
        _compare_params(a, b, first, second, as_json=as_json)
    else:
        _compare_answers(first, second, out, as_json=as_json)


@app.command()
def register(
    name: Annotated[str | None, typer.Argument(help="Pretrained model: `fast`, `accurate`; left out: the default one.")] = None,
) -> None:
    """Register a pretrained model as challenger.

    Its MLflow run has recipe, curves and figures of its training.

    It is then compared, judged and promoted like a trained one; the gate needs the data that it was made for.

    Example: `fer models register accurate`, then `fer models compare champion challenger`
    """
    from fer_pipeline.inference.pretrained import DEFAULT_MODEL
    from fer_pipeline.promotion.register_pretrained import register_pretrained

    name = name or DEFAULT_MODEL
    with exclusive(RUN_LOCK, "fer models register"), errors.status("registering …"):
        version, new = register_pretrained(Path.cwd(), name)
    what = "registered as" if new else "is already"
    results.print(f"{name} {what} {version}, alias challenger; `fer promote` judges it")


@app.command()
def fetch(
    what: Annotated[
        str, typer.Argument(help="`yunet`, a smaller and faster face detector than centerface (233 kB, MIT licence).")
    ],
    url: Annotated[str | None, typer.Option(help="Address of the file; left out: OpenCV's model zoo on GitHub.")] = None,
    to: Annotated[
        Path | None, typer.Option(help="File to write; left out: the user's data folder, where `--detector yunet` looks.")
    ] = None,
) -> None:
    """Download the YuNet face detector, and check its SHA-256.

    `fer predict --detector yunet` uses it. With `--to data/models/yunet.onnx` it also joins the bundles packaged in this
    workspace, whose service uses it with `export.detector: yunet` in params.yaml or FER_DETECTOR=yunet.

    Example: `fer models fetch yunet`
    """
    from fer_pipeline.inference.detection.yunet_download import YUNET_URL, fetch_yunet, user_yunet

    if what != YUNET_NAME:
        raise ParamsError(f"{what} cannot be fetched, expected {YUNET_NAME}")
    target = to or user_yunet()
    if target is None:
        raise ToolUnavailableError(f"user {os.getuid()} has no home: give a path as --to, or set XDG_DATA_HOME to a folder")
    new = fetch_yunet(target, url or YUNET_URL)
    results.print(f"{'fetched' if new else 'already there:'} {target}, SHA-256 as pinned")


def _as_json(version: Version, holders: Mapping[str, int]) -> dict[str, Any]:
    tags = version.tags
    figures = {key: float(tags[key]) if key in tags else None for key in ("accuracy", "macro_f1")}
    words = {key: tags.get(key) for key in ("network", "data", "gate", "bundle", "promoted_at", "rolled_back_at")}
    aliases = [alias for alias, number in holders.items() if number == version.number]
    return {"number": version.number, "aliases": aliases, "run": version.run_id, **words, **figures}


def _known_versions(name: str) -> tuple[list[Version], dict[str, int]]:
    """Read versions and the numbers behind aliases, without MLflow where possible."""
    import sqlite3

    from fer_pipeline.experiments.sqlite_store import opened_store, readable_file

    if file := readable_file():
        with suppress(sqlite3.Error), opened_store(file) as store:  # MLflow says what is wrong
            if store is not None:
                return store.versions(name), store.aliases(name)
    from fer_pipeline.experiments import registry

    return registry.versions(name), registry.aliases(name)


def _compare_answers(first: Version, second: Version, out: Path, *, as_json: bool) -> None:
    from fer_pipeline.promotion.candidates import compare_versions
    from fer_pipeline.workspace.files import METRICS_FILE, REPORT_FILE

    with exclusive(out, "fer models compare"):
        result = compare_versions(Path.cwd(), first, second, out)
    if as_json:
        typer.echo((out / METRICS_FILE).read_text(encoding="utf-8").rstrip())
        return
    table = Table(f"{result.rows:,} test rows", str(first), str(second), "change, points")
    for measure in result.measures[:2]:
        change = measure.change
        interval = f"{100 * change.estimate:+.2f} [{100 * change.low:+.2f}, {100 * change.high:+.2f}]"
        table.add_row(measure.name, f"{measure.a:.4f}", f"{measure.b:.4f}", interval)
    table.add_row("ECE", *(f"{value:.4f}" for value in result.ece), f"{100 * (result.ece[1] - result.ece[0]):+.2f}")
    for one in result.classes:
        change = one.recall.change
        interval = f"{100 * change.estimate:+.1f} [{100 * change.low:+.1f}, {100 * change.high:+.1f}]"
        table.add_row(f"recall of {one.emotion}", f"{one.recall.a:.4f}", f"{one.recall.b:.4f}", interval)
    print_table(table)
    only = f"only the first right on {result.test.only_a:,} rows, only the second on {result.test.only_b:,}"
    results.print(f"McNemar's test: p = {result.test.p_value:.2g}; {only}")
    results.print(result.verdict)
    results.print(f"page: {out / REPORT_FILE}")


def _compare_params(a: str, b: str, first: Version, second: Version, *, as_json: bool) -> None:
    from fer_pipeline.experiments.version_info import differences, version_metadata

    if first == second:
        raise ModelError(f"{a} and {b} are both {first}: name two versions (`fer models list`)")
    sides = [version_metadata(version) for version in (first, second)]
    found = differences(*sides)
    if as_json:
        print_json(asdict(found))
        return
    for side in sides:
        if not side.params:
            results.print(
                f"parameters: none of {side.name} version {side.number} in this store, as when a model came from DVC's cache"
            )
    parameters = found.params if all(side.params for side in sides) else None
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
        print_table(table)


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
