"""Maps a function over a table of pictures in Spark and writes what it gives as one Parquet file."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
from py4j.protocol import Py4JError  # type: ignore[import-untyped]
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as sf
from pyspark.sql.pandas.types import from_arrow_schema

from fer_pipeline.datasets.spark_faults import reason
from fer_pipeline.errors import EnvironmentFault

BatchFunction = Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]


def map_rows(
    session: SparkSession, rows: pa.Table, function: BatchFunction, schema: pa.Schema, order: Sequence[str], target: Path
) -> None:
    """Writes the function's rows for a small table, such as one of paths, to the file `target`, sorted by `order`.

    The table is spread over all cores. `target` lies in a folder that driver and executors share. Equal rows give an equal
    table, however many executors there are. Raises `EnvironmentFault` where Spark fails; there is then no such file.
    """
    partitions = min(max(4 * session.sparkContext.defaultParallelism, 1), rows.num_rows)
    _write(session.createDataFrame(rows).repartition(partitions), function, schema, order, target)


def map_parquet(
    session: SparkSession,
    source: Path,
    columns: Mapping[str, tuple[str | None, str]],
    function: BatchFunction,
    schema: pa.Schema,
    order: Sequence[str],
    target: Path,
) -> None:
    """The same for a Parquet file, which the executors read in parts; `row` is the position in it.

    `columns` says for each name that the function sees, which column of the file it is (None: nulls) and of which Spark type.
    """
    frame = session.read.parquet(re.sub(r"([\[\]{}*?\\])", r"\\\1", str(source.resolve())))  # Spark takes a path for a pattern
    chosen = [
        (sf.lit(None) if column is None else sf.col(f"`{column}`")).cast(kind).alias(name)
        for name, (column, kind) in columns.items()
    ]
    _write(frame.select(sf.col("_metadata.row_index").alias("row"), *chosen), function, schema, order, target)


def _write(frame: DataFrame, function: BatchFunction, schema: pa.Schema, order: Sequence[str], target: Path) -> None:
    mapped = frame.mapInArrow(function, from_arrow_schema(schema))
    with TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as scratch:
        parts = Path(scratch) / "parts"
        try:
            mapped.repartition(1).sortWithinPartitions(*order).write.parquet(str(parts.resolve()))
        except (PySparkException, Py4JError) as error:
            raise EnvironmentFault(f"Spark failed to write {target}: {reason(error)}") from error
        (part,) = parts.glob("part-*.parquet")
        os.replace(part, target)
