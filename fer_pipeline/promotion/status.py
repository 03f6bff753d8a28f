"""Report the state of a workspace; reads only, and makes no database."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from fer_pipeline.config.params import load_params
from fer_pipeline.errors import FerError, ModelError, SourceError
from fer_pipeline.experiments.artifact_locations import misplaced_store
from fer_pipeline.experiments.records import CHALLENGER, CHAMPION, TrackedRun
from fer_pipeline.experiments.sqlite_store import opened_store, readable_file
from fer_pipeline.experiments.version_info import VersionMetadata, describe_version, version_metadata
from fer_pipeline.model_info import ModelInfo
from fer_pipeline.promotion.bundle.store import store_folder
from fer_pipeline.workspace import dvc, layout
from fer_pipeline.workspace.layout import (
    BUNDLE,
    DATA,
    DRIFT_REPORT,
    DRIFT_RESULT,
    DVC_CACHE,
    MLFLOW_ARTIFACTS,
    MLFLOW_DATABASE,
    PARAMS,
    RUN_LOCK,
)
from fer_pipeline.workspace.locks import holder

RUNS = 5
"""Last runs that are listed."""

DISK = (DATA, MLFLOW_ARTIFACTS, DVC_CACHE, MLFLOW_DATABASE)
"""Paths whose size is shown."""


@dataclass(frozen=True)
class RunLine:
    """A training with its last validation figures and its test figures.

    A figure it does not have is None, and so are `minutes` while it runs. `started` is ISO 8601 in UTC, `failure` the reason
    where it failed.
    """

    run_id: str
    name: str
    status: str
    started: str
    minutes: float | None
    val_accuracy: float | None
    test_accuracy: float | None
    test_macro_f1: float | None
    failure: str | None


@dataclass(frozen=True)
class Bundle:
    """The model in data/bundle, which `fer predict` uses.

    `fault` says why it cannot be read. `placed_as` is what it was when it was put there ("fer version 3, champion"), None where
    its files do not say it; `of_champion` is None where the registry could not be asked.
    """

    network: str | None
    fingerprint: str | None
    placed_as: str | None
    of_champion: bool | None
    fault: str | None


@dataclass(frozen=True)
class Drift:
    """Result of the last `fer monitor drift` on a model's answers in the time `span`.

    `of_champion` is None where the registry could not be asked.
    """

    verdict: str
    drifted: bool
    span: str
    of_champion: bool | None


@dataclass(frozen=True)
class Status:
    """State of a workspace; None or empty where a part is missing.

    `disk` and `disk_free`, of the disk of the workspace, are in bytes. `bentos` in `disk` is BentoML's store, which all
    workspaces of a user share. `advice` says what to run next.

    `unreachable` says why MLflow did not answer and what to do; then champion, challenger and runs are not known. `faults`
    names models and reports that cannot be read; `working` who holds the workspace now.
    """

    source: str
    data_version: str | None
    champion: VersionMetadata | None
    challenger: VersionMetadata | None
    runs: tuple[RunLine, ...]
    bundle: Bundle | None
    drift: Drift | None
    disk: dict[str, int]
    disk_free: int
    working: str | None
    unreachable: str | None
    faults: tuple[str, ...]
    advice: tuple[str, ...]


def workspace_status(root: Path) -> Status:
    """Return the state of the workspace at `root`.

    It takes some seconds at most, also where MLflow does not answer. Raises `ParamsError` where it has no params.yaml that can
    be read.
    """
    params = load_params(root / PARAMS)
    faults: list[str] = []
    champion = challenger = unreachable = None
    runs: tuple[RunLine, ...] = ()
    name = params.promote.model_name
    if (read := _from_file(name, faults)) is not None:
        champion, challenger, runs = read
    else:
        try:
            champion, challenger, runs = _from_mlflow(name, faults)
        except FerError as error:
            unreachable = str(error)
    known = unreachable is None
    bundle = _bundle(root, champion, known)
    advice = _advice(champion, challenger, bundle, faults) if known else ()
    drift = _drift(root / DRIFT_RESULT, champion, known, faults)
    places = {**{str(path): root / path for path in DISK}, "bentos": store_folder()}
    return Status(
        source=params.fetch.source,
        data_version=_data_version(root),
        champion=champion,
        challenger=challenger if challenger and (champion is None or challenger.number != champion.number) else None,
        runs=runs,
        bundle=bundle,
        drift=drift,
        disk={name: _size(place) for name, place in places.items() if place is not None and _is_readable(place)},
        disk_free=shutil.disk_usage(root).free,
        working=holder(root / RUN_LOCK),
        unreachable=unreachable,
        faults=tuple(faults),
        advice=(*advice, *([f"see {DRIFT_REPORT}"] if drift and drift.drifted else [])),
    )


_Tracked = tuple[VersionMetadata | None, VersionMetadata | None, tuple[RunLine, ...]]


def _from_file(name: str, faults: list[str]) -> _Tracked | None:
    """Read champion, challenger and runs from the SQLite file itself.

    None where MLflow must be asked.
    """
    file = readable_file()
    if file is None:
        return None
    found: dict[str, VersionMetadata | None] = {}
    told: list[str] = []
    try:
        with opened_store(file) as store:
            if store is None:
                return None
            holders = store.aliases(name)
            known = {version.number: version for version in store.versions(name)}
            for alias in (CHAMPION, CHALLENGER):
                version = known.get(holders.get(alias, 0))
                if version is None:
                    found[alias] = None
                    continue
                export = store.export(version)
                if export is None:
                    return None
                try:
                    found[alias] = describe_version(version, export, holders, store.params(version.run_id))
                except ModelError as error:
                    found[alias] = None
                    told.append(f"{alias} {version}: {error}")
            runs = tuple(_line(run) for run in store.recent_runs(RUNS))
    except sqlite3.Error:  # MLflow's side says what is wrong
        return None
    faults += told
    return found[CHAMPION], found[CHALLENGER], runs


def _from_mlflow(name: str, faults: list[str]) -> _Tracked:
    """Ask MLflow. Raises `FerError` where it does not answer."""
    from fer_pipeline.experiments import mlflow_store
    from fer_pipeline.experiments.runs import recent_runs

    file = mlflow_store.store_file()
    if file is not None and not file.exists() and misplaced_store(file) is None:
        return None, None, ()  # to ask for a store that is missing would create it, which takes seconds
    with mlflow_store.answering_soon():
        champion, challenger = (_version_metadata(name, alias, faults) for alias in (CHAMPION, CHALLENGER))
        return champion, challenger, tuple(_line(run) for run in recent_runs(RUNS))


def _version_metadata(name: str, alias: str, faults: list[str]) -> VersionMetadata | None:
    from fer_pipeline.experiments import registry

    version = registry.by_alias(name, alias)
    if version is None:
        return None
    try:
        return version_metadata(version)
    except ModelError as error:
        faults.append(f"{alias} {version}: {error}")
        return None


def _line(run: TrackedRun) -> RunLine:
    return RunLine(
        run_id=run.run_id,
        name=run.name,
        status=run.status,
        started=datetime.fromtimestamp(run.started, UTC).isoformat(timespec="seconds"),
        minutes=(run.ended - run.started) / 60 if run.ended and run.status != "RUNNING" else None,  # it may have been resumed
        val_accuracy=run.metrics.get("validation/accuracy"),
        test_accuracy=run.metrics.get("test/accuracy"),
        test_macro_f1=run.metrics.get("test/macro_f1"),
        failure=run.tags.get("failure") if run.status == "FAILED" else None,
    )


def _bundle(root: Path, champion: VersionMetadata | None, known: bool) -> Bundle | None:
    folder = root / layout.BUNDLE
    if not folder.is_dir():
        return None
    try:
        info = ModelInfo.read(folder)
    except ModelError as error:
        return Bundle(None, None, None, False, str(error))
    names = info.lineage
    placed_as = f"{names['name']} version {names['version']}, {names.get('alias', 'no alias')}" if "version" in names else None
    of_champion = champion is not None and champion.fingerprint == info.fingerprint
    return Bundle(info.network, info.fingerprint, placed_as, of_champion if known else None, None)


def _drift(file: Path, champion: VersionMetadata | None, known: bool, faults: list[str]) -> Drift | None:
    if not file.is_file():
        return None
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        of_champion = champion is not None and values["model"] == champion.fingerprint
        return Drift(str(values["verdict"]), bool(values["drifted"]), str(values["span"]), of_champion if known else None)
    except (OSError, ValueError, KeyError, TypeError) as error:
        faults.append(f"{file} cannot be read ({error!r}): run `fer monitor drift` again")
        return None


def _data_version(root: Path) -> str | None:
    try:
        return dvc.data_version(root)
    except SourceError:
        return None


def _is_readable(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # BentoML's folder may lie in a home that this user may not search
        return False


def _size(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                total += (Path(folder) / name).lstat().st_size
            except FileNotFoundError:  # a run replaces its outputs while this counts
                continue
    return total


def _advice(
    champion: VersionMetadata | None, challenger: VersionMetadata | None, bundle: Bundle | None, faults: list[str]
) -> tuple[str, ...]:
    advice = []
    if champion is None and not faults:
        advice.append("no champion yet: `fer run` trains one (see `fer run --help` for data and profiles)")
    if faults:
        advice.append("a model cannot be read: bring its artifacts back, or go to another version with `fer rollback --to`")
    if champion is not None and (bundle is None or not bundle.of_champion):
        advice.append(f"{BUNDLE} is not the champion's model: `fer package` puts it there")
    if challenger is not None and champion is not None and challenger.number != champion.number and challenger.gate is None:
        advice.append(f"version {challenger.number} was not evaluated yet: `fer promote`")
    return tuple(advice)
