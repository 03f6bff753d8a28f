"""Rank rows within groups that may be most of a table.

A window over such a group is one task for millions of rows. Here the order is cut into buckets: each is a task of its own, and
the sums of the buckets before it, a table of a few thousand rows, give the rest. Sums of whole numbers, so the result is that
of one window.
"""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, Window, functions as sf

_DIGITS = 2


def bucket_of(key: Column) -> Column:
    """Build the bucket column, one of 256, of a column of hex hashes.

    The hashes must be spread evenly, and rows of a group be ordered by them.
    """
    return key.substr(1, _DIGITS)


def rank_in_group(rows: DataFrame, group: str, bucket: str, order: list[str], size: str) -> DataFrame:
    """Add `position`, `before` and `last` of each row within its `group`.

    `position` counts from 1, `before` is the sum of `size` over the rows before this one, `last` the number of rows. Rows of a
    group are ordered by `bucket` and then by `order`, which must differ between any two of them; none of these columns is null.
    `size` is a column of whole numbers.
    """
    sums = rows.groupBy(group, bucket).agg(sf.count("*").alias("bucket_rows"), sf.sum(size).alias("bucket_size"))
    buckets = Window.partitionBy(group)
    earlier = buckets.orderBy(bucket).rowsBetween(Window.unboundedPreceding, -1)
    starts = sums.select(
        group,
        bucket,
        sf.coalesce(sf.sum("bucket_rows").over(earlier), sf.lit(0)).alias("rows_earlier"),
        sf.coalesce(sf.sum("bucket_size").over(earlier), sf.lit(0)).alias("size_earlier"),
        sf.sum("bucket_rows").over(buckets).alias("last"),
    )
    within = Window.partitionBy(group, bucket).orderBy(*order)
    so_far = sf.coalesce(sf.sum(size).over(within.rowsBetween(Window.unboundedPreceding, -1)), sf.lit(0))
    return (
        rows.join(sf.broadcast(starts), [group, bucket])
        .withColumn("position", sf.col("rows_earlier") + sf.row_number().over(within))
        .withColumn("before", sf.col("size_earlier") + so_far)
        .drop("rows_earlier", "size_earlier")
    )
