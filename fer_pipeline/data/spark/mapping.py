"""Map a function over a small table in Spark; one writer takes the rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa
from py4j.protocol import Py4JError  # type: ignore[import-untyped]
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession
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
    told: pa.Schema,
) -> list[dict[str, Any]]:
    """What `write` tells, in rows of `told`, of all rows of `schema` that `function` makes of a table such as one of paths.

    The table is spread over all cores; `write` gets the results in one task, sorted by `order`. Both run in executors. Equal rows
    give an equal result, however many executors there are. Raises `ToolUnavailableError` where Spark fails.
    """
    partitions = max(min(4 * session.sparkContext.defaultParallelism, rows.num_rows), 1)
    mapped = session.createDataFrame(rows).repartition(partitions).mapInArrow(function, from_arrow_schema(schema))
    written = mapped.repartition(1).sortWithinPartitions(*order).mapInArrow(write, from_arrow_schema(told))
    try:
        outcome = [row.asDict() for row in written.collect()]
    except (PySparkException, Py4JError) as error:
        raise ToolUnavailableError(reason(error)) from error
    # Spark does not call the writer where there is nothing to write.
    return outcome or [row for batch in write(iter(())) for row in batch.to_pylist()]
