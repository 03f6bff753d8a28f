"""Map a function over a small table in Spark; one writer takes the rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa
from py4j.protocol import Py4JError  # type: ignore[import-untyped]
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession, functions as sf
from pyspark.sql.pandas.types import from_arrow_schema

from fer_pipeline.data.spark.errors import reason
from fer_pipeline.errors import ToolUnavailableError

BatchFunction = Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]


def map_rows(
    session: SparkSession,
    rows: pa.Table,
    function: BatchFunction,
    schema: pa.Schema,
    order: Sequence[str],
    write: BatchFunction,
    report_schema: pa.Schema,
) -> list[dict[str, Any]]:
    """Map a small table in Spark, write the results in one task, return its report.

    `rows` is a table such as one of paths, spread over all cores. `function` makes batches of `schema` of it; `write` gets them
    in one task, sorted by `order`, and yields rows of `report_schema`, which are returned. Both functions run in executors.
    Equal rows give an equal result, however many executors there are. Raises `ToolUnavailableError` where Spark fails.
    """
    partitions = max(min(4 * session.sparkContext.defaultParallelism, rows.num_rows), 1)
    mapped = session.createDataFrame(rows).repartition(partitions).mapInArrow(function, from_arrow_schema(schema))
    written = mapped.repartition(1).sortWithinPartitions(*order).mapInArrow(write, from_arrow_schema(report_schema))
    try:
        outcome = [row.asDict() for row in written.collect()]
    except (PySparkException, Py4JError) as error:
        raise ToolUnavailableError(reason(error)) from error
    # Spark does not call the writer where there is nothing to write.
    return outcome or [row for batch in write(iter(())) for row in batch.to_pylist()]


def repeated_values(
    session: SparkSession, rows: pa.Table, function: BatchFunction, column: str, examples: int
) -> tuple[list[tuple[str, int]], int]:
    """Find repeated texts in what a function makes of a small table.

    `function` yields batches with the text column `column`. Returns the first of these texts, in order, with how often they
    occur, and the number of all occurrences. Raises `ToolUnavailableError` where Spark fails.
    """
    partitions = max(min(4 * session.sparkContext.defaultParallelism, rows.num_rows), 1)
    texts = session.createDataFrame(rows).repartition(partitions).mapInArrow(function, f"{column} string")
    try:
        repeated = texts.filter(f"{column} is not null").groupBy(column).count().filter("count > 1").cache()
        total = repeated.agg(sf.coalesce(sf.sum("count"), sf.lit(0))).collect()[0][0]
        first = [(str(row[column]), int(row["count"])) for row in repeated.orderBy(column).limit(examples).collect()]
        repeated.unpersist()
    except (PySparkException, Py4JError) as error:
        raise ToolUnavailableError(reason(error)) from error
    return first, int(total)
