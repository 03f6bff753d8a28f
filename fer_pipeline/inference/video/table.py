"""Write the faces of one video as a Parquet table.

Needs pyarrow, unlike the service.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fer_pipeline.inference.output_schema import SCHEMA_VERSION, fields
from fer_pipeline.inference.video.writers import JSONL_FILE, PARQUET_FILE, table_row
from fer_pipeline.workspace.files import replaced_file, tidy

GROUP_ROWS = 10_000
"""Rows of a row group, and of what is in memory at a time."""

_KINDS: dict[str, pa.DataType] = {
    "integer": pa.int64(),
    "number": pa.float64(),
    "text": pa.string(),
    "texts": pa.string(),
    "yes or no": pa.bool_(),
}

SCHEMA = pa.schema(
    [(field.column, _KINDS[field.kind]) for field in fields("video")], metadata={"fer_schema_version": str(SCHEMA_VERSION)}
)
"""Columns of faces.parquet, those of `writers.COLUMNS`."""


def write_table(folder: Path) -> Path:
    """Write faces.parquet from the faces.jsonl of a result folder; return its path.

    One row per face and frame, in the order of time, read and written a row group at a time.
    """
    target = folder / PARQUET_FILE
    tidy(target)
    with (
        (folder / JSONL_FILE).open(encoding="utf-8") as lines,
        replaced_file(target) as aside,
        pq.ParquetWriter(aside, SCHEMA, compression="zstd") as writer,
    ):
        rows = (table_row(json.loads(line)) for line in lines)
        while group := list(islice(rows, GROUP_ROWS)):
            writer.write_batch(_batch(group), row_group_size=GROUP_ROWS)
    return target


def _batch(rows: list[list[Any]]) -> pa.RecordBatch:
    columns: Iterator[tuple[Any, ...]] = zip(*rows, strict=True)
    arrays = [pa.array(column, kind) for column, kind in zip(columns, SCHEMA.types, strict=True)]
    return pa.record_batch(arrays, schema=SCHEMA)
