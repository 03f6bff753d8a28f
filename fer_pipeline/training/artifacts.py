"""Read and write the folder of a trained model.

It holds model.keras, history.csv, training.json and training_pictures.npy.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from fer_pipeline.config.base import fingerprint
from fer_pipeline.config.training import TrainParams
from fer_pipeline.data.table.training_images import ImageHashes, write_training_images
from fer_pipeline.errors import ModelError
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.workspace.files import replaced_folder, write_json

KERAS_FILE = "model.keras"
HISTORY_FILE = "history.csv"
TRAINING_FILE = "training.json"


@dataclass(frozen=True)
class TrainingResult:
    """A trained network with its history.

    `network` computes in float32 and takes 48 px pictures. `history` has one entry per measured epoch: epoch (from 1), loss and
    accuracy on augmented training images, val_loss (plain cross-entropy), val_accuracy, val_macro_f1, lr (of the last step),
    size (side of the images, in pixels), seconds. The network has the weights of `best_epoch`: the last one, or with early
    stopping the one of the best val_accuracy. `seconds` counts killed runs too, `images_per_second` and `device` (as
    `devices.hardware` names it) are of this process alone.
    """

    network: keras.Model
    history: list[dict[str, float]]
    best_epoch: int
    backend: str
    device: str
    images_per_second: float
    seconds: float
    resumed_after: int
    key: str

    @property
    def best(self) -> dict[str, float]:
        """The metrics of the epoch whose weights the network has."""
        return next(figures for figures in self.history if figures["epoch"] == self.best_epoch)

    @property
    def summary(self) -> str:
        """Network, duration and validation metrics in one line."""
        best = self.best
        return (
            f"{self.network.name}: {self.history[-1]['epoch']:.0f} epochs in {self.seconds:,.0f} s on {self.backend}, "
            f"validation accuracy {best['val_accuracy']:.4f}, macro-F1 {best['val_macro_f1']:.4f}"
        )


def write_model(
    out: Path,
    result: TrainingResult,
    params: TrainParams,
    metadata: dict[str, Any],
    training_images: ImageHashes,
    *,
    run_id: str | None,
) -> None:
    """Replace the folder `out` by the trained model.

    `metadata` is that of the processed table, `training_images` the hashes of its training images. The checkpoint stays: the
    caller calls `checkpoints.discard` once all that belongs to the training is stored.
    """
    with replaced_folder(out) as folder:
        result.network.save(folder / KERAS_FILE)
        with (folder / HISTORY_FILE).open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, fieldnames=list(result.history[0]))
            writer.writeheader()
            writer.writerows(result.history)
        training = {
            "network": params.network,
            "profile": params.profile,
            "params": params.model_dump(mode="json"),
            "fingerprint": fingerprint(params),
            "key": result.key,
            "backend": result.backend,
            "device": result.device,
            "keras_version": keras.__version__,
            "parameters": result.network.count_params(),
            "epochs": int(result.history[-1]["epoch"]),
            "best_epoch": result.best_epoch,
            "seconds": round(result.seconds, 1),
            "images_per_second": round(result.images_per_second, 1),
            "labels": list(EMOTIONS),
            "image_spec": metadata["image_spec"],
            "synthetic": bool(metadata["source"]["synthetic"]),
            "source": metadata["source"]["name"],
            "run_id": run_id,
        }
        write_json(folder / TRAINING_FILE, training)
        write_training_images(folder, training_images)


def read_model(folder: Path) -> keras.Model:
    """Load the trained network, without its optimizer. Raises `ModelError`."""
    path = folder / KERAS_FILE
    if not path.is_file():
        raise ModelError(f"{path} is missing: run `fer train` first")
    try:
        return keras.models.load_model(path, compile=False, safe_mode=True)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ModelError(f"{path} cannot be loaded: {error}; train again") from error


def read_training(folder: Path) -> dict[str, Any]:
    """Read training.json; `params` has the keys of today, whichever version wrote it.

    Raises `ModelError` where it is missing, damaged, or for other labels.
    """
    path = folder / TRAINING_FILE
    try:
        training: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read: {error}; run `fer train` first") from error
    if tuple(training.get("labels", ())) != EMOTIONS:
        raise ModelError(f"{path} has labels {training.get('labels')}, this code expects {EMOTIONS}: train again")
    return training | {"params": TrainParams.with_current_keys(training.get("params", {}))}


def read_history(folder: Path) -> list[dict[str, float]]:
    """Read the metrics of each epoch. Raises `ModelError`."""
    path = folder / HISTORY_FILE
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(stream)]
    except (OSError, ValueError, TypeError) as error:
        raise ModelError(f"{path} cannot be read: {error}; run `fer train` first") from error
