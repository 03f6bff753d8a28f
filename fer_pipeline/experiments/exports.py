"""Exported models of registered versions, downloaded once per process."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Final

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from fer_pipeline.data.table.training_images import ImageHashes, read_training_images
from fer_pipeline.errors import ModelError
from fer_pipeline.experiments.mlflow_store import clear_errors
from fer_pipeline.experiments.records import EXPORT_PATH
from fer_pipeline.experiments.registry import Version
from fer_pipeline.model_info import CARD_FILE, INFO_FILE, ModelInfo

_downloaded: Final[dict[tuple[str, str, int], Path]] = {}


def local_export(version: Version) -> Path:
    """Return the exported folder of a version, downloaded once per process.

    It holds model.onnx, model.json and what else was exported. The folder is to be read, not changed; it is removed when the
    process ends. The model card lies in it where the version has one. Raises `ModelError` where the model is missing or
    damaged.
    """
    key = (mlflow.get_registry_uri(), version.name, version.number)
    if key not in _downloaded or not _downloaded[key].is_dir():
        folder = _download(version, Path(tempfile.mkdtemp(dir=_scratch().name)))
        ModelInfo.read(folder)
        _downloaded[key] = folder
    return _downloaded[key]


def training_images(version: Version) -> ImageHashes | None:
    """Return the hashes of the images that the version was trained on.

    None where its export holds no list.
    """
    return read_training_images(local_export(version))


@cache
def _scratch() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="fer-exports-")


def _download(version: Version, target: Path) -> Path:
    address = f"models:/{version.name}/{version.number}"
    with clear_errors():
        try:
            stored = {Path(entry.path).name for entry in mlflow.artifacts.list_artifacts(artifact_uri=address)}
            # Until December 2026 the export lay in the folder of the model itself.
            place = f"{address}/{EXPORT_PATH}" if "artifacts" in stored else address if INFO_FILE in stored else None
            if place is not None:
                return Path(mlflow.artifacts.download_artifacts(artifact_uri=place, dst_path=str(target)))
            # Until November 2026 the export lay in a folder of the run beside the model, and the card in another one.
            folder = mlflow.artifacts.download_artifacts(run_id=version.run_id, artifact_path="export", dst_path=str(target))
        except (MlflowException, OSError) as error:
            raise ModelError(f"{version} has no exported model in its run {version.run_id}: {error}") from error
        _download_earlier_card(version, Path(folder), f"{address}/{CARD_FILE}" if CARD_FILE in stored else None)
    return Path(folder)


def _download_earlier_card(version: Version, folder: Path, newer: str | None) -> None:
    path = f"card/{CARD_FILE}"
    if newer is None and not any(entry.path == path for entry in MlflowClient().list_artifacts(version.run_id, "card")):
        return
    address = newer or f"runs:/{version.run_id}/{path}"
    card = mlflow.artifacts.download_artifacts(artifact_uri=address, dst_path=str(folder.parent / "card"))
    Path(card).replace(folder / CARD_FILE)
