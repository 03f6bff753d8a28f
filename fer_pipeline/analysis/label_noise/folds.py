"""Cross-validation folds that keep equal and nearly equal images together."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.dataset as ds
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.model_selection import StratifiedGroupKFold

from fer_pipeline.data.table.reader import ProcessedTable
from fer_pipeline.errors import DataQualityError

Positions = npt.NDArray[np.int64]

_GROUPING = ("content_hash", "perceptual_hash", "row")  # an augmented copy has the row number of its image


def read_groups(table: ProcessedTable, split: str) -> tuple[dict[str, int], set[str]]:
    """Read the duplicate group of each row of a split, and its augmented copies.

    Returns group numbers by row id, and the ids of augmented copies. Rows belong together, also by way of others, where they
    have the same content hash, perceptual hash or row of the source. Raises `SourceError` where the table cannot be read.
    """
    rows = table.columns(["id", "augmented", *_GROUPING], ds.field("split") == split)
    ids = rows["id"].to_pylist()
    groups = join_groups([np.array(rows[name].to_pylist()) for name in _GROUPING])
    copies = {row_id for row_id, augmented in zip(ids, rows["augmented"].to_pylist(), strict=True) if augmented}
    return dict(zip(ids, groups.tolist(), strict=True)), copies


def join_groups(columns: list[npt.NDArray[Any]]) -> Positions:
    """Number the connected groups of rows that share a value in any column.

    Returns int64 (N,).
    """
    rows = len(columns[0])
    ends = []
    for values in columns:
        _, first, inverse = np.unique(values, return_index=True, return_inverse=True)
        ends.append(first[inverse])
    links = coo_array(
        (np.ones(rows * len(columns), bool), (np.tile(np.arange(rows), len(columns)), np.concatenate(ends))), shape=(rows, rows)
    )
    _, groups = connected_components(links, directed=False)
    numbers: Positions = groups.astype(np.int64)
    return numbers


def grouped_folds(labels: Positions, groups: Positions, folds: int, seed: int) -> Positions:
    """Assign each row a fold, int64 (N,) in 0..folds-1.

    Groups stay whole, classes are spread evenly. Raises `DataQualityError` where there are fewer groups than folds.
    """
    found = len(np.unique(groups))
    if found < folds:
        raise DataQualityError(f"{len(labels)} rows are {found} groups of duplicates, too few for {folds} folds: take fewer")
    numbers = np.zeros(len(labels), np.int64)
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    for fold, (_, held_out) in enumerate(splitter.split(labels, labels, groups)):
        numbers[held_out] = fold
    return numbers
