"""MLflow's registry: the versions of the model, their aliases, and the exported folder of each."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

import mlflow
import mlflow.onnx
import numpy as np
import onnx
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException, RestException
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec

from fer_pipeline.data.table.training_images import ImageHashes, read_training_images
from fer_pipeline.errors import ModelError
from fer_pipeline.experiments.legacy_tags import current_tags, stored_keys
from fer_pipeline.experiments.mlflow_store import clear_errors, is_missing
from fer_pipeline.imaging import FACE_SIZE
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.model_info import CARD_FILE, MODEL_FILE, TRAINING_IMAGES_FILE, ModelInfo

CHAMPION = "champion"
CHALLENGER = "challenger"
BASELINE = "baseline"
FINGERPRINT_TAG = "fingerprint"
BUNDLE_TAG, PROMOTED_TAG, ROLLED_BACK_TAG = "bundle", "promoted_at", "rolled_back_at"
"""Tags of a version: its BentoML bundle, and when it last became champion or was rolled back (ISO 8601, UTC)."""

_RUN_ID = re.compile("[0-9a-f]{6,32}")  # or the beginning of one; `fer status` shows eight digits


@dataclass(frozen=True)
class Version:
    """One version of the registered model."""

    name: str
    number: int
    run_id: str
    tags: Mapping[str, str]

    def __str__(self) -> str:
        return f"{self.name} version {self.number}"


def register(
    export: Path, info: ModelInfo, name: str, run_id: str, tags: Mapping[str, str], alias: str = CHALLENGER
) -> tuple[Version, bool]:
    """The registered version of an exported model, under the alias, and whether it is new.

    A model with the same `ModelInfo.fingerprint` is registered once only. The version carries signature, input example and
    `tags`; the folder `export` is stored in the run.
    """
    with clear_errors():
        client = MlflowClient()
        for known in versions(name):
            if known.tags.get(FINGERPRINT_TAG) == info.fingerprint:
                client.set_registered_model_alias(name, alias, str(known.number))
                return known, False
        client.log_artifacts(run_id, str(export), "export")
        with mlflow.start_run(run_id=run_id):
            logged = mlflow.onnx.log_model(
                onnx.load(export / MODEL_FILE),
                name="model",
                signature=_signature(),
                input_example=np.full((1, FACE_SIZE, FACE_SIZE, 1), 128, dtype=np.uint8),
                pip_requirements=["onnxruntime", "numpy"],
                onnx_execution_providers=["CPUExecutionProvider"],
                save_as_external_data=False,
            )
        client.set_terminated(run_id, "FINISHED")
        if not client.search_registered_models(f"name = '{name}'"):
            client.create_registered_model(name, description="Facial expression classifier, 48x48 gray faces, 7 emotions.")
        created = client.create_model_version(
            name, logged.model_uri, run_id=run_id, tags={**tags, FINGERPRINT_TAG: info.fingerprint}, model_id=logged.model_id
        )
        client.set_registered_model_alias(name, alias, str(created.version))
        return _version(client.get_model_version(name, str(created.version))), True


def describing_tags(info: ModelInfo) -> dict[str, str]:
    """Tags by which versions are told apart in lists: lineage, network, data, whether that is synthetic, main figures."""
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
    """The version with this number ("3", "v3") or alias, or of the run whose id begins so, from six hex digits on.

    Raises `ModelError`, which lists what there is, for any other word, and where the run has several versions, or several runs
    begin so.
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
    """Removes a tag of a version, where it has it now, whatever `version.tags` says of an earlier moment."""
    with clear_errors():
        for stored in stored_keys(key):
            try:
                MlflowClient().delete_model_version_tag(version.name, str(version.number), stored)
            except MlflowException as error:
                if not is_missing(error):
                    raise


def aliases(name: str) -> dict[str, int]:
    """Number of the version behind each alias of the registered model; empty where there is no such model."""
    with clear_errors():
        found = MlflowClient().search_registered_models(f"name = '{name}'")
    return {alias: int(number) for alias, number in found[0].aliases.items()} if found else {}


def address(version: Version) -> str | None:
    """The version's page on the MLflow server; None where the registry is no server."""
    parts = urlsplit(mlflow.get_registry_uri())
    if parts.scheme not in ("http", "https"):
        return None
    host = parts.netloc.rpartition("@")[2]  # without a password
    return f"{parts.scheme}://{host}{parts.path.rstrip('/')}/#/models/{quote(version.name)}/versions/{version.number}"


def download_export(version: Version, target: Path) -> Path:
    """Folder with the exported model of a version (model.onnx, model.json, ...), checked by `ModelInfo.read`.

    The model card lies in it, too, where the run has one.
    """
    with clear_errors():
        try:
            folder = mlflow.artifacts.download_artifacts(run_id=version.run_id, artifact_path="export", dst_path=str(target))
        except (MlflowException, OSError) as error:
            raise ModelError(f"{version} has no exported model in its run {version.run_id}: {error}") from error
    ModelInfo.read(Path(folder))
    with clear_errors():
        if any(entry.path == f"card/{CARD_FILE}" for entry in MlflowClient().list_artifacts(version.run_id, "card")):
            card = mlflow.artifacts.download_artifacts(
                run_id=version.run_id, artifact_path=f"card/{CARD_FILE}", dst_path=str(target)
            )
            Path(card).replace(Path(folder) / CARD_FILE)
    return Path(folder)


def training_images(version: Version) -> ImageHashes | None:
    """What the version learned from; None where its export holds no list."""
    with clear_errors(), tempfile.TemporaryDirectory() as scratch:
        file = f"export/{TRAINING_IMAGES_FILE}"
        if not any(entry.path == file for entry in MlflowClient().list_artifacts(version.run_id, "export")):
            return None
        found = mlflow.artifacts.download_artifacts(run_id=version.run_id, artifact_path=file, dst_path=scratch)
        return read_training_images(Path(found).parent)


def _signature() -> ModelSignature:
    return ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(np.uint8), (-1, FACE_SIZE, FACE_SIZE, 1), "image")]),
        outputs=Schema([TensorSpec(np.dtype(np.float32), (-1, len(EMOTIONS)), "logits")]),
    )


def _version(entry: ModelVersion) -> Version:
    return Version(str(entry.name), int(entry.version), str(entry.run_id), current_tags(entry.tags))
