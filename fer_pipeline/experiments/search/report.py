"""Write the page of a search, and the table trials.csv."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fer_pipeline.config.tuning import Choices, Range, TuneParams
from fer_pipeline.experiments.search.result import SearchResult
from fer_pipeline.experiments.search.study import COMPLETE, FAILED, MIN_FOR_IMPORTANCES, Search, Tried
from fer_pipeline.reports.components import Table, code, fixed, toned
from fer_pipeline.reports.figures import BLUE, GRAY, ORANGE, themed
from fer_pipeline.reports.page import write_page
from fer_pipeline.workspace.files import REPORT_FILE, replaced_folder

TRIALS_FILE = "trials.csv"

_PLATE = {"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 1}

METRIC_NAMES = {"accuracy": "accuracy", "macro_f1": "macro-F1"}


def write_search(out: Path, search: Search, result: SearchResult) -> None:
    """Replaces the folder `out`: report.html, trials.csv."""
    trials = search.trials
    importances = search.importances()
    with replaced_folder(out) as folder:
        _write_table(folder / TRIALS_FILE, trials, list(search.params.space))
        write_page(
            folder / REPORT_FILE,
            "search.html",
            result=result,
            metric=METRIC_NAMES[result.metric],
            minutes=result.seconds / 60,
            best=_best_table(result, search.params),
            ranking=_trial_table(trials, list(search.params.space), METRIC_NAMES[result.metric]),
            startup=search.params.startup_trials,
            history=history_figure(trials, METRIC_NAMES[result.metric]),
            curves=curves_figure(trials, result.trial, METRIC_NAMES[result.metric]),
            parallel=parallel_figure(trials, search.params),
            importances=importances_figure(importances) if importances else None,
            needed=MIN_FOR_IMPORTANCES,
        )


@themed
def history_figure(trials: list[Tried], metric: str) -> Figure:
    """Draw the metric of each trial in order, with the best so far.

    Stopped trials are crosses at their last epoch.
    """
    figure = Figure(figsize=(9, 3.6))
    axes = figure.subplots()
    complete = [(trial.number, trial.value) for trial in trials if trial.value is not None]
    stopped = [(t.number, list(t.epochs.values())[-1]) for t in trials if t.value is None and t.state != FAILED and t.epochs]
    if stopped:
        axes.plot(*zip(*stopped, strict=True), "x", color=GRAY, label="stopped early (at its last epoch)")
    if complete:
        numbers, values = zip(*complete, strict=True)
        axes.plot(numbers, values, "o", color=BLUE, label="complete")
        axes.step(numbers, np.maximum.accumulate(values), where="post", color=ORANGE, label="best so far")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="trial", ylabel=f"validation {metric}")
    axes.legend()
    return figure


@themed
def curves_figure(trials: list[Tried], best: int, metric: str) -> Figure:
    """The metric of each trial by epoch."""
    figure = Figure(figsize=(9, 3.6))
    axes = figure.subplots()
    for trial in trials:
        chosen = trial.number == best
        color = ORANGE if chosen else BLUE if trial.state == COMPLETE else GRAY
        label = f"trial {best}, the best" if chosen else None
        axes.plot(
            list(trial.epochs),
            list(trial.epochs.values()),
            color=color,
            alpha=1.0 if chosen else 0.45,
            marker=".",
            label=label,
            zorder=3 if chosen else 2,
        )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="epoch", ylabel=f"validation {metric}")
    axes.legend()
    return figure


@themed
def parallel_figure(trials: list[Tried], params: TuneParams) -> Figure:
    """Draw each complete trial as one line across its values.

    Dark for a high metric; each axis spans the range that was searched.
    """
    complete = sorted((trial for trial in trials if trial.value is not None), key=lambda trial: trial.value or 0.0)
    keys = list(params.space)
    results = [trial.value or 0.0 for trial in complete]
    low, high = min(results), max(results)
    figure = Figure(figsize=(11, 4.4))
    axes = figure.subplots()
    colors = mpl.colormaps["viridis_r"]
    for trial, result in zip(complete, results, strict=True):
        share = (result - low) / (high - low) if high > low else 0.5
        places = [_place(trial.values[key], params, key) for key in keys]
        axes.plot(range(len(keys) + 1), [*places, share], color=colors(share), alpha=0.8, linewidth=1.5)
    for column, key in enumerate(keys):
        axes.axvline(column, color=GRAY, linewidth=0.8)
        for share, text in _ticks(params, key):
            axes.text(column + 0.03, share, text, fontsize=8, va="center", bbox=_PLATE)
    axes.axvline(len(keys), color=GRAY, linewidth=0.8)
    for share, value in ((0.0, low), (1.0, high)):
        axes.text(len(keys) + 0.03, share, f"{value:.3f}", fontsize=8, va="center", bbox=_PLATE)
    axes.set_xticks(range(len(keys) + 1), [*keys, METRIC_NAMES[params.metric]], rotation=25, ha="right")
    axes.set_yticks([])
    axes.set_xlim(-0.1, len(keys) + 0.5)
    for side in axes.spines.values():
        side.set_visible(False)
    return figure


@themed
def importances_figure(importances: dict[str, float]) -> Figure:
    """Share of each key in the variance of the metric."""
    figure = Figure(figsize=(9, 0.6 + 0.4 * len(importances)))
    axes = figure.subplots()
    names = list(importances)[::-1]
    bars = axes.barh(names, [importances[name] for name in names], color=BLUE)
    axes.bar_label(bars, fmt="%.2f", padding=3)
    axes.set(xlabel="share of the variance (fANOVA)", xlim=(0, 1))
    return figure


def _best_table(result: SearchResult, params: TuneParams) -> Table:
    return Table(
        ("key of train", "value", "searched"),
        tuple((code(key), str(result.values[key]), _searched(candidates)) for key, candidates in params.space.items()),
        align="lrl",
    )


def _trial_table(trials: list[Tried], keys: list[str], metric: str) -> Table:
    """Return the table of all trials, complete ones first.

    Complete ones from the best to the worst, then stopped ones, then failed ones.
    """
    ranked = sorted(trials, key=lambda t: (t.state != COMPLETE, t.state == FAILED, -(t.value or 0), -len(t.epochs), t.number))
    return Table(
        ("trial", "state", metric, "epochs", "s", *keys, "note"),
        tuple(
            (
                str(trial.number),
                trial.state,
                "" if trial.value is None else fixed(trial.value, 4),
                str(len(trial.epochs)),
                fixed(trial.seconds, 0),
                *(str(trial.values.get(key, "")) for key in keys),
                toned(trial.note, "dim"),
            )
            for trial in ranked
        ),
        align="rlrrr" + "r" * len(keys) + "l",
    )


def _searched(candidates: Choices | Range) -> str:
    if isinstance(candidates, Choices):
        return ", ".join(str(choice) for choice in candidates.choices)
    return f"{candidates.low:g} to {candidates.high:g}" + (", by factors" if candidates.log else "")


def _place(value: Any, params: TuneParams, key: str) -> float:
    candidates = params.space[key]
    if isinstance(candidates, Choices):
        return candidates.choices.index(value) / (len(candidates.choices) - 1)
    if candidates.log:
        return float(np.log(value / candidates.low) / np.log(candidates.high / candidates.low))
    return float((value - candidates.low) / (candidates.high - candidates.low))


def _ticks(params: TuneParams, key: str) -> list[tuple[float, str]]:
    candidates = params.space[key]
    if isinstance(candidates, Choices):
        return [(_place(choice, params, key), str(choice)) for choice in candidates.choices]
    return [(0.0, f"{candidates.low:g}"), (1.0, f"{candidates.high:g}")]


def _write_table(path: Path, trials: list[Tried], keys: list[str]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["trial", "state", "value", "epochs", "seconds", "run_id", *keys, "note"])
        for trial in trials:
            values = [trial.values.get(key) for key in keys]
            row = [trial.number, trial.state, trial.value, len(trial.epochs), round(trial.seconds, 1), trial.run_id]
            writer.writerow([*row, *values, trial.note])
