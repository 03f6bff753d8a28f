"""MLflow's registry: versions of the model, their tags and aliases."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException, RestException

from fer_pipeline.errors import ModelError
from fer_pipeline.experiments.legacy_tags import current_tags, stored_keys
from fer_pipeline.experiments.mlflow_store import clear_errors, is_missing
from fer_pipeline.experiments.records import (
    BASELINE as BASELINE,
    BUNDLE_TAG as BUNDLE_TAG,
    CHALLENGER as CHALLENGER,
    CHAMPION as CHAMPION,
    EXPORT_PATH,
    FINGERPRINT_TAG as FINGERPRINT_TAG,
    PROMOTED_TAG as PROMOTED_TAG,
    ROLLED_BACK_TAG as ROLLED_BACK_TAG,
    Version as Version,
)
from fer_pipeline.experiments.registered.description import describe
from fer_pipeline.experiments.registered.packaging import log_model
from fer_pipeline.model_info import ModelInfo

_RUN_ID = re.compile("[0-9a-f]{6,32}")  # or the beginning of one; `fer status` shows eight digits


def register(
    export: Path,
    info: ModelInfo,
    name: str,
    run_id: str,
    tags: Mapping[str, str],
    alias: str = CHALLENGER,
    card: Path | None = None,
) -> tuple[Version, bool]:
    """Register an exported model under the alias.

    Returns the version and whether it is new. A model with the same `ModelInfo.fingerprint` is registered once only. The version
    holds all files of the folder `export` and those of the folder `card`, as `packaging.log_model` says, and carries `tags` and a
    description. A version that is known gets the newer card.
    """
    with clear_errors():
        client = MlflowClient()
        for known in versions(name):
            if known.tags.get(FINGERPRINT_TAG) == info.fingerprint:
                client.set_registered_model_alias(name, alias, str(known.number))
                if card is not None:
                    _renew_card(client, known, card)
                return known, False
        with mlflow.start_run(run_id=run_id):
            logged = log_model(export, info, card)
        client.set_terminated(run_id, "FINISHED")
        if not client.search_registered_models(f"name = '{name}'"):
            client.create_registered_model(name, description="Facial expression classifier, 48x48 gray faces, 7 emotions.")
        created = client.create_model_version(
            name,
            logged.model_uri,
            run_id=run_id,
            tags={**tags, FINGERPRINT_TAG: info.fingerprint},
            description=describe(info, client.get_run(run_id), logged.model_id),
            model_id=logged.model_id,
        )
        client.set_registered_model_alias(name, alias, str(created.version))
        return _version(client.get_model_version(name, str(created.version))), True


def describing_tags(info: ModelInfo) -> dict[str, str]:
    """Return tags that tell versions apart in lists.

    Lineage, network, data, whether that is synthetic, main figures.
    """
    tags = {**info.lineage, "network": info.network, "data": info.data, "synthetic": str(info.synthetic).lower()}
    return tags | {name: f"{info.metrics[name]:.4f}" for name in ("accuracy", "macro_f1") if name in info.metrics}


def versions(name: str) -> list[Version]:
    """All versions of the registered model, oldest first; empty where there is none."""
    with clear_errors():
        found = [_version(entry) for entry in MlflowClient().search_model_versions(f"name = '{name}'")]
    return sorted(found, key=lambda version: version.number)


def by_alias(name: str, alias: str) -> Version | None:
    """The version behind an alias, or None."""
    with clear_errors():
        try:
            return _version(MlflowClient().get_model_version_by_alias(name, alias))
        except (RestException, MlflowException) as error:
            if is_missing(error):
                return None
            raise


def find(name: str, reference: str) -> Version:
    """Return the version with this number, alias or run id.

    The number is "3" or "v3"; of a run id six hex digits suffice. Raises `ModelError`, which lists what there is, for any other
    word, and where the run has several versions, or several runs begin so.
    """
    known, holders = versions(name), aliases(name)
    wanted = str(holders.get(reference, reference.removeprefix("v")))
    found = [version for version in known if str(version.number) == wanted]
    is_run = _RUN_ID.fullmatch(reference) is not None
    if not found and is_run:
        found = [version for version in known if version.run_id.startswith(reference)]
    if not found:
        listed = ", ".join([*(str(version.number) for version in known), *sorted(holders)]) or "none yet: run `fer run`"
        run = ", nor one of a run whose id begins so" if is_run else ""
        raise ModelError(f"model {name!r} has no version or alias {reference!r}{run} (there is: {listed})")
    if len(found) > 1:
        listed = ", ".join(f"{version.number} of run {version.run_id}" for version in found)
        raise ModelError(f"{reference!r} is not one version of model {name!r} but {listed}: give the number")
    return found[0]


def set_alias(version: Version, alias: str) -> None:
    """Points the alias at the version; it leaves the one it pointed at before."""
    with clear_errors():
        MlflowClient().set_registered_model_alias(version.name, alias, str(version.number))


def tag_version(version: Version, tags: Mapping[str, str]) -> None:
    """Adds tags to a version."""
    with clear_errors():
        for key, value in tags.items():
            MlflowClient().set_model_version_tag(version.name, str(version.number), key, value[:5000])


def untag_version(version: Version, key: str) -> None:
    """Remove a tag of a version, where the version has it now.

    `version.tags` may be of an earlier moment.
    """
    with clear_errors():
        for stored in stored_keys(key):
            try:
                MlflowClient().delete_model_version_tag(version.name, str(version.number), stored)
            except MlflowException as error:
                if not is_missing(error):
                    raise


def aliases(name: str) -> dict[str, int]:
    """Return the number of the version behind each alias of the model.

    Empty where there is no such model.
    """
    with clear_errors():
        found = MlflowClient().search_registered_models(f"name = '{name}'")
    return {alias: int(number) for alias, number in found[0].aliases.items()} if found else {}


def _renew_card(client: MlflowClient, version: Version, card: Path) -> None:
    stored = mlflow.artifacts.list_artifacts(artifact_uri=f"models:/{version.name}/{version.number}")
    # Until December 2026 the export lay in the folder of the model itself.
    place = EXPORT_PATH if Path(EXPORT_PATH).parts[0] in {Path(entry.path).name for entry in stored} else None
    source = str(client.get_model_version(version.name, str(version.number)).source)  # "models:/m-0a1b..."
    client.log_model_artifacts(source.rpartition("/")[2], str(card), place)


def _version(entry: ModelVersion) -> Version:
    return Version(str(entry.name), int(entry.version), str(entry.run_id), current_tags(entry.tags))
