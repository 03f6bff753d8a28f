"""Out-of-fold predictions of the training rows by K trainings."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from fer_pipeline.analysis.label_noise.folds import grouped_folds, read_groups
from fer_pipeline.config.training import TrainParams
from fer_pipeline.data.table.dataset import FaceDataset
from fer_pipeline.data.table.reader import ProcessedTable
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.metrics import classification
from fer_pipeline.metrics.calibration import fit_temperature
from fer_pipeline.training.checkpoints import discard
from fer_pipeline.training.train import recipe_key, train
from fer_pipeline.workspace.files import replaced_file, replaced_folder, write_json

PREDICTIONS_FILE = "out_of_fold.parquet"
METADATA_FILE = "out_of_fold.json"

SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("label", pa.int8(), nullable=False),  # as given
        pa.field("fold", pa.int8(), nullable=False),
        pa.field("augmented", pa.bool_(), nullable=False),
        pa.field("probabilities", pa.list_(pa.float32(), len(EMOTIONS)), nullable=False),
    ]
)


@dataclass(frozen=True)
class OutOfFold:
    """Calibrated probabilities of all training rows, each predicted out of fold.

    Arrays are ordered by id; `probabilities` is float64 (N, 7). `metadata` holds network, profile, epochs, folds, seeds,
    whether votes were learned, data, and of each fold rows, accuracy, temperature and the accuracy on validation.
    """

    ids: npt.NDArray[np.str_]
    labels: npt.NDArray[np.int64]
    folds: npt.NDArray[np.int64]
    augmented: npt.NDArray[np.bool_]
    probabilities: npt.NDArray[np.float64]
    metadata: dict[str, Any]


def predict_out_of_fold(
    processed: Path, folder: Path, params: TrainParams, *, folds: int, seed: int, on_progress: Callable[[str], None]
) -> OutOfFold:
    """Train once per fold and predict the held-out rows.

    Writes out_of_fold.parquet and out_of_fold.json into `folder`; resumes per fold and epoch. Folds keep duplicates together.
    The temperature of a fold's model is fitted on the validation split, which none of the models was trained on (early
    stopping, where the recipe has it, chooses on it). Finished folds of the same parameters, data and seed are kept;
    `on_progress` gets a line per fold. Initial model, votes, soft labels and distillation are switched off. Raises what `train`
    raises, and `DataQualityError` where there are too few groups.
    """
    params = params.with_values(
        {
            "initial_model": "none",
            "vote_share": 0.0,
            "soft_label_weight": 0.0,
            "soft_labels_hash": "none",
            "distillation_weight": 0.0,
            "teachers_hash": "none",
        }
    )  # these were made with the rows whose labels are checked
    table = ProcessedTable.open(processed)
    faces, validation = table.split("train"), table.split("validation")
    source = table.metadata["source"]
    groups, copies = read_groups(table, "train")
    numbers = grouped_folds(faces.labels, np.array([groups[row_id] for row_id in faces.ids.tolist()]), folds, seed)
    probabilities = np.zeros((len(faces), len(EMOTIONS)))
    per_fold = []
    for fold in range(folds):
        held_out = numbers == fold
        fold_metadata, probabilities[held_out] = _fold(
            folder, fold, faces.rows(~held_out), faces.rows(held_out), validation, params, on_progress
        )
        per_fold.append(fold_metadata)
    result = OutOfFold(
        ids=faces.ids,
        labels=faces.labels,
        folds=numbers,
        augmented=np.array([row_id in copies for row_id in faces.ids.tolist()]),
        probabilities=probabilities,
        metadata={
            "network": params.network,
            "profile": params.profile,
            "epochs": params.epochs,
            "folds": folds,
            "seed": seed,
            "train_seed": params.seed,
            "votes_used": params.vote_loss_weight > 0,
            "data": source["name"],
            "synthetic": bool(source["synthetic"]),
            "accuracy": float((probabilities.argmax(axis=1) == faces.labels).mean()),
            "per_fold": per_fold,
        },
    )
    _write(folder, result)
    return result


def _fold(
    folder: Path,
    fold: int,
    rest: FaceDataset,
    held_out: FaceDataset,
    validation: FaceDataset,
    params: TrainParams,
    on_progress: Callable[[str], None],
) -> tuple[dict[str, Any], npt.NDArray[np.float64]]:
    target = folder / f"fold-{fold}"
    key = f"{recipe_key(rest, validation, params)}-{held_out.fingerprint}"
    try:
        metadata: dict[str, Any] = json.loads((target / "facts.json").read_text(encoding="utf-8"))
        if metadata["key"] == key:
            on_progress(f"fold {fold}: finished earlier, accuracy {metadata['accuracy']:.4f}")
            return metadata, np.load(target / "probabilities.npy", allow_pickle=False)
        on_progress(f"fold {fold}: the result of an earlier analysis has other parameters or data, it is replaced")
    except (OSError, ValueError, KeyError):  # not finished before
        pass
    on_progress(f"fold {fold}: training on {len(rest):,} rows, without {len(held_out):,}")
    checkpoints = folder / "checkpoints"
    result = train(rest, validation, params, checkpoints)
    temperature = fit_temperature(_logits(result.network, validation), np.eye(len(EMOTIONS))[validation.labels])
    probabilities = classification.softmax(_logits(result.network, held_out), temperature)
    metadata = {
        "key": key,
        "rows": len(held_out),
        "accuracy": float((probabilities.argmax(axis=1) == held_out.labels).mean()),
        "val_accuracy": result.best["val_accuracy"],
        "temperature": temperature,
        "seconds": round(result.seconds, 1),
    }
    with replaced_folder(target) as aside:
        np.save(aside / "probabilities.npy", probabilities)
        write_json(aside / "facts.json", metadata)
    discard(checkpoints)
    on_progress(f"fold {fold}: accuracy {metadata['accuracy']:.4f} out of fold, {metadata['val_accuracy']:.4f} on validation")
    return metadata, probabilities


def _logits(network: Any, faces: FaceDataset) -> npt.NDArray[np.float32]:
    logits: npt.NDArray[np.float32] = network.predict(faces.images, batch_size=256, verbose=0)
    return logits


def _write(folder: Path, result: OutOfFold) -> None:
    table = pa.table(
        {
            "id": result.ids.tolist(),
            "label": result.labels.astype(np.int8),
            "fold": result.folds.astype(np.int8),
            "augmented": result.augmented,
            "probabilities": result.probabilities.astype(np.float32).tolist(),
        },
        schema=SCHEMA,
    )
    with replaced_file(folder / PREDICTIONS_FILE) as aside:
        pq.write_table(table, aside)
    write_json(folder / METADATA_FILE, result.metadata)
