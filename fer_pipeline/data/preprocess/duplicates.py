"""Find byte-identical and near-equal images by their hash columns."""

from __future__ import annotations

from typing import Any, Final

from pyspark.sql import Column, DataFrame, Window, functions as sf

EXAMPLES: Final = 24
"""How many groups, and rows of a group, are named in the metadata."""


def is_train() -> Column:
    """Build a column: true for train, and for all rows of a source without splits."""
    return sf.coalesce("split", sf.lit("train")) == "train"


def mark_copies(rows: DataFrame) -> DataFrame:
    """Add the columns `copies`, `conflicting` and `leaking`, over all valid rows.

    A row is leaking where it is not in train, but a row with the same image is.
    """
    same = Window.partitionBy("content_hash")
    return (
        rows.withColumn("copies", sf.count("*").over(same).cast("int"))
        .withColumn("conflicting", sf.min("label").over(same) != sf.max("label").over(same))
        .withColumn("leaking", ~is_train() & sf.max(is_train()).over(same))
    )


def relate_to_train(rows: DataFrame) -> DataFrame:
    """Add `copy_rank`, `in_train` and `near_in_train` of `schemas.PROCESSED`.

    `rows` are those that are kept, with their final `split`.
    """
    in_train = sf.col("split") == "train"
    rank = sf.row_number().over(Window.partitionBy("split", "content_hash").orderBy("row")) - 1
    return (
        rows.withColumn("copy_rank", rank.cast("int"))
        .withColumn("in_train", sf.max(in_train).over(Window.partitionBy("content_hash")))
        .withColumn("near_in_train", sf.max(in_train).over(Window.partitionBy("perceptual_hash")))
    )


def duplicate_statistics(rows: DataFrame) -> dict[str, Any]:
    """Count byte-identical images among all valid rows, before any are removed."""
    groups = rows.groupBy("content_hash").agg(
        sf.count("*").alias("n"),
        sf.sum(is_train().cast("int")).alias("train"),
        sf.max("conflicting").alias("conflicting"),
        sf.min("row").alias("first"),
    )
    total = groups.agg(
        sf.sum("n").alias("rows"),
        sf.sum((sf.col("n") > 1).cast("int")).alias("groups"),
        sf.sum(sf.col("n") - 1).alias("redundant"),
        sf.sum(sf.greatest(sf.col("train") - 1, sf.lit(0))).alias("redundant_in_training"),
        sf.sum(sf.col("conflicting").cast("int")).alias("conflicting_groups"),
        sf.sum(sf.when(sf.col("conflicting"), sf.col("n")).otherwise(0)).alias("conflicting_rows"),
    ).collect()[0]
    leaks = rows.filter(~is_train()).groupBy("usage").agg(sf.sum(sf.col("leaking").cast("int")).alias("n")).orderBy("usage")
    flat = rows.filter("flat").count()
    return {
        **total.asDict(),
        "leaks": {row["usage"]: row["n"] for row in leaks.collect()},
        "flat": flat,
        "largest": _examples(rows, groups.filter("n > 1").orderBy(sf.desc("n"), "first")),
        "conflicting": _examples(rows, groups.filter("conflicting").orderBy("first")),
    }


def _examples(rows: DataFrame, groups: DataFrame) -> list[list[dict[str, int]]]:
    """The first groups, each a list of its first rows with their labels."""
    some = groups.limit(EXAMPLES).select("content_hash", "n", "first")
    place = sf.row_number().over(Window.partitionBy("content_hash").orderBy("row"))
    members = rows.join(sf.broadcast(some), "content_hash").withColumn("place", place).filter(sf.col("place") <= EXAMPLES)
    listed = members.select("n", "first", "row", "label").collect()
    found: dict[tuple[int, int], list[dict[str, int]]] = {}
    for row in sorted(listed, key=lambda row: (row["first"], row["row"])):
        found.setdefault((-row["n"], row["first"]), []).append({"row": row["row"], "label": row["label"]})
    return [members for _, members in sorted(found.items())]
