"""Stored soft labels of the training rows.

Each is a probability distribution that the target of the row is mixed with.

They come from a teacher (`fer distill --offline`) or from models that never saw the row (`fer label-noise --soft-label-weight`).
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from fer_pipeline.config.training import TrainParams
from fer_pipeline.data.table.dataset import FaceDataset
from fer_pipeline.data.table.reader import ProcessedTable
from fer_pipeline.errors import ParamsError, SourceError
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.workspace.files import replaced_folder, write_json

SOFT_LABELS_FILE = "soft_labels.parquet"
METADATA_FILE = "facts.json"

SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("label", pa.int8(), nullable=False),  # as given
        pa.field("probabilities", pa.list_(pa.float32(), len(EMOTIONS)), nullable=False),
    ]
)
"""soft_labels.parquet, ordered by id."""


def write_soft_labels(
    folder: Path, faces: FaceDataset, probabilities: npt.NDArray[np.floating[Any]], metadata: dict[str, Any]
) -> str:
    """Replace a folder of soft labels (N, 7); return their fingerprint.

    `metadata` says where they come from; number of rows and fingerprint are added to it.
    """
    stored = probabilities.astype(np.float32)
    fingerprint = _fingerprint(stored)
    columns = {"id": faces.ids.tolist(), "label": faces.labels.astype(np.int8), "probabilities": stored.tolist()}
    with replaced_folder(folder) as aside:
        pq.write_table(pa.table(columns, schema=SCHEMA), aside / SOFT_LABELS_FILE)
        write_json(aside / METADATA_FILE, {**metadata, "rows": len(faces), "fingerprint": fingerprint})
    return fingerprint


def with_soft_labels(faces: FaceDataset, folder: Path, fingerprint: str) -> FaceDataset:
    """Add the soft labels in `folder` to the faces.

    Raises `ParamsError` for the fingerprint "none", `SourceError` where they are missing, have another fingerprint, or are for
    other rows or labels.
    """
    again = (
        "run `fer distill --offline` or `fer label-noise --soft-label-weight SHARE` (again), `dvc pull` where others made them, "
        "or set it to 0"
    )
    if fingerprint == "none":
        raise ParamsError(
            f"train.soft_label_weight is above 0, but train.soft_labels_hash does not name the soft labels: {again}"
        )
    file = folder / SOFT_LABELS_FILE
    try:
        table = pq.read_table(file.absolute(), schema=SCHEMA).sort_by("id")
        probabilities = np.array(table["probabilities"].to_pylist(), dtype=np.float32)
        same = table["id"].to_pylist() == faces.ids.tolist() and np.array_equal(table["label"].to_numpy(), faces.labels)
    except (OSError, ValueError, KeyError) as error:
        raise SourceError(f"train.soft_label_weight needs {file}, which cannot be read ({error}): {again}") from error
    if not same:
        raise SourceError(f"{file} is for other training rows or labels than those in use: {again}")
    found = _fingerprint(probabilities)
    if found != fingerprint:
        raise SourceError(f"{file} has fingerprint {found}, train.soft_labels_hash is {fingerprint}: {again}")
    return replace(faces, soft_labels=probabilities)


def load_training_faces(processed: Path, soft_labels: Path, params: TrainParams) -> tuple[FaceDataset, FaceDataset]:
    """Read the rows of train and of validation.

    Those of train have the soft labels in `soft_labels` where the recipe uses them.
    """
    table = ProcessedTable.open(processed)
    faces = table.split("train")
    if params.soft_label_weight:
        faces = with_soft_labels(faces, soft_labels, params.soft_labels_hash)
    return faces, table.split("validation")


def _fingerprint(probabilities: npt.NDArray[np.float32]) -> str:
    return hashlib.blake2b(np.ascontiguousarray(probabilities).tobytes(), digest_size=6).hexdigest()
