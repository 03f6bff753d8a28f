"""`fer status`: champion, challenger, runs, drift and disk use on one screen."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.table import Table
from rich.text import Text

from fer_pipeline.cli.options import AsJson, labelled, print_json, print_table
from fer_pipeline.errors import ToolUnavailableError
from fer_pipeline.workspace.layout import BUNDLE

if TYPE_CHECKING:  # MLflow and DVC are loaded by the commands, not by `fer --help`
    from fer_pipeline.experiments.version_info import VersionMetadata
    from fer_pipeline.promotion.status import Bundle, Drift, RunLine, Status


def status(as_json: AsJson = False) -> None:
    """Print champion, challenger, bundle, data in use, last runs and disk use.

    Where MLflow does not answer within some seconds, it says so, tells what the workspace itself knows, and ends with exit
    code 8.

    Example: `fer status`
    """
    from fer_pipeline.promotion.status import workspace_status

    now = workspace_status(Path.cwd())
    if as_json:
        print_json(asdict(now))
    else:
        _print(now)
    if now.unreachable:
        raise typer.Exit(ToolUnavailableError.exit_code)


def _print(now: Status) -> None:
    nobody = "not known" if now.unreachable else "none"
    lines = Table.grid(padding=(0, 2))
    lines.add_column(style="bold", no_wrap=True)
    lines.add_column(overflow="fold")
    if now.unreachable:
        lines.add_row(Text("MLflow", "red"), now.unreachable)
    lines.add_row("champion", _champion(now.champion) if now.champion else nobody)
    lines.add_row("challenger", _challenger(now.challenger) if now.challenger else nobody)
    lines.add_row("bundle", _bundle(now.bundle) if now.bundle else f"none in {BUNDLE}")
    lines.add_row(
        "drift", _drift(now.drift) if now.drift else "no result: `fer monitor drift` checks what the service has logged"
    )
    lines.add_row("data in use", f"{now.source}, version {now.data_version or 'none: not fetched yet'}")
    used = ", ".join(f"{name} {_megabytes(size)}" for name, size in now.disk.items()) or "nothing yet"
    lines.add_row("disk", f"{used}; {_megabytes(now.disk_free)} free")
    lines.add_row("at work", now.working or "nobody")
    for fault in now.faults:
        lines.add_row(Text("fault", "red"), fault)
    for advice in now.advice:
        lines.add_row(Text("next", "yellow"), advice)
    print_table(lines)
    if now.runs:
        table = Table("last runs", "id", "started", "min", "result", "val acc", "test acc", "test F1", collapse_padding=True)
        for run in now.runs:
            table.add_row(*_cells(run))
        print_table(table)


def _champion(version: VersionMetadata) -> str:
    figures = version.metrics
    words = [
        f"{version.name} version {version.number} ({', '.join(version.aliases)}), {version.network}, "
        f"since {_since(version.promoted_at)}",
        f"run {version.run}, data {version.data} version {version.lineage['data_version']}",
    ]
    measured = [
        f"{title} {figures[name]:.4f}"
        + (f" [{figures[f'{name}_low']:.4f}, {figures[f'{name}_high']:.4f}]" if f"{name}_low" in figures else "")
        for name, title in (("accuracy", "test accuracy"), ("macro_f1", "macro-F1"), ("ece", "ECE"))
        if name in figures
    ]
    if measured:
        words.append(", ".join(measured) + (f" on {figures['rows']:,.0f} rows" if "rows" in figures else ""))
    if version.synthetic:
        words.append("trained on synthetic faces: for trying the pipeline, not for real pictures")
    return "\n".join(words)


def _challenger(version: VersionMetadata) -> str:
    figures = f", test accuracy {version.metrics['accuracy']:.4f}" if "accuracy" in version.metrics else ""
    return f"version {version.number}, {version.network}{figures}, gate: {version.gate or 'not evaluated yet'}"


def _bundle(bundle: Bundle) -> Text:
    if bundle.fault:
        return labelled("damaged:", "red", bundle.fault)
    if bundle.of_champion is None:
        whose = (f"placed as {bundle.placed_as}" if bundle.placed_as else "of an unknown version", "")
    else:
        whose = ("the champion's", "") if bundle.of_champion else ("not the champion's", "yellow")
    return Text.assemble(f"{BUNDLE}: {bundle.network}, model {bundle.fingerprint}, ", whose)


def _drift(drift: Drift) -> Text:
    whose = " (of another model than the champion)" if drift.of_champion is False else ""
    return Text.assemble((drift.verdict, "red" if drift.drifted else ""), f", {drift.span}", (whose, "yellow"))


def _since(moment: str | None) -> str:
    if moment is None:
        return "an unknown time"
    then = datetime.fromisoformat(moment)
    age = datetime.now(UTC) - then
    ago = f"{age.days} days" if age >= timedelta(days=2) else f"{age.total_seconds() / 3600:.1f} hours"
    return f"{then.astimezone():%Y-%m-%d %H:%M} ({ago})"


def _cells(run: RunLine) -> list[str]:
    figures = [f"{value:.4f}" if value is not None else "" for value in (run.val_accuracy, run.test_accuracy, run.test_macro_f1)]
    result = f"{run.status}: {run.failure}" if run.failure else run.status
    started = f"{datetime.fromisoformat(run.started).astimezone():%m-%d %H:%M}"
    minutes = "" if run.minutes is None else f"{run.minutes:.0f}"
    return [run.name, run.run_id[:8], started, minutes, result.lower(), *figures]


def _megabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
