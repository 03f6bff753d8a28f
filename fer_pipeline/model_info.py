"""What an exported model says of itself: `model.json` beside `model.onnx`. Written by export, read wherever a model is loaded."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fer_pipeline.errors import ModelError
from fer_pipeline.imaging import ImageSpec, UInt8Array
from fer_pipeline.labels import EMOTIONS

MODEL_FILE = "model.onnx"
CARD_FILE = "model_card.html"
"""The model card, where the folder of a model has one."""

INFO_FILE = "model.json"

TRAINING_PICTURES_FILE = "training_pictures.npy"
"""Beside the weights, where it is known, what they learned from; see modeling/training_pictures.py."""

Predict = Callable[[UInt8Array], npt.NDArray[np.float64]]
"""What a model is to those who only ask it: from model inputs uint8 (N, 48, 48, 1) to calibrated probabilities (N, 7)."""

OPSET = 17
"""ONNX opset of every exported model: an ensemble needs members of one."""


@dataclass(frozen=True)
class ModelInfo:
    """Facts that must travel with the weights.

    The network eats uint8 (N, 48, 48, 1) and returns float32 logits (N, 7); probabilities are softmax(logits / temperature).
    `synthetic` is true for a model trained on generated faces, which is for trying the pipeline and not for real pictures.
    `lineage` names run id, data version, git commit and the like; `metrics` holds the figures of evaluate on the test split.
    """

    network: str
    sha256: str
    temperature: float
    image_spec: ImageSpec
    synthetic: bool
    data: str
    labels: tuple[str, ...] = EMOTIONS
    lineage: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.labels != EMOTIONS:
            raise ModelError(f"model has labels {self.labels}, this code expects {EMOTIONS}: retrain or re-export it")
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise ModelError(f"model has temperature {self.temperature}, expected a positive number: export it again")

    @property
    def fingerprint(self) -> str:
        """First 12 hex digits of the SHA-256 of all that decides an answer: weights, temperature, labels and image spec."""
        facts = [self.sha256, self.temperature, self.labels, self.image_spec.fingerprint]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]

    def write(self, folder: Path) -> None:
        """Writes `model.json` into the folder."""
        (folder / INFO_FILE).write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> ModelInfo:
        """The facts in the folder, checked against `model.onnx` beside them.

        Raises `ModelError` where a file is missing or damaged, the hash differs, or labels or image spec do not fit.
        """
        try:
            values: dict[str, Any] = json.loads((folder / INFO_FILE).read_text(encoding="utf-8"))
            found = file_sha256(folder / MODEL_FILE)
        except FileNotFoundError as error:
            raise ModelError(f"no exported model in {folder}: {error.filename} is missing; train one with `fer run`") from error
        except (OSError, ValueError) as error:
            raise ModelError(f"{folder / INFO_FILE} cannot be read: {error}; export the model again") from error
        if not isinstance(values, dict) or not isinstance(values.get("image_spec"), dict):
            raise ModelError(f"{folder / INFO_FILE} is no model description; export the model again with `fer export`")
        values["image_spec"] = ImageSpec.from_dict(values["image_spec"])
        values["labels"] = tuple(values.get("labels", ()))
        try:
            info = cls(**values)
        except TypeError as error:
            raise ModelError(f"{folder / INFO_FILE} does not fit this code: {error}; export the model again") from error
        if found != info.sha256:
            raise ModelError(
                f"{folder / MODEL_FILE} has SHA-256 {found}, {INFO_FILE} says {info.sha256}: the file was changed or damaged"
            )
        return info


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's content in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
