"""Log an exported model to a run as a model that MLflow alone can load."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import mlflow.pyfunc
import numpy as np
from mlflow.models import ModelSignature
from mlflow.models.model import ModelInfo as LoggedModel
from mlflow.types import ColSpec, DataType, Schema, TensorSpec

import fer_pipeline
from fer_pipeline.experiments.records import EXPORT
from fer_pipeline.imaging import FACE_SIZE
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.model_info import ModelInfo

CODE: Final = (
    "__init__.py",
    "errors.py",
    "labels.py",
    "model_info.py",
    "imaging/__init__.py",
    "imaging/decoding.py",
    "imaging/jpeg_scans.py",
    "inference/__init__.py",
    "inference/classifier.py",
)
"""Modules that a model needs where the package is not installed."""

REQUIREMENTS: Final = ("numpy", "onnxruntime", "opencv-python-headless", "pandas", "pillow")

_SCRIPT: Final = Path(__file__).with_name("face_model.py")


def log_model(export: Path, info: ModelInfo, card: Path | None) -> LoggedModel:
    """Log the model to the active run; return what MLflow knows of it.

    It is the folder `export` with that of the card, `face_model.py` and the modules of `CODE`, signature, an input example, and
    the requirements in the versions of today. Its metadata hold labels, temperature and image spec.
    """
    with tempfile.TemporaryDirectory(prefix="fer-model-") as scratch:
        staged = {name: Path(scratch) / name for name in (EXPORT, "code")}
        for folder in (export, *([card] if card else [])):
            shutil.copytree(folder, staged[EXPORT], dirs_exist_ok=True)
        package = Path(fer_pipeline.__file__).parent
        for module in CODE:
            target = staged["code"] / package.name / module
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(package / module, target)
        logged: LoggedModel = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(_SCRIPT),
            artifacts={name: path.as_uri() for name, path in staged.items()},
            signature=_signature(),
            input_example=np.full((1, FACE_SIZE, FACE_SIZE, 1), 128, dtype=np.uint8),
            pip_requirements=[f"{name}=={version(name)}" for name in REQUIREMENTS],
            metadata=metadata(info),
        )
    return logged


def metadata(info: ModelInfo) -> dict[str, Any]:
    """Return what the model says of itself in MLflow."""
    return {
        "labels": list(info.labels),
        "temperature": info.temperature,
        "image_spec": asdict(info.image_spec),
        "network": info.network,
        "fingerprint": info.fingerprint,
        "synthetic": info.synthetic,
    }


def _signature() -> ModelSignature:
    return ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(np.uint8), (-1, -1, -1, -1))]),
        outputs=Schema([ColSpec(DataType.double, emotion) for emotion in EMOTIONS]),
    )
