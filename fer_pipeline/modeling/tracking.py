"""MLflow: the run of a training, its figures, and the versions of the registered model. The only module that imports mlflow.

The tracking store is MLflow's own default (`sqlite:///mlflow.db` in the working directory) unless
MLFLOW_TRACKING_URI names another.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import mlflow.data.numpy_dataset
import mlflow.onnx
import numpy as np
import onnx
from mlflow import MlflowClient
from mlflow.entities import DatasetInput, InputTag
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException, RestException
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec
from sqlalchemy.exc import OperationalError

from fer_pipeline.errors import EnvironmentFault, FerError, ModelError
from fer_pipeline.imaging import FACE_SIZE, UInt8Array
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.model_info import MODEL_FILE, ModelInfo
from fer_pipeline.outputs import write_json

EXPERIMENT = "fer"
CHAMPION = "champion"
CHALLENGER = "challenger"
FINGERPRINT_TAG = "fingerprint"


@dataclass(frozen=True)
class Version:
    """One version of the registered model."""

    name: str
    number: int
    run_id: str
    tags: Mapping[str, str]

    def __str__(self) -> str:
        return f"{self.name} version {self.number}"


def open_training_run(memo: Path, name: str, params: Mapping[str, Any], tags: Mapping[str, str]) -> str:
    """Id of the MLflow run of this training: the one a killed training with the same tags left in `memo`, or a new one.

    `params` is logged flat ("train.lr"), `tags` as they are.
    """
    with _clear_errors():
        client = MlflowClient()
        run_id = _unfinished_run(client, memo, tags)
        if run_id is None:
            experiment = mlflow.set_experiment(EXPERIMENT)
            run = client.create_run(experiment.experiment_id, run_name=name, tags=dict(tags))
            run_id = str(run.info.run_id)
            with mlflow.start_run(run_id=run_id):
                mlflow.log_params(flatten(params))
            write_json(memo, {"run_id": run_id, "tags": dict(tags)})
        client.update_run(run_id, status="RUNNING")
    return run_id


def close_training_run(memo: Path, run_id: str, files: list[Path]) -> None:
    """Marks the training as finished, stores its files, and forgets the memo."""
    with _clear_errors():
        for file in files:
            MlflowClient().log_artifact(run_id, str(file), "training")
        MlflowClient().set_terminated(run_id, "FINISHED")
    memo.unlink(missing_ok=True)


def fail_run(run_id: str, reason: str) -> None:
    """Marks a run as failed, with the reason as a tag."""
    with _clear_errors():
        MlflowClient().set_tag(run_id, "failure", reason[:5000])
        MlflowClient().set_terminated(run_id, "FAILED")


def log_data_set(run_id: str, split: str, images: UInt8Array, labels: Any, name: str, digest: str) -> None:
    """Records which data the run was trained on or measured on."""
    with _clear_errors():
        data = mlflow.data.numpy_dataset.from_numpy(
            images, targets=labels, source="data/processed", name=f"{name}-{split}", digest=digest[:32]
        )
        used = DatasetInput(data._to_mlflow_entity(), [InputTag("mlflow.data.context", split)])
        MlflowClient().log_inputs(run_id, [used])


def log_metrics(run_id: str, metrics: Mapping[str, float], step: int | None = None) -> None:
    """Logs figures; `step` is the epoch, counted from 1."""
    with _clear_errors():
        mlflow.log_metrics(dict(metrics), step=step, run_id=run_id)


def log_files(run_id: str, folder: Path, place: str) -> None:
    """Stores all files of a folder under `place` of the run."""
    with _clear_errors():
        MlflowClient().log_artifacts(run_id, str(folder), place)


def ensure_run(run_id: str | None, name: str, tags: Mapping[str, str]) -> str:
    """The run where this tracking store knows it; else a new one tagged `restored` (a model that came through DVC's cache)."""
    with _clear_errors():
        client = MlflowClient()
        if run_id is not None and _exists(client, run_id):
            return run_id
        experiment = mlflow.set_experiment(EXPERIMENT)
        restored = client.create_run(experiment.experiment_id, run_name=name, tags={**tags, "restored": run_id or "unknown"})
        client.set_terminated(restored.info.run_id, "FINISHED")
        return str(restored.info.run_id)


def register(export: Path, info: ModelInfo, name: str, run_id: str, tags: Mapping[str, str]) -> tuple[Version, bool]:
    """The registered version of an exported model, under the alias challenger, and whether it is new.

    A model with the same `ModelInfo.fingerprint` is registered once only. The version carries signature, input example and
    `tags`; the folder `export` is stored in the run.
    """
    with _clear_errors():
        client = MlflowClient()
        for known in versions(name):
            if known.tags.get(FINGERPRINT_TAG) == info.fingerprint:
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
        client.set_registered_model_alias(name, CHALLENGER, str(created.version))
        return _version(client.get_model_version(name, str(created.version))), True


def versions(name: str) -> list[Version]:
    """All versions of the registered model, oldest first; empty where there is none."""
    with _clear_errors():
        found = [_version(entry) for entry in MlflowClient().search_model_versions(f"name = '{name}'")]
    return sorted(found, key=lambda version: version.number)


def by_alias(name: str, alias: str) -> Version | None:
    """The version behind an alias, or None."""
    with _clear_errors():
        try:
            return _version(MlflowClient().get_model_version_by_alias(name, alias))
        except (RestException, MlflowException) as error:
            if _is_missing(error):
                return None
            raise


def set_alias(version: Version, alias: str) -> None:
    """Points the alias at the version; it leaves the one it pointed at before."""
    with _clear_errors():
        MlflowClient().set_registered_model_alias(version.name, alias, str(version.number))


def tag_version(version: Version, tags: Mapping[str, str]) -> None:
    """Adds tags to a version."""
    with _clear_errors():
        for key, value in tags.items():
            MlflowClient().set_model_version_tag(version.name, str(version.number), key, value[:5000])


def untag_version(version: Version, key: str) -> None:
    """Removes a tag of a version, where it has it."""
    if key in version.tags:
        with _clear_errors():
            MlflowClient().delete_model_version_tag(version.name, str(version.number), key)


def aliases(name: str) -> dict[str, int]:
    """Number of the version behind each alias of the registered model; empty where there is no such model."""
    with _clear_errors():
        found = MlflowClient().search_registered_models(f"name = '{name}'")
    return {alias: int(number) for alias, number in found[0].aliases.items()} if found else {}


def download_export(version: Version, target: Path) -> Path:
    """Folder with the exported model of a version (model.onnx, model.json, ...), checked by `ModelInfo.read`."""
    with _clear_errors():
        try:
            folder = mlflow.artifacts.download_artifacts(run_id=version.run_id, artifact_path="export", dst_path=str(target))
        except (MlflowException, OSError) as error:
            raise ModelError(f"{version} has no exported model in its run {version.run_id}: {error}") from error
    ModelInfo.read(Path(folder))
    return Path(folder)


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"train": {"lr": 0.1}} as {"train.lr": 0.1}."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _signature() -> ModelSignature:
    return ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(np.uint8), (-1, FACE_SIZE, FACE_SIZE, 1), "image")]),
        outputs=Schema([TensorSpec(np.dtype(np.float32), (-1, len(EMOTIONS)), "logits")]),
    )


def _unfinished_run(client: MlflowClient, memo: Path, tags: Mapping[str, str]) -> str | None:
    try:
        facts = json.loads(memo.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    same = isinstance(facts, dict) and facts.get("tags") == dict(tags)
    return str(facts["run_id"]) if same and _exists(client, facts["run_id"]) else None


def _exists(client: MlflowClient, run_id: str) -> bool:
    try:
        client.get_run(run_id)
    except MlflowException as error:
        if _is_missing(error):
            return False
        raise
    return True


def _is_missing(error: MlflowException) -> bool:
    return error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


def _version(entry: ModelVersion) -> Version:
    return Version(str(entry.name), int(entry.version), str(entry.run_id), dict(entry.tags))


@contextmanager
def _clear_errors() -> Iterator[None]:
    try:
        yield
    except FerError:
        raise
    except (MlflowException, OperationalError) as error:
        if "database is locked" in str(error):
            raise EnvironmentFault(
                "MLflow's SQLite database is locked by another process: wait for it or close it, then run again; "
                "finished stages are kept, and a training resumes at its last epoch"
            ) from error
        raise FerError(f"MLflow at {mlflow.get_tracking_uri()} failed: {error}") from error
