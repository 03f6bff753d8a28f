"""Read the frames that the data checks look at."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from fer_pipeline import schemas
from fer_pipeline.data.table.reader import ProcessedTable
from fer_pipeline.errors import DataQualityError, SourceError
from fer_pipeline.imaging import FACE_SIZE, UInt8Array
from fer_pipeline.labels import EMOTIONS

REFERENCE_COUNTS: Final = (3995, 436, 4097, 7215, 4830, 3171, 4965)
"""Rows per emotion in FER-2013's Training split, in the order of `labels.EMOTIONS` (Goodfellow et al. 2013)."""

REFERENCE_SHARES: Final = tuple(count / sum(REFERENCE_COUNTS) for count in REFERENCE_COUNTS)

MEASURED_SPLITS: Final = ("validation", "test")
"""Splits whose images must not be in train."""


@dataclass(frozen=True)
class Check:
    """The outcome of one expectation.

    `severity` is "error" or "warning"; `observed` and `expected` are texts for people.
    """

    name: str
    column: str
    severity: str
    success: bool
    observed: str
    expected: str
    note: str

    def sentence(self) -> str:
        """ "every class in train: observed 0 rows of disgust, expected at least 1"."""
        return f"{self.name}: observed {self.observed}, expected {self.expected}"


@dataclass(frozen=True)
class QualityData:
    """The frames that the expectations check, and what the page shows.

    `rows` has the columns of `schemas.PROCESSED` without `image`, plus image_length, nulls and votes_sum. `classes` has one row
    for each split and emotion, `table` a single row of figures, `fields` one row per column of the files. `metadata` and
    `quarantine_metadata` are what preprocess wrote, `quarantine` the rows it left out.
    """

    rows: pd.DataFrame
    classes: pd.DataFrame
    table: pd.DataFrame
    fields: pd.DataFrame
    metadata: dict[str, Any]
    quarantine_metadata: dict[str, Any]
    quarantine: pd.DataFrame


def read(processed: Path, quarantine: Path) -> QualityData:
    """Read the frames from the outputs of preprocess.

    Raises `SourceError` where a file is missing or unreadable, `DataQualityError` where the table lacks a column or has no rows.
    """
    try:
        metadata = json.loads((processed / "facts.json").read_text(encoding="utf-8"))
        quarantine_metadata = json.loads((quarantine / "facts.json").read_text(encoding="utf-8"))
        left_out = pq.read_table((quarantine / "rows.parquet").absolute()).to_pandas()
    except (OSError, ValueError) as error:
        raise SourceError(f"{processed} or {quarantine} cannot be read: {error}; run `fer preprocess` first") from error
    stored = ProcessedTable.open(processed)
    missing = [name for name in schemas.PROCESSED.names if name not in stored.schema.names]
    if missing:
        raise DataQualityError(f"{processed}/faces lacks the columns {', '.join(missing)}: run `fer preprocess` again")
    rows = _rows(stored)
    if rows.empty:
        raise DataQualityError(f"{processed}/faces has no rows, expected at least one of each class: check the source")
    fields = pd.DataFrame({"field": [f"{field.name}: {_type(field)}" for field in stored.schema]})
    classes = _classes(rows)
    table = _table(rows, classes, metadata, quarantine_metadata)
    return QualityData(rows, classes, table, fields, metadata, quarantine_metadata, left_out)


def read_images(processed: Path, rows: pd.DataFrame) -> dict[str, UInt8Array]:
    """Read the images, gray uint8 (48, 48) by id, of some rows of `QualityData.rows`.

    Only the row groups that hold them are read.
    """
    wanted = ds.field("row").isin(rows["row"].tolist()) & ds.field("id").isin(rows["id"].tolist())
    table = ProcessedTable.open(processed).columns(["id", "image"], wanted)
    return {
        row_id: np.frombuffer(image, dtype=np.uint8).reshape(FACE_SIZE, FACE_SIZE)
        for row_id, image in zip(table["id"].to_pylist(), table["image"].to_pylist(), strict=True)
        if len(image) == FACE_SIZE * FACE_SIZE
    }


def _type(field: pa.Field) -> pa.DataType:
    """Return the type of a field, in the spelling of `schemas.PROCESSED`.

    Equal list types may name their items differently.
    """
    at = schemas.PROCESSED.get_field_index(field.name)
    same = at >= 0 and schemas.PROCESSED.field(at).type.equals(field.type)
    return schemas.PROCESSED.field(at).type if same else field.type


def _rows(stored: ProcessedTable) -> pd.DataFrame:
    columns = {name: ds.field(name) for name in schemas.PROCESSED.names if name != "image"}
    # The length is taken while reading, so that the pictures never lie in memory together.
    table = stored.columns({**columns, "image_length": pc.binary_length(ds.field("image"))})
    rows: pd.DataFrame = table.to_pandas()
    rows["votes_sum"] = [np.nan if votes is None else float(np.sum(votes)) for votes in rows["votes"]]
    required = [field.name for field in schemas.PROCESSED if not field.nullable and field.name != "image"]
    rows["nulls"] = rows[[*required, "image_length"]].isna().sum(axis=1)
    return rows


def _classes(rows: pd.DataFrame) -> pd.DataFrame:
    """Count the rows of each split and emotion, without augmented copies.

    `deviation` is the distance of the share of an emotion from that in FER-2013.
    """
    found = rows[~rows["augmented"]]
    parts = []
    for split in schemas.SPLITS:
        counts = found.loc[found["split"] == split, "label"].value_counts().reindex(range(len(EMOTIONS)), fill_value=0)
        part = pd.DataFrame({"split": split, "emotion": EMOTIONS, "rows": counts.to_numpy()})
        part["share"] = part["rows"] / max(int(part["rows"].sum()), 1)
        part["deviation"] = (part["share"] - np.array(REFERENCE_SHARES)).abs()
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def _table(
    rows: pd.DataFrame, classes: pd.DataFrame, metadata: dict[str, Any], quarantine_metadata: dict[str, Any]
) -> pd.DataFrame:
    duplicates = metadata["duplicates"]
    found = rows[~rows["augmented"]]
    values: dict[str, float] = {
        "quarantine_share": sum(quarantine_metadata["quarantined"].values()) / max(quarantine_metadata["rows_in"], 1),
        "duplicate_share": duplicates["redundant"] / max(duplicates["rows"], 1),
        "conflict_share": duplicates["conflicting_rows"] / max(duplicates["rows"], 1),
        "flat_share": duplicates["flat"] / max(duplicates["rows"], 1),
        "augmented_outside_train": int((rows["augmented"] & (rows["split"] != "train")).sum()),
        "classes_in_train": int(((classes["split"] == "train") & (classes["rows"] > 0)).sum()),
    }
    for split in schemas.SPLITS:
        part = found[found["split"] == split]
        values[f"brightness_{split}"] = float(part["brightness"].mean())
        values[f"contrast_{split}"] = float(part["contrast"].mean())
    for split in MEASURED_SPLITS:
        part = found[found["split"] == split]
        values[f"leak_share_{split}"] = float(part["in_train"].mean()) if len(part) else 0.0
    return pd.DataFrame([values])
