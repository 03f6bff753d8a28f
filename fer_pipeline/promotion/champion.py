"""Register the exported model, package versions, and set the champion."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from fer_pipeline.config.params import PromoteParams, load_params
from fer_pipeline.errors import ModelError, WorkspaceBusyError
from fer_pipeline.experiments import mlflow_store, registry, tracked_stages
from fer_pipeline.experiments.exports import local_export
from fer_pipeline.experiments.registry import BUNDLE_TAG, PROMOTED_TAG
from fer_pipeline.model_info import ModelInfo
from fer_pipeline.promotion.bundle import bento, folder
from fer_pipeline.workspace import dvc
from fer_pipeline.workspace.layout import BUNDLE, DATA, PARAMS
from fer_pipeline.workspace.locks import exclusive

CHAMPION_WAIT_SECONDS = 60.0
"""How long a promotion waits for another one that is moving the alias, which takes about a second."""


def register_export(root: Path) -> tuple[registry.Version, bool]:
    """Register the exported model with its card as challenger.

    Returns its version and whether it is new. The model also becomes that of data/challenger. Raises `ModelError` where the
    export is missing or damaged.
    """
    export = dvc.output(root, "export")
    info = ModelInfo.read(export)
    tags = registry.describing_tags(info)
    run_id = tracked_stages.restored_run(root, info, tags)
    name = _promote_params(root).model_name
    version, new = registry.register(export, info, name, run_id, tags, card=dvc.output(root, "card"))
    folder.write_challenger(export, root, _names(version, registry.CHALLENGER))
    return version, new


def shadow(root: Path, reference: str) -> registry.Version:
    """Make a version the model of data/challenger, for services in shadow mode.

    `reference` is its number, run id or alias. Returns the version.
    """
    version = registry.find(_promote_params(root).model_name, reference)
    folder.write_challenger(local_export(version), root, _names(version, registry.CHALLENGER))
    return version


def challenger(root: Path, reference: int | str | None) -> registry.Version:
    """Return the version with this number, alias or run id; None: the challenger.

    Raises `ModelError` where there is none.
    """
    return registry.find(_promote_params(root).model_name, registry.CHALLENGER if reference is None else str(reference))


def package_version(root: Path, version: registry.Version) -> str:
    """Build and test the bento of a version; returns its tag.

    It holds the present serving code. The tag is noted as the version's tag `bundle`. A bento that the store holds is not built
    again, and the one noted is not tested again. Raises `ModelError` where it does not answer as its model does.
    """
    exported = local_export(version)
    name = f"v{version.number}-{ModelInfo.read(exported).fingerprint[:8]}"
    names = _names(version, None)  # a bento outlives the alias of the day
    tag = bento.build(exported, name, root, names, tested=version.tags.get(BUNDLE_TAG))
    registry.tag_version(version, {BUNDLE_TAG: tag})
    return tag


def set_champion(root: Path, version: registry.Version, over: str | None) -> None:
    """Make the version champion and the model of data/bundle, and note when.

    `over` names the champion of the moment of the decision, as `str(version)` does (None: there was none). Raises
    `WorkspaceBusyError` where another has become champion since, and changes nothing then. MLflow moves an alias without asking
    what it pointed at, so the look at the champion and the move are one step under a lock beside the registry's SQLite file.
    A registry on a server has no such place: there the lock holds for this workspace, and between two machines one look comes
    some milliseconds before the move and another after it, which raises `WorkspaceBusyError`, too.
    """
    exported = local_export(version)
    with exclusive(mlflow_store.store_file() or root / DATA / "champion", f"set champion {version}", CHAMPION_WAIT_SECONDS):
        current = registry.by_alias(version.name, registry.CHAMPION)
        now = str(current) if current else None
        if now not in (over, str(version)):  # it is the version itself where a first try was cut short
            raise WorkspaceBusyError(
                f"{now or 'no version'} is champion now, {version} was to follow {over or 'none'}: another promotion or "
                f"roll-back was faster; evaluate again with `fer promote --version {version.number}`"
            )
        # A full disk fails before the alias moves. A process killed between that and the renames leaves data/bundle behind
        # the alias (`fer status` says so), one killed after them a champion without its date. `fer package` or the same
        # promotion again mends both; another roll-back would go back one more.
        with folder.replaced_bundle(exported, root, _names(version, registry.CHAMPION)):
            registry.set_alias(version, registry.CHAMPION)
        current = registry.by_alias(version.name, registry.CHAMPION)
        if current is None or current.number != version.number:
            raise WorkspaceBusyError(
                f"{current or 'no version'} became champion at the same moment as {version}, by another workspace: `fer "
                f"package` puts its model into {BUNDLE}; evaluate again with `fer promote --version {version.number}`"
            )
        # A rerun does not make the champion a younger one; the gate names the version itself where a first try was cut short.
        if over != str(version) or PROMOTED_TAG not in version.tags:
            registry.tag_version(version, {PROMOTED_TAG: datetime.now(UTC).isoformat(timespec="microseconds")})


def _names(version: registry.Version, alias: str | None) -> dict[str, str]:
    return {"name": version.name, "version": str(version.number), **({"alias": alias} if alias else {})}


def champion(root: Path) -> registry.Version:
    """Return the champion. Raises `ModelError` where there is none."""
    name = _promote_params(root).model_name
    version = registry.by_alias(name, registry.CHAMPION)
    if version is None:
        raise ModelError(f"model {name!r} has no champion yet: run `fer run` first")
    return version


def champion_tag(root: Path) -> str | None:
    """Return the tag of the champion's bundle; None where it was not packaged."""
    return champion(root).tags.get(BUNDLE_TAG)


def _promote_params(root: Path) -> PromoteParams:
    return load_params(root / PARAMS).promote
