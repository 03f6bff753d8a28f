"""Hashes of the images a model was trained on, stored with its weights.

Rows whose image is in the list are left out where the model is measured or calibrated. `model_info.TRAINING_IMAGES_FILE` holds
the last 64 bits of each image's content hash, uint64 (N,), sorted, without repeats: two of a million different images share
them with a probability of 3 in 100 million.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.dataset as ds

from fer_pipeline.data.table.dataset import FaceDataset
from fer_pipeline.data.table.reader import ProcessedTable
from fer_pipeline.errors import ModelError
from fer_pipeline.model_info import TRAINING_IMAGES_FILE

MIN_ROWS = 200
"""Validation rows that must be left where some are left out."""

_DIGITS = 16

ImageHashes = npt.NDArray[np.uint64]
"""The last 64 bits of content hashes (N,), sorted, without repeats."""


def image_hashes(hashes: Iterable[str]) -> ImageHashes:
    """Convert content hashes of at least 16 hex digits to `ImageHashes`."""
    return np.unique(np.array([int(found[-_DIGITS:], 16) for found in hashes], np.uint64))


def training_image_hashes(table: ProcessedTable) -> ImageHashes:
    """Compute the list of a model that is trained on this table."""
    return image_hashes(table.hashes("train").values())


def share_seen(table: ProcessedTable, known: ImageHashes) -> float:
    """Compute the share, 0 to 1, of the table's training images that are in the list.

    Augmented copies do not count; a table without training rows gives 0. The table is read batch by batch, since it may be
    large. Raises `SourceError` where it cannot be read.
    """
    found = rows = 0
    for batch in table.batches(["content_hash"], (ds.field("split") == "train") & ~ds.field("augmented")):
        own = image_hashes(batch["content_hash"].to_pylist())
        # Both are sorted and without repeats; `np.isin` would sort the whole list again for each batch.
        found += int((known.searchsorted(own, "right") - known.searchsorted(own)).sum())
        rows += len(own)
    return found / rows if rows else 0.0


def write_training_images(folder: Path, known: ImageHashes) -> None:
    """Write the list into a model's folder."""
    np.save(folder / TRAINING_IMAGES_FILE, known, allow_pickle=False)


def add_training_images(folder: Path, table: ProcessedTable) -> int:
    """Write the list of a model that has none and was trained on this table.

    Returns the number of images in the list. Raises `ModelError` where the model has a list, or `folder` is no folder.
    """
    if not folder.is_dir():
        raise ModelError(f"{folder} is no folder, expected that of a trained or exported model")
    if read_training_images(folder) is not None:
        raise ModelError(f"{folder / TRAINING_IMAGES_FILE} is there already: remove it first if it is wrong")
    known = training_image_hashes(table)
    write_training_images(folder, known)
    return len(known)


def read_training_images(folder: Path) -> ImageHashes | None:
    """Read the list of a model; None where it has none, as models of early versions.

    Raises `ModelError` where the list is damaged.
    """
    file = folder / TRAINING_IMAGES_FILE
    if not file.exists():
        return None
    try:
        known = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ModelError(f"{file} cannot be read: {error}; export the model again") from error
    if known.ndim != 1 or known.dtype != np.uint64:
        raise ModelError(f"{file} holds {known.dtype} of shape {known.shape}, expected uint64 (N,): export the model again")
    return np.asarray(known, np.uint64)


def copy_training_images(source: Path, target: Path) -> None:
    """Copy the list from one model's folder to another, if there is one."""
    with suppress(FileNotFoundError):
        shutil.copyfile(source / TRAINING_IMAGES_FILE, target / TRAINING_IMAGES_FILE)


def joined_training_images(folders: Iterable[Path]) -> ImageHashes:
    """Join the lists of models. Raises `ModelError` where a model has none."""
    return np.unique(np.concatenate([_known(folder) for folder in folders]))


def seen_in_training(faces: FaceDataset, table: ProcessedTable, split: str, known: ImageHashes) -> npt.NDArray[np.bool_]:
    """Mark the rows (N,) of this split of the table whose image is in the list."""
    hashes = table.hashes(split)
    found: npt.NDArray[np.bool_] = np.isin(np.array([int(hashes[row][-_DIGITS:], 16) for row in faces.ids], np.uint64), known)
    return found


def load_test(table: ProcessedTable, *models: Path) -> FaceDataset:
    """Read the test split; `in_train` counts the training images of models, too.

    `models` are folders; they may have been trained on another table. Raises `ModelError` for a model without a list.
    """
    known, faces = joined_training_images(models), table.split("test")
    return replace(faces, in_train=faces.in_train | seen_in_training(faces, table, "test", known))


def load_held_out(table: ProcessedTable, models: Mapping[str, Path]) -> FaceDataset:
    """Read the validation rows that no model was trained on.

    `models` are folders by name. For models that were trained on this table it is the whole split. Raises `ModelError` for a
    model without a list, and where rows are left out and fewer than `MIN_ROWS` remain.
    """
    known, faces = joined_training_images(models.values()), table.split("validation")
    unseen = ~seen_in_training(faces, table, "validation", known)
    if unseen.all():
        return faces
    if unseen.sum() < MIN_ROWS:
        raise ModelError(
            f"{' and '.join(models)} learned from {(~unseen).sum():,} of the {len(faces):,} validation rows of {table.path}, so "
            f"{unseen.sum():,} are left, expected at least {MIN_ROWS}: {_REMEDY}"
        )
    return faces.rows(unseen)


def check_unseen(models: Mapping[str, Path], table: ProcessedTable) -> None:
    """Check that no model was trained on validation or test rows of the table.

    `models` are folders by name, such as "teacher fast", of models that another one is to learn from: a student learns what its
    teachers know. Raises `ModelError` for a model that knows such rows and for one without a list. A share of 0.01 is allowed:
    without the FER+ votes, for example, a few rows go into another split.
    """
    lists = {name: _known(folder) for name, folder in models.items()}
    for split in ("validation", "test"):
        faces = table.split(split)
        fresh = ~faces.in_train
        for name, known in lists.items():
            seen = int((seen_in_training(faces, table, split, known) & fresh).sum())
            if seen > _MAX_SEEN_SHARE * len(faces):
                raise ModelError(
                    f"{name} learned from {seen:,} of the {len(faces):,} {split} rows of {table.path}; what learns from it would "
                    f"be measured and calibrated on pictures that it knows: {_REMEDY}"
                )


def _known(folder: Path) -> ImageHashes:
    found = read_training_images(folder)
    if found is None:
        raise ModelError(
            f"{folder} holds no {TRAINING_IMAGES_FILE}, so it is not known which pictures this model learned from, and on "
            f"which it can be measured, calibrated or let teach: `python -m tools.list_training_images {folder} "
            "--processed TABLE` writes the list, with the processed table of its own training"
        )
    return found


_MAX_SEEN_SHARE = 0.01
_REMEDY = (
    "set preprocess.validation_share in params.yaml to that of its training (0.02 for the pretrained models) and run "
    "`dvc repro preprocess`, or take a model that was trained on this table"
)
