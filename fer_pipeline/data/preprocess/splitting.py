"""Assign splits: those of the source, else seeded stratified ones."""

from __future__ import annotations

from collections.abc import Mapping

from pyspark.sql import DataFrame, functions as sf

from fer_pipeline.config.params import PreprocessParams
from fer_pipeline.data.preprocess.ranking import bucket_of, rank_in_group
from fer_pipeline.errors import SourceError


def assign_splits(rows: DataFrame, found: Mapping[str | None, int], params: PreprocessParams) -> tuple[DataFrame, str]:
    """Return `rows` with a final `split` in each, and the rule in words.

    `rows` has columns row, split (null where the source has no word), label and perceptual_hash; `found` counts rows by split.
    Raises `SourceError` where there is no row to train on.
    """
    if not found.get("train") and not found.get(None):
        words = ", ".join(f"{count} {split}" for split, count in found.items())
        raise SourceError(f"the source has no training rows, only {words}: add rows with usage Training or a folder train/")
    has_test, has_validation = bool(found.get("test")), bool(found.get("validation"))
    rows = rows.withColumn("split", sf.coalesce("split", sf.lit("train")))
    if has_test and has_validation:
        return rows, "train, validation and test as the source says"
    if has_test:
        share = params.validation_share
        return carve(rows, "validation", share, params.seed), f"test as the source says; validation is {_share(share, 'train')}"
    if has_validation:
        share = params.validation_share
        renamed = rows.withColumn("split", sf.when(sf.col("split") == "validation", "test").otherwise(sf.col("split")))
        rule = f"the source has no test split, so its validation split is test; validation is {_share(share, 'train')}"
        return carve(renamed, "validation", share, params.seed), rule
    rows = carve(rows, "test", params.test_share, params.seed)
    rows = carve(rows, "validation", min(params.validation_share / (1 - params.test_share), 1.0), params.seed)
    both = f"test is {_share(params.test_share, 'all rows')}, validation {_share(params.validation_share, 'all rows')}"
    return rows, f"the source has no splits to choose and measure on: {both}"


def carve(rows: DataFrame, into: str, share: float, seed: int) -> DataFrame:
    """Move about `share` of each label's train rows to the split `into`.

    Rows with equal perceptual hash stay together, under the label of the first of them; each label with two or more such groups
    keeps at least one in train and gives at least one. Groups are taken in the order of a seeded hash, so the choice does not
    depend on how the table is partitioned. A group larger than the wanted number of rows is taken last.
    """
    in_train = sf.col("split") == "train"
    groups = (
        rows.filter(in_train)
        .groupBy("perceptual_hash")
        .agg(sf.min_by("label", "row").alias("label"), sf.count("*").alias("size"))
    )
    wanted = groups.groupBy("label").agg((sf.sum("size") * share).alias("wanted"))
    large = sf.when(sf.col("size") > sf.col("wanted"), "1").otherwise("0")
    ordered = (
        groups.join(sf.broadcast(wanted), "label")
        .withColumn("key", sf.sha2(sf.concat(sf.lit(f"{seed}-{into}-"), "perceptual_hash"), 256))
        .withColumn("bucket", sf.concat(large, bucket_of(sf.col("key"))))
    )
    placed = rank_in_group(ordered, "label", "bucket", ["key", "perceptual_hash"], "size")
    reached = sf.col("before") + sf.col("size") / 2 > sf.col("wanted")
    taken = (sf.col("position") < sf.col("last")) & ((sf.col("position") == 1) | ~reached)
    chosen = placed.filter(taken).select("perceptual_hash", sf.lit(into).alias("carved"))
    split = sf.when(in_train, sf.coalesce("carved", "split")).otherwise(sf.col("split"))
    return rows.join(chosen, "perceptual_hash", "left").withColumn("split", split).drop("carved")


def _share(share: float, of: str) -> str:
    return f"{100 * share:g} % of {of} (carved by label, near-equal pictures kept together)"
