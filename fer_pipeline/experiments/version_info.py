"""Read all that is known of a registered version, and compare two."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fer_pipeline.config.params import with_current_names
from fer_pipeline.experiments.records import BUNDLE_TAG, PROMOTED_TAG, ROLLED_BACK_TAG, Version
from fer_pipeline.model_info import ModelInfo

LINEAGE = ("run_id", "data_version", "git_commit", "params_hash")


@dataclass(frozen=True)
class VersionMetadata:
    """All that is known of a registered version.

    `run` is the run in this tracking store: the training's own, unless that is in another store (then `lineage` names it).
    `lineage` has the keys `LINEAGE`; `params` are those of the training ("train.lr"), empty where its run is not in this store
    (a model that came from DVC's cache); `metrics` the figures of evaluate on the test split, as they stand in its model.json.

    Times are as the registry's tags hold them (ISO 8601, UTC); what a version does not have is None.
    """

    name: str
    number: int
    run: str
    aliases: tuple[str, ...]
    network: str
    data: str
    synthetic: bool
    fingerprint: str
    temperature: float
    promoted_at: str | None
    rolled_back_at: str | None
    gate: str | None
    decision: str | None
    bundle: str | None
    lineage: Mapping[str, str]
    params: Mapping[str, str]
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Change:
    """One value of two versions.

    `delta` is b - a of two numbers, None where a side is missing or a word.
    """

    key: str
    a: str | float | None
    b: str | float | None
    delta: float | None


@dataclass(frozen=True)
class Differences:
    """How version b differs from version a.

    Equal values are left out, except in `metrics`.
    """

    a: str
    b: str
    lineage: tuple[Change, ...]
    params: tuple[Change, ...]
    metrics: tuple[Change, ...]


def version_metadata(version: Version) -> VersionMetadata:
    """Read registry, run and model.json of a version.

    Raises `ModelError` where its model is missing or damaged.
    """
    from fer_pipeline.experiments import registry, runs  # MLflow, which takes seconds to load
    from fer_pipeline.experiments.exports import local_export

    holders = registry.aliases(version.name)
    return describe_version(version, local_export(version), holders, runs.read_run(version.run_id).params)


def describe_version(version: Version, export: Path, holders: Mapping[str, int], params: Mapping[str, str]) -> VersionMetadata:
    """Join what is known of a version.

    `export` is the folder of its model, `holders` the number of the version behind each alias, `params` those of its run.
    Raises `ModelError` where the model is missing or damaged.
    """
    info = ModelInfo.read(export)
    tags = version.tags
    return VersionMetadata(
        name=version.name,
        number=version.number,
        run=version.run_id,
        aliases=tuple(sorted(alias for alias, number in holders.items() if number == version.number)),
        network=info.network,
        data=info.data,
        synthetic=info.synthetic,
        fingerprint=info.fingerprint,
        temperature=info.temperature,
        promoted_at=tags.get(PROMOTED_TAG),
        rolled_back_at=tags.get(ROLLED_BACK_TAG),
        gate=tags.get("gate"),
        decision=tags.get("gate.decision"),
        bundle=tags.get(BUNDLE_TAG),
        lineage={key: info.lineage.get(key, "none") for key in LINEAGE},
        params=with_current_names(params),
        metrics=info.metrics,
    )


def differences(a: VersionMetadata, b: VersionMetadata) -> Differences:
    """What changed from version a to version b."""
    metadata: list[dict[str, str | float]] = [
        {"network": one.network, "data": one.data, **one.lineage, "temperature": one.temperature, "fingerprint": one.fingerprint}
        for one in (a, b)
    ]
    return Differences(
        a=f"{a.name} version {a.number}",
        b=f"{b.name} version {b.number}",
        lineage=_changes(metadata[0], metadata[1]),
        params=_changes(_numbers(a.params), _numbers(b.params)),
        metrics=_changes(a.metrics, b.metrics, also_equal=True),
    )


def _changes(a: Mapping[str, str | float], b: Mapping[str, str | float], *, also_equal: bool = False) -> tuple[Change, ...]:
    keys = [*a, *(key for key in b if key not in a)]
    changes = [Change(key, a.get(key), b.get(key), _delta(a.get(key), b.get(key))) for key in keys]
    return tuple(change for change in changes if also_equal or change.a != change.b)


def _delta(a: str | float | None, b: str | float | None) -> float | None:
    return b - a if isinstance(a, int | float) and isinstance(b, int | float) else None


def _numbers(params: Mapping[str, str]) -> dict[str, str | float]:
    """MLflow keeps all parameters as words."""
    return {key: _number(value) for key, value in params.items()}


def _number(word: str) -> str | float:
    try:
        value = json.loads(word)
    except ValueError:
        return word
    return value if isinstance(value, int | float) and not isinstance(value, bool) else word
