"""Metadata of an exported model: `model.json` beside `model.onnx`."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from fer_pipeline.errors import ModelError
from fer_pipeline.imaging import ImageSpec, UInt8Array
from fer_pipeline.labels import EMOTIONS

MODEL_FILE = "model.onnx"
CARD_FILE = "model_card.html"
"""The model card, where the folder of a model has one."""

INFO_FILE = "model.json"

TRAINING_IMAGES_FILE = "training_pictures.npy"
"""Hashes of the training images, beside the weights where they are known.

The file keeps the name of earlier versions: registered exports, bundles and pretrained models hold it.
"""

Predict = Callable[[UInt8Array], npt.NDArray[np.float64]]
"""From model inputs uint8 (N, 48, 48, 1) to probabilities float64 (N, 7)."""

OPSET = 17
"""ONNX opset of every exported model: an ensemble needs members of one."""


@dataclass(frozen=True)
class ModelInfo:
    """Metadata of an exported model, stored beside its weights.

    The network eats uint8 (N, 48, 48, 1) and returns float32 logits (N, 7); probabilities are softmax(logits / temperature).
    `synthetic` is true for a model trained on generated faces, which is for trying the pipeline and not for real pictures.
    `lineage` names run id, data version, git commit and the like; `metrics` holds the figures of evaluate on the test split.
    `precision` is what convolutions compute in.
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
    precision: Literal["float32", "int8"] = "float32"

    def __post_init__(self) -> None:
        if self.labels != EMOTIONS:
            raise ModelError(f"model has labels {self.labels}, this code expects {EMOTIONS}: retrain or re-export it")
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise ModelError(f"model has temperature {self.temperature}, expected a positive number: export it again")

    @property
    def name(self) -> str:
        """Version in the registry, name of a pretrained model, or network.

        "fer/3", "fast", "compact"; "fer/1 (drawn faces)" where it was trained on generated faces, so that each answer says it.
        """
        name = self.lineage.get("shipped_as", self.network)
        if "name" in self.lineage and "version" in self.lineage:
            name = f"{self.lineage['name']}/{self.lineage['version']}"
        return f"{name} (drawn faces)" if self.synthetic else name

    @property
    def fingerprint(self) -> str:
        """First 12 hex digits of a SHA-256 of weights, temperature, labels and image spec."""
        parts = [self.sha256, self.temperature, self.labels, self.image_spec.fingerprint]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]

    def check_image_spec(self, metadata: Mapping[str, Any], *, model: object, table: object) -> None:
        """Check that a processed table holds the images that the model expects.

        `metadata` is that of the table; `model` and `table` name both in the error. Raises `ModelError`.
        """
        expected = self.image_spec.table_values()
        found = {name: value for name, value in metadata["image_spec"].items() if name != "detector"}
        if found != expected:
            raise ModelError(
                f"{model} expects image spec {expected}, {table} holds {found}: preprocess again with the values of the "
                "model, or choose another model"
            )

    def check_table(self, metadata: Mapping[str, Any], *, model: object, table: object) -> None:
        """Check image spec and kind of faces, generated or real, of a processed table.

        `metadata` is that of the table; `model` and `table` name both in the error. Raises `ModelError`.
        """
        self.check_image_spec(metadata, model=model, table=table)
        synthetic = bool(metadata["source"]["synthetic"])
        if synthetic != self.synthetic:
            kinds = {True: "generated", False: "real"}
            raise ModelError(
                f"{model} was trained on {kinds[self.synthetic]} faces, {table} holds {kinds[synthetic]} ones: make the data "
                "of the model the source again (`fer data add`, `dvc repro preprocess`), or choose another model"
            )

    def write(self, folder: Path) -> None:
        """Write `model.json` into the folder."""
        (folder / INFO_FILE).write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> ModelInfo:
        """Read the metadata in the folder and check it against `model.onnx` beside it.

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
    """Compute the SHA-256 of a file in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
