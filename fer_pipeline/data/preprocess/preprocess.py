"""Turn the raw table into the processed table and the quarantine, in Spark.

Python sees Arrow batches only: once to parse and hash each picture, once to finish it (enhance, add copies) and write it. All
that lies between, duplicates, splits and class balance, is Spark's work on columns without the pictures. The driver sees counts
only, so that a table may be larger than any one machine.
"""

from __future__ import annotations

import json
import math
import re
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as sf
from pyspark.sql.pandas.types import from_arrow_schema

from fer_pipeline import schemas
from fer_pipeline.config.params import PreprocessParams
from fer_pipeline.data.preprocess import parsing
from fer_pipeline.data.preprocess.duplicates import duplicate_statistics, is_train, mark_copies, relate_to_train
from fer_pipeline.data.preprocess.feedback_rows import is_feedback, join_feedback
from fer_pipeline.data.preprocess.ranking import bucket_of, rank_in_group
from fer_pipeline.data.preprocess.splitting import assign_splits
from fer_pipeline.data.preprocess.writer import BatchFunction, write_faces, write_left_out
from fer_pipeline.data.spark.session import spark_session
from fer_pipeline.errors import FerError, SourceError
from fer_pipeline.imaging import ImageSpec
from fer_pipeline.labels import EMOTIONS, FERPLUS_COLUMNS
from fer_pipeline.workspace.files import replaced_folder, write_json

CHOICES: Final = ("training-copy", "non-face", "feedback-leak")
"""Reasons of rows that were left out because the parameters ask for it; all other reasons are faults."""

_ROWS_PER_TASK = 50_000  # of a shuffle: 120 MB where rows carry their picture
_NON_FACE = FERPLUS_COLUMNS.index("NF")


@dataclass(frozen=True)
class PreprocessMetadata:
    """Metadata of a processed table: counts of rows, duplicates, image spec.

    Raises `FerError` unless `rows_in + augmented == rows_out + quarantined + removed_by_choice`. `quarantined` and
    `removed_by_choice` count rows by reason, `splits` the rows of each split by emotion.
    """

    source: dict[str, Any]
    rows_in: int
    rows_out: int
    augmented: int
    quarantined: dict[str, int]
    removed_by_choice: dict[str, int]
    splits: dict[str, dict[str, int]]
    split_rule: str
    duplicates: dict[str, Any]
    image_spec: ImageSpec
    seconds: float

    def __post_init__(self) -> None:
        left_out = sum(self.quarantined.values()) + sum(self.removed_by_choice.values())
        if self.rows_in + self.augmented != self.rows_out + left_out:
            raise FerError(
                f"rows do not add up: {self.rows_in} in + {self.augmented} augmented, but {self.rows_out} out + {left_out} left "
                f"out ({self.quarantined}, {self.removed_by_choice}): this is a fault of fer-pipeline, please report it"
            )

    def summary(self) -> str:
        """Return one line for the terminal."""
        splits = ", ".join(f"{sum(by_label.values()):,} {split}" for split, by_label in self.splits.items())
        return (
            f"{self.rows_in:,} rows in, {self.rows_out:,} out ({splits}; {self.augmented:,} augmented), "
            f"{sum(self.quarantined.values()):,} quarantined, {sum(self.removed_by_choice.values()):,} removed by choice, "
            f"{self.seconds:.1f} s"
        )


def preprocess(raw: Path, out: Path, quarantine: Path, params: PreprocessParams) -> PreprocessMetadata:
    """Write the processed table and the quarantine; return the metadata.

    `out` gets faces/*.parquet (`schemas.PROCESSED`) and facts.json, `quarantine` gets rows.parquet (`schemas.QUARANTINE`) and
    facts.json. Equal input and parameters give equal files, however Spark divides the work. Both folders are replaced as a
    whole at the end. Raises `SourceError` where `raw` is missing, damaged or without a usable row, `ToolUnavailableError` where
    Spark does not start or fails.
    """
    start = time.monotonic()
    source, rows_in, has_splits, has_feedback = _read_source(raw)
    with spark_session(params.spark_master) as spark, replaced_folder(quarantine) as aside_bad, replaced_folder(out) as aside:
        _size_shuffles(spark, rows_in)
        scratch = aside / "scratch"
        rows = _spark_read(spark, raw / "faces.parquet")
        _map_arrow(rows, parsing.parser(has_splits), parsing.PARSED).write.parquet(str(scratch / "parsed"))
        parsed = _spark_read(spark, scratch / "parsed")
        faults = parsed.filter("reason is not null").select(*schemas.QUARANTINE.names)
        valid = parsed.filter("reason is null").drop("image", "reason", "detail")
        own = valid.filter(~is_feedback()) if has_feedback else valid
        found: dict[str | None, int] = {row["split"]: row["count"] for row in own.groupBy("split").count().collect()}
        if not found:
            raise SourceError(_why_no_row(raw, faults))
        marked = _mark_choices(mark_copies(valid), params).cache()
        left_out = faults.unionByName(marked.filter("reason is not null").select(*schemas.QUARANTINE.names))
        kept = marked.filter("reason is null").drop("reason", "detail")
        table, rule = assign_splits(kept.filter(~is_feedback()) if has_feedback else kept, found, params)
        if has_feedback:
            joined = join_feedback(table, kept.filter(is_feedback())).cache()
            left_out = left_out.unionByName(joined.filter("reason is not null").select(*schemas.QUARANTINE.names))
            table = joined.filter("reason is null").drop("reason", "detail")
        table = _plan_variants(relate_to_train(table), params).join(parsed.select("row", "image"), "row")
        counts = write_faces(table, rows_in, scratch / "faces", aside / "faces", params)
        reasons = write_left_out(left_out, scratch / "left-out", aside_bad / "rows.parquet")
        duplicates = duplicate_statistics(marked)
        marked.unpersist()
        shutil.rmtree(scratch)
        metadata = PreprocessMetadata(
            source=source,
            rows_in=rows_in,
            rows_out=sum(counts.values()),
            augmented=sum(count for (_, _, augmented), count in counts.items() if augmented),
            quarantined={reason: count for reason, count in reasons.items() if reason not in CHOICES},
            removed_by_choice={reason: count for reason, count in reasons.items() if reason in CHOICES},
            splits={
                split: {
                    emotion: sum(counts[split, index, augmented] for augmented in (False, True))
                    for index, emotion in enumerate(EMOTIONS)
                }
                for split in schemas.SPLITS
            },
            split_rule=rule,
            duplicates=duplicates,
            image_spec=params.image_spec,
            seconds=time.monotonic() - start,
        )
        _write_metadata(metadata, aside, aside_bad)
    return metadata


def _read_source(raw: Path) -> tuple[dict[str, Any], int, bool, bool]:
    """Return metadata of the source, rows, whether it has splits, and has feedback.

    Rows of feedback do not count as rows with a split. Raises `SourceError`.
    """
    try:
        source = json.loads((raw / "source.json").read_text(encoding="utf-8"))
        table = pq.ParquetFile(raw / "faces.parquet")
        if not table.schema_arrow.equals(schemas.RAW):
            raise SourceError(
                f"{raw}/faces.parquet has columns {table.schema_arrow.names}, expected {schemas.RAW.names}: fetch again"
            )
        usages: set[str] = set()
        for batch in table.iter_batches(columns=["usage"]):
            usages |= {(usage or "").strip() for usage in batch.column(0).unique().to_pylist()}
    except FileNotFoundError as error:
        raise SourceError(f"{error.filename or raw} is missing: run `fer fetch` first") from error
    except (OSError, ValueError) as error:
        raise SourceError(f"{raw} cannot be read as the raw table: {error}; run `fer fetch` again") from error
    if not isinstance(source, dict) or not {"kind", "name", "synthetic"} <= source.keys():
        raise SourceError(f"{raw}/source.json lacks kind, name or synthetic: run `fer fetch` again")
    if not table.metadata.num_rows:
        raise SourceError(f"{raw}/faces.parquet has no rows: check the source and fetch again")
    feedback = {usage for usage in usages if usage.lower() == schemas.FEEDBACK_USAGE.lower()}
    return source, table.metadata.num_rows, usages - feedback != {""}, bool(feedback)


def _spark_read(spark: SparkSession, path: Path) -> DataFrame:
    return spark.read.parquet(re.sub(r"([\[\]{}*?\\])", r"\\\1", str(path.resolve())))  # Spark takes a path for a pattern


def _map_arrow(frame: DataFrame, function: BatchFunction, schema: pa.Schema) -> DataFrame:
    # The frame's own type stubs name pandas' iterators, where any iterator of record batches will do.
    return frame.mapInArrow(function, from_arrow_schema(schema))


def _why_no_row(raw: Path, faults: DataFrame) -> str:
    reasons = {row["reason"]: row["count"] for row in faults.groupBy("reason").count().collect()}
    first = faults.orderBy("row").first()
    example = f"; the first, {first['name']}: {first['detail']}" if first else ""
    return f"no row of {raw} can be used, faults by reason: {reasons}{example}"


def _mark_choices(rows: DataFrame, params: PreprocessParams) -> DataFrame:
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


def _plan_variants(rows: DataFrame, params: PreprocessParams) -> DataFrame:
    """Add `variants`: the number of augmented copies that class balancing needs.

    Rows with a flat image get none.
    """
    if not params.oversample_to:
        return rows.withColumn("variants", sf.lit(0))
    usable = (sf.col("split") == "train") & ~sf.col("flat")
    classes = (
        rows.filter(sf.col("split") == "train")
        .groupBy("label")
        .agg(sf.count("*").alias("n"), sf.sum(usable.cast("int")).alias("m"))
    )
    sizes = {row["label"]: (row["n"], row["m"]) for row in classes.collect()}
    target = math.ceil(params.oversample_to * max(n for n, _ in sizes.values()))
    keyed = (
        rows.withColumn("group", sf.col("label") * 2 + usable.cast("int"))
        .withColumn("key", sf.sha2(sf.concat(sf.lit(f"{params.seed}-variant-"), sf.col("row").cast("string")), 256))
        .withColumn("bucket", bucket_of(sf.col("key")))
        .withColumn("size", sf.lit(1))
    )
    placed = rank_in_group(keyed, "group", "bucket", ["key", "row"], "size")
    variants = sf.lit(0)
    for label, (n, m) in sizes.items():
        each, more = divmod(max(target - n, 0), m) if m else (0, 0)
        number = each + (sf.col("position") <= more).cast("int")
        variants = sf.when(usable & (sf.col("label") == label), number).otherwise(variants)
    return placed.withColumn("variants", variants).drop("group", "key", "bucket", "size", "position", "before", "last")


def _size_shuffles(spark: SparkSession, rows: int) -> None:
    """Raise the number of shuffle partitions to one per `_ROWS_PER_TASK` rows."""
    name = "spark.sql.shuffle.partitions"
    configured = int(spark.conf.get(name) or 1)
    spark.conf.set(name, str(max(configured, -(-rows // _ROWS_PER_TASK))))


def _write_metadata(metadata: PreprocessMetadata, processed: Path, quarantine: Path) -> None:
    values = asdict(metadata)
    del values["seconds"]  # equal input must give equal files, or DVC would train again
    write_json(processed / "facts.json", {**values, "image_spec_fingerprint": metadata.image_spec.fingerprint})
    write_json(
        quarantine / "facts.json",
        {"rows_in": metadata.rows_in, "quarantined": metadata.quarantined, "removed_by_choice": metadata.removed_by_choice},
    )
