"""Mark the train rows that the parameters leave out."""

from __future__ import annotations

from typing import Final

from pyspark.sql import DataFrame, Window, functions as sf

from fer_pipeline.config.params import PreprocessParams
from fer_pipeline.data.preprocess.duplicates import is_train
from fer_pipeline.labels import FERPLUS_COLUMNS

BY_CHOICE: Final = ("training-copy", "non-face", "feedback-leak")
"""Reasons of rows that were left out because the parameters ask for it; all other reasons are faults."""

_NON_FACE = FERPLUS_COLUMNS.index("NF")


def mark_excluded(rows: DataFrame, params: PreprocessParams) -> DataFrame:
    """Add `reason` and `detail` to the train rows that the parameters leave out.

    Both are null in all other rows. Non-faces go first: of the copies of one image, each with its own votes, the first that
    counts as a face is kept.
    """
    non_face = sf.lit(False)
    if params.min_non_face_votes:
        votes = sf.coalesce(sf.col("votes")[_NON_FACE], sf.lit(0))
        non_face = is_train() & (votes >= params.min_non_face_votes)
    rows = rows.withColumn("candidate", is_train() & ~non_face)
    group = Window.partitionBy("content_hash", "candidate")
    first = sf.min("row").over(group)
    copy = sf.col("candidate") & (sf.col("row") > first) & sf.lit(params.drop_duplicates)
    detail = sf.concat(sf.lit("the same picture as row "), first.cast("string"))
    votes_detail = sf.lit(f"at least {params.min_non_face_votes} FER+ votes for no face")
    return (
        rows.withColumn("reason", sf.when(non_face, "non-face").when(copy, "training-copy"))
        .withColumn("detail", sf.when(non_face, votes_detail).when(copy, detail))
        .drop("candidate")
    )
