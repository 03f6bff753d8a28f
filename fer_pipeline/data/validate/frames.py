"""Build the small frames that the data checks look at."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds

from fer_pipeline import schemas
from fer_pipeline.data.storage import storage_location
from fer_pipeline.data.storage.location import StorageLocation
from fer_pipeline.data.table.files import listed_files
from fer_pipeline.data.table.parts import parts_of, read_parts
from fer_pipeline.data.table.reader import ProcessedTable
from fer_pipeline.data.validate.reading import read_summary
from fer_pipeline.data.validate.row_checks import ROW_CHECKS
from fer_pipeline.data.validate.summary import MEASURED_SPLITS, Summary
from fer_pipeline.errors import DataQualityError, SourceError
from fer_pipeline.imaging import FACE_SIZE, UInt8Array
from fer_pipeline.labels import EMOTIONS

REFERENCE_COUNTS: Final = (3995, 436, 4097, 7215, 4830, 3171, 4965)
"""Rows per emotion in FER-2013's Training split, in the order of `labels.EMOTIONS` (Goodfellow et al. 2013)."""

REFERENCE_SHARES: Final = tuple(count / sum(REFERENCE_COUNTS) for count in REFERENCE_COUNTS)

BAD_ROWS: Final = 4
"""How many rows of the quarantine are kept for each reason."""


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

    `rows` is a single row: for each column of `ROW_CHECKS` the share of its values that are allowed, for id and rows a number.
    `classes` has one row for each split and emotion, `table` a single row of figures, `fields` one row per column of the files.
    `metadata` and `quarantine_metadata` are what preprocess wrote, `quarantine` the first rows that it left out for each reason.
    """

    summary: Summary
    parts: pa.Table
    rows: pd.DataFrame
    classes: pd.DataFrame
    table: pd.DataFrame
    fields: pd.DataFrame
    metadata: dict[str, Any]
    quarantine_metadata: dict[str, Any]
    quarantine: list[dict[str, Any]]


def read(processed: Path, quarantine: Path, master: str) -> QualityData:
    """Read the frames from the outputs of preprocess.

    `master` is where Spark runs for a large table.
    Raises `SourceError` where a file is missing or unreadable, `DataQualityError` where the table lacks a column or has no rows,
    `ToolUnavailableError` where Spark fails.
    """
    try:
        metadata = json.loads((processed / "facts.json").read_text(encoding="utf-8"))
        quarantine_metadata = json.loads((quarantine / "facts.json").read_text(encoding="utf-8"))
        folder = storage_location(quarantine)
        left_out = _first_by_reason(listed_files(folder) or [folder.child("rows.parquet")])
    except (OSError, ValueError) as error:
        raise SourceError(f"{processed} or {quarantine} cannot be read: {error}; run `fer preprocess` first") from error
    stored = ProcessedTable.open(processed)
    parts, schema = stored.parts()
    missing = [name for name in schemas.PROCESSED.names if name not in schema.names]
    if missing:
        raise DataQualityError(f"{processed}/faces lacks the columns {', '.join(missing)}: run `fer preprocess` again")
    summary = read_summary(parts, master)
    if not summary.rows:
        raise DataQualityError(f"{processed}/faces has no rows, expected at least one of each class: check the source")
    fields = pd.DataFrame({"field": [f"{field.name}: {_type(field)}" for field in schema]})
    classes = _classes(summary)
    table = _table(summary, classes, metadata, quarantine_metadata)
    return QualityData(summary, parts, _rows(summary), classes, table, fields, metadata, quarantine_metadata, left_out)


def _first_by_reason(files: list[StorageLocation]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    kept: dict[str, int] = {}
    parts, _ = parts_of(files, "fer preprocess")
    for batch in read_parts(parts.to_batches(), schemas.QUARANTINE.names, 4_096):
        for row in batch.to_pylist():
            kept[row["reason"]] = kept.get(row["reason"], 0) + 1
            if kept[row["reason"]] <= BAD_ROWS:
                found.append(row)
    return found


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


def _rows(summary: Summary) -> pd.DataFrame:
    shares = {}
    for column in (check.column for check in ROW_CHECKS):
        values = summary.values[column]
        shares[column] = (values - summary.faults[column]) / values if values else 1.0
    return pd.DataFrame([{"rows": summary.rows, "id": summary.faults["id"], **shares}])


def _classes(summary: Summary) -> pd.DataFrame:
    """Count the rows of each split and emotion, without augmented copies.

    `deviation` is the distance of the share of an emotion from that in FER-2013.
    """
    parts = []
    for split in schemas.SPLITS:
        counts = [summary.groups[split, label, False] for label in range(len(EMOTIONS))]
        part = pd.DataFrame({"split": split, "emotion": EMOTIONS, "rows": counts})
        part["share"] = part["rows"] / max(int(part["rows"].sum()), 1)
        part["deviation"] = (part["share"] - np.array(REFERENCE_SHARES)).abs()
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def _table(
    summary: Summary, classes: pd.DataFrame, metadata: dict[str, Any], quarantine_metadata: dict[str, Any]
) -> pd.DataFrame:
    duplicates = metadata["duplicates"]
    values: dict[str, float] = {
        "quarantine_share": sum(quarantine_metadata["quarantined"].values()) / max(quarantine_metadata["rows_in"], 1),
        "duplicate_share": duplicates["redundant"] / max(duplicates["rows"], 1),
        "conflict_share": duplicates["conflicting_rows"] / max(duplicates["rows"], 1),
        "flat_share": duplicates["flat"] / max(duplicates["rows"], 1),
        "augmented_outside_train": sum(
            count for (split, _, augmented), count in summary.groups.items() if augmented and split != "train"
        ),
        "classes_in_train": int(((classes["split"] == "train") & (classes["rows"] > 0)).sum()),
    }
    for split in schemas.SPLITS:
        for column in ("brightness", "contrast"):
            values[f"{column}_{split}"] = summary.mean(split, column)
    for split in MEASURED_SPLITS:
        own = sum(count for (name, _, augmented), count in summary.groups.items() if name == split and not augmented)
        values[f"leak_share_{split}"] = summary.in_train[split] / own if own else 0.0
    return pd.DataFrame([values])
