"""Online distillation: teacher networks that run on each training batch.

Beyer et al. 2022, arXiv 2106.05237: a student learns most from a teacher that sees the same augmented, mixed views. Answers that
were stored beforehand are soft labels (data/table/soft_labels.py).
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
from keras import ops

from fer_pipeline.errors import ModelError, ParamsError
from fer_pipeline.model_info import INFO_FILE, ModelInfo, file_sha256
from fer_pipeline.training.artifacts import KERAS_FILE, read_model
from fer_pipeline.workspace.files import replaced_folder, write_json

TEMPERATURE_FILE = "temperature.json"


class DistillationLoss(keras.layers.Layer):
    """Return logits unchanged; in training add a distillation loss.

    The loss is `weight` times the cross-entropy of the student's logits with the mean of the teachers' probabilities. The layer
    is called with the augmented uint8 images (N, 48, 48, 1) and the student's logits (N, 7). `teachers` are networks, each with
    its temperature; their weights do not change.
    """

    def __init__(self, teachers: Sequence[tuple[keras.Model, float]], weight: float) -> None:
        super().__init__(dtype="float32")
        self.networks = [network for network, _ in teachers]
        for network in self.networks:
            network.trainable = False
        self.temperatures = [temperature for _, temperature in teachers]
        self.weight = weight

    def call(self, images: Any, logits: Any, training: bool | None = None) -> Any:
        """Return the logits (N, 7)."""
        if training:
            answers = [
                ops.softmax(ops.cast(network(images, training=False), "float32") / temperature)
                for network, temperature in zip(self.networks, self.temperatures, strict=True)
            ]
            mean = ops.stop_gradient(sum(answers[1:], answers[0]) / len(answers))
            losses = ops.categorical_crossentropy(mean, logits, from_logits=True)
            self.add_loss(self.weight * ops.mean(losses))
        return logits

    def compute_output_shape(self, images_shape: Any, logits_shape: Any) -> Any:
        return logits_shape


def store_teachers(folder: Path, models: Mapping[str, Path]) -> str:
    """Replace `folder` by the Keras networks of models; return their fingerprint.

    `models` are folders by name.

    Each network is stored with its temperature: the one in model.json, or 1 for a model that was not exported. Raises
    `ParamsError` where no model is given, `ModelError` where one has no model.keras.
    """
    if not models:
        raise ParamsError("no teacher was given: name at least one model")
    with replaced_folder(folder) as aside:
        for name, source in sorted(models.items()):
            if not (source / KERAS_FILE).is_file():
                raise ModelError(f"{name} has no {KERAS_FILE} in {source}, which a teacher needs: choose a trained model")
            target = aside / name.replace("/", "-")
            target.mkdir()
            shutil.copyfile(source / KERAS_FILE, target / KERAS_FILE)
            temperature = ModelInfo.read(source).temperature if (source / INFO_FILE).is_file() else 1.0
            write_json(target / TEMPERATURE_FILE, temperature)
    return teachers_fingerprint(folder)


def teachers_fingerprint(folder: Path) -> str:
    """Compute 12 hex digits that are equal for equal files of equal names.

    Raises `ModelError` where the folder holds no teacher.
    """
    files = sorted(folder.glob("*/*"))
    if not any(file.name == KERAS_FILE for file in files):
        raise ModelError(f"{folder} holds no teacher: run `fer distill --online MODELS`, or `dvc pull` where others stored them")
    parts = [f"{file.relative_to(folder)} {file_sha256(file)}" for file in files]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def load_teachers(folder: Path, fingerprint: str, *, mixed_precision: bool) -> list[tuple[keras.Model, float]]:
    """Load the teachers in `folder`; with `mixed_precision` they compute in bfloat16.

    Raises `ParamsError` for the fingerprint "none", `ModelError` where the folder holds none or has another fingerprint.
    """
    if fingerprint == "none":
        raise ParamsError(
            "train.distillation_weight is above 0, but train.teachers_hash does not name the teachers: run "
            "`fer distill --online MODELS`, or set distillation_weight to 0"
        )
    found = teachers_fingerprint(folder)
    if found != fingerprint:
        raise ModelError(
            f"{folder} has fingerprint {found}, train.teachers_hash is {fingerprint}: run `fer distill --online MODELS` again, "
            "or `dvc checkout` the teachers that the recipe names"
        )
    teachers = []
    for path in sorted(file.parent for file in folder.glob(f"*/{KERAS_FILE}")):
        network = read_model(path)
        temperature = float((path / TEMPERATURE_FILE).read_text(encoding="utf-8"))
        teachers.append((_in_bfloat16(network) if mixed_precision else network, temperature))
    return teachers


def _in_bfloat16(network: keras.Model) -> keras.Model:
    last = network.layers[-1].name  # its logits stay in float32, as `networks.zoo.build` has it

    def clone(layer: keras.layers.Layer) -> keras.layers.Layer:
        dtype = layer.dtype_policy if layer.name == last else keras.dtype_policies.DTypePolicy("mixed_bfloat16")
        return type(layer).from_config({**layer.get_config(), "dtype": dtype})

    copy = keras.models.clone_model(network, clone_function=clone, recursive=True)
    copy.set_weights(network.get_weights())
    return copy
