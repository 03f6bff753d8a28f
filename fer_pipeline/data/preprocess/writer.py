"""Write the processed table and the quarantine as Parquet files, on the executors."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, functions as sf
from pyspark.sql.pandas.types import from_arrow_schema

from fer_pipeline import schemas
from fer_pipeline.config.params import PreprocessParams
from fer_pipeline.data.preprocess.balancing import finisher
from fer_pipeline.workspace.files import replaced_file

BatchFunction = Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]

_FILE_ROWS = (8_192, 65_536)  # fewest and most rows of a file: 20 and 157 MB of pictures
_FILES = 1_024  # above which files get longer
_GROUP_ROWS = 1_024
_LEFT_OUT_GROUP_ROWS = 131_072
_COUNT = "rows"


def write_faces(
    table: DataFrame, rows_in: int, scratch: Path, target: Path, params: PreprocessParams
) -> Counter[tuple[str, int, bool]]:
    """Write `target`/part-*.parquet, each with a fixed range of ordered source rows.

    Returns the number of rows by split, label and whether they are augmented copies.
    """
    size = file_rows(rows_in)
    ordered = table.repartitionById(-(-rows_in // size), (sf.col("row") / size).cast("int")).sortWithinPartitions("row")
    found = _write_parts(ordered, finisher(params), schemas.PROCESSED, scratch, ["split", "label", "augmented"], _GROUP_ROWS)
    target.mkdir()
    for number, part in enumerate(sorted(scratch.glob("*.parquet"))):
        os.replace(part, target / f"part-{number:05d}.parquet")
    return Counter({(split, label, augmented): count for split, label, augmented, count in found})


def write_left_out(rows: DataFrame, scratch: Path, target: Path) -> dict[str, int]:
    """Write the quarantine table, ordered by row; return its rows by reason."""
    ordered = rows.repartition(1).sortWithinPartitions("row")
    found = _write_parts(ordered, iter, schemas.QUARANTINE, scratch, ["reason"], _LEFT_OUT_GROUP_ROWS)
    for part in scratch.glob("*.parquet"):
        os.replace(part, target)
    if not found:
        pq.write_table(schemas.QUARANTINE.empty_table(), target)
    return {str(reason): count for reason, count in sorted(found)}


def file_rows(rows_in: int) -> int:
    """Return how many source rows a file spans.

    It depends on the number of rows alone, so that equal input gives equal files.
    """
    rows, most = _FILE_ROWS
    while rows < most and rows * _FILES < rows_in:
        rows *= 2
    return rows


def part_writer(function: BatchFunction, schema: pa.Schema, folder: Path, keys: Sequence[str], group_rows: int) -> BatchFunction:
    """Return a function that writes a partition and yields counts of rows by `keys`.

    It writes the batches that `function` returns for those of the partition. The file is named by the first value of the
    column `row`, has `schema` and row groups of `group_rows` rows, and appears in `folder` when it is complete: Spark may run a
    partition twice, or run it again where a worker died. A partition without rows gives no file. Memory is that of one row
    group. Raises `OSError` where the file cannot be written.
    """

    def write(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        groups = _groups(function(batches), schema, group_rows)
        first = next(groups, None)
        if first is None:
            return
        counts = []
        target = folder / f"{first['row'][0].as_py():012d}.parquet"
        with replaced_file(target) as aside, pq.ParquetWriter(aside, schema) as writer:
            for group in chain([first], groups):
                writer.write_table(group, row_group_size=group_rows)
                counts.append(group.group_by(list(keys)).aggregate([([], "count_all")]))
        total = pa.concat_tables(counts).group_by(list(keys)).aggregate([("count_all", "sum")])
        yield from total.rename_columns([*keys, _COUNT]).cast(_counts_schema(schema, keys)).to_batches()

    return write


def _write_parts(
    rows: DataFrame, function: BatchFunction, schema: pa.Schema, scratch: Path, keys: list[str], group_rows: int
) -> list[tuple[Any, ...]]:
    """Write one file per partition into `scratch`; return keys with their rows.

    Each tuple holds the values of `keys` and the number of rows that have them. `scratch` must not exist.
    """
    scratch.mkdir()
    writer = part_writer(function, schema, scratch.resolve(), keys, group_rows)
    counts = rows.mapInArrow(writer, from_arrow_schema(_counts_schema(schema, keys)))
    return [tuple(row) for row in counts.groupBy(*keys).agg(sf.sum(_COUNT)).collect()]


def _counts_schema(schema: pa.Schema, keys: Sequence[str]) -> pa.Schema:
    return pa.schema([*(schema.field(key) for key in keys), pa.field(_COUNT, pa.int64(), nullable=False)])


def _groups(batches: Iterator[pa.RecordBatch], schema: pa.Schema, rows: int) -> Iterator[pa.Table]:
    """Yield the batches as tables of exactly `rows` rows; the last may have fewer."""
    held = schema.empty_table()
    for batch in batches:
        held = pa.concat_tables([held, pa.Table.from_batches([batch]).cast(schema)])
        while held.num_rows >= rows:
            yield held.slice(0, rows).combine_chunks()
            held = held.slice(rows)
    if held.num_rows:
        yield held.combine_chunks()
