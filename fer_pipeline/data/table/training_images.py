"""Which pictures a model learned from. The list travels with its weights, so that nobody measures or calibrates it on them.

`model_info.TRAINING_PICTURES_FILE` holds the last 64 bits of each picture's content hash, uint64 (N,), sorted, each once: two
of a million different pictures share them with a probability of 3 in 100 million.
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

from fer_pipeline.data.table.reader import Faces, content_hashes, load_split
from fer_pipeline.errors import ModelError, SourceError
from fer_pipeline.model_info import TRAINING_PICTURES_FILE

LEAST_ROWS = 200
"""So many validation rows must be left for a choice, where some are left out; fewer only where the split has no more."""

_DIGITS = 16

Keys = npt.NDArray[np.uint64]


def keys(hashes: Iterable[str]) -> Keys:
    """The sorted, distinct keys of content hashes of at least 16 hex digits."""
    return np.unique(np.array([int(found[-_DIGITS:], 16) for found in hashes], np.uint64))


def training_keys(processed: Path) -> Keys:
    """The list of a model that is trained on this table."""
    return keys(content_hashes(processed, "train").values())


def share_learned(processed: Path, known: Keys) -> float:
    """Of how much of the table's training pictures this list knows, 0 to 1; 0 where the table has none.

    Batch by batch, since the table may be large. Raises `SourceError` where it cannot be read.
    """
    found = rows = 0
    try:
        dataset = ds.dataset(processed / "faces", format="parquet")
        own = (ds.field("split") == "train") & ~ds.field("augmented")
        for batch in dataset.to_batches(columns=["content_hash"], filter=own):
            learnable = keys(batch["content_hash"].to_pylist())
            # Both are sorted, and each there once; `np.isin` would sort the whole list again for each batch.
            found += int((known.searchsorted(learnable, "right") - known.searchsorted(learnable)).sum())
            rows += len(learnable)
    except (OSError, ValueError) as error:
        raise SourceError(f"{processed} cannot be read as the processed table: {error}; run `fer preprocess`") from error
    return found / rows if rows else 0.0


def write_training_pictures(folder: Path, known: Keys) -> None:
    """Writes the list into a model's folder."""
    np.save(folder / TRAINING_PICTURES_FILE, known, allow_pickle=False)


def note_training_pictures(folder: Path, processed: Path) -> int:
    """Writes the list of a model without one, trained on this table, into its folder; returns how many pictures it names.

    Raises `ModelError` where it has a list, or is no folder.
    """
    if not folder.is_dir():
        raise ModelError(f"{folder} is no folder, expected that of a trained or exported model")
    if read_training_pictures(folder) is not None:
        raise ModelError(f"{folder / TRAINING_PICTURES_FILE} is there already: remove it first if it is wrong")
    known = training_keys(processed)
    write_training_pictures(folder, known)
    return len(known)


def read_training_pictures(folder: Path) -> Keys | None:
    """The list of a model; None for one without, as of an earlier release. Raises `ModelError` where it is damaged."""
    file = folder / TRAINING_PICTURES_FILE
    if not file.exists():
        return None
    try:
        known = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ModelError(f"{file} cannot be read: {error}; export the model again") from error
    if known.ndim != 1 or known.dtype != np.uint64:
        raise ModelError(f"{file} holds {known.dtype} of shape {known.shape}, expected uint64 (N,): export the model again")
    return np.asarray(known, np.uint64)


def copy_training_pictures(source: Path, target: Path) -> None:
    """Copies the list from one folder of a model into another, where there is one."""
    with suppress(FileNotFoundError):
        shutil.copyfile(source / TRAINING_PICTURES_FILE, target / TRAINING_PICTURES_FILE)


def joined_training_pictures(folders: Iterable[Path]) -> Keys:
    """What any of these models, at least one, learned from. Raises `ModelError` where it is not known of one of them."""
    return np.unique(np.concatenate([_known(folder) for folder in folders]))


def learned_from(faces: Faces, processed: Path, split: str, known: Keys) -> npt.NDArray[np.bool_]:
    """True (N,) for the rows of this split, as `load_split` has them, whose picture is in the list."""
    hashes = content_hashes(processed, split)
    found: npt.NDArray[np.bool_] = np.isin(np.array([int(hashes[row][-_DIGITS:], 16) for row in faces.ids], np.uint64), known)
    return found


def load_test(processed: Path, *models: Path) -> Faces:
    """The test split, with `in_train` also where one of these models learned from the picture, perhaps on another table.

    Raises `ModelError` for a model without a list.
    """
    known, faces = joined_training_pictures(models), load_split(processed, "test")
    return replace(faces, in_train=faces.in_train | learned_from(faces, processed, "test", known))


def load_held_out(processed: Path, models: Mapping[str, Path]) -> Faces:
    """The validation rows that none of these models, folders by name, learned from: for choices and calibration.

    All of them for models that were trained on this table. Raises `ModelError` for a model without a list, and where fewer than
    `LEAST_ROWS` are left.
    """
    known, faces = joined_training_pictures(models.values()), load_split(processed, "validation")
    unseen = ~learned_from(faces, processed, "validation", known)
    if unseen.all():
        return faces
    if unseen.sum() < LEAST_ROWS:
        raise ModelError(
            f"{' and '.join(models)} learned from {(~unseen).sum():,} of the {len(faces):,} validation rows of {processed}, so "
            f"{unseen.sum():,} are left, expected at least {LEAST_ROWS}: {_REMEDY}"
        )
    return faces.rows(unseen)


def check_teachers(teachers: Mapping[str, Path], processed: Path) -> None:
    """Raises `ModelError` where a teacher learned from validation or test rows of this table: its student would know them, too.

    So it does for a teacher without a list. A share of `_MOST_KNOWN` is let pass: without the FER+ votes, say, a few rows go into
    the other split.
    """
    lists = {name: _known(folder) for name, folder in teachers.items()}
    for split in ("validation", "test"):
        faces = load_split(processed, split)
        fresh = ~faces.in_train
        for name, known in lists.items():
            seen = int((learned_from(faces, processed, split, known) & fresh).sum())
            if seen > _MOST_KNOWN * len(faces):
                raise ModelError(
                    f"teacher {name} learned from {seen:,} of the {len(faces):,} {split} rows of {processed}; its student would "
                    f"be measured and calibrated on pictures that its teacher knows: {_REMEDY}"
                )


def _known(folder: Path) -> Keys:
    found = read_training_pictures(folder)
    if found is None:
        raise ModelError(
            f"{folder} holds no {TRAINING_PICTURES_FILE}, so it is not known which pictures this model learned from, and on "
            f"which it can be measured, calibrated or let teach: `python -m tools.list_training_images {folder} "
            "--processed TABLE` writes the list, with the processed table of its own training"
        )
    return found


_MOST_KNOWN = 0.01
_REMEDY = (
    "set preprocess.validation_share in params.yaml to that of its training (0.02 for the shipped models) and run "
    "`dvc repro preprocess`, or take a model that was trained on this table"
)
