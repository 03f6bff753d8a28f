"""Add the rows of accepted corrections to train after splitting."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, Window, functions as sf

from fer_pipeline.schemas import FEEDBACK_USAGE


def is_feedback() -> Column:
    """Build a column that is true for corrections."""
    return sf.coalesce(sf.lower(sf.trim(sf.col("usage"))) == FEEDBACK_USAGE.lower(), sf.lit(False))


def join_feedback(rows: DataFrame, feedback: DataFrame) -> DataFrame:
    """Add the corrected rows to `rows`, as train, with `reason` and `detail`.

    `rows` have their final splits. A corrected row has a reason where its image, or one of equal perceptual hash, is in
    validation or test; in all other rows the two columns are null.
    """
    together = rows.unionByName(feedback.withColumn("split", sf.lit("train")))
    measured = sf.max(sf.col("split") != "train")
    same, near = (measured.over(Window.partitionBy(column)) for column in ("content_hash", "perceptual_hash"))
    which = sf.when(sf.col("same"), "the same picture").otherwise("a nearly equal picture")
    words = sf.concat(which, sf.lit(" stands in validation or test, which training must not see"))
    return (
        together.withColumn("same", same)
        .withColumn("leaks", is_feedback() & (sf.col("same") | near))
        .withColumn("reason", sf.when(sf.col("leaks"), "feedback-leak"))
        .withColumn("detail", sf.when(sf.col("leaks"), words))
        .drop("same", "leaks")
    )
