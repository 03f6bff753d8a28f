"""Turn the raw table into the processed table and the quarantine, in Spark.

Python sees Arrow batches only: once to parse and hash each picture, once to finish it (enhance, add copies) and write it. All
that lies between, duplicates, splits and class balance, is Spark's work on columns without the pictures. The driver sees counts
only, so that a table may be larger than any one machine.
"""

from __future__ import annotations

import json
import re
import shutil
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.pandas.types import from_arrow_schema

from fer_pipeline import schemas
from fer_pipeline.config.params import PreprocessParams
from fer_pipeline.data.preprocess import parsing
from fer_pipeline.data.preprocess.balancing import plan_variants
from fer_pipeline.data.preprocess.duplicates import duplicate_statistics, mark_copies, relate_to_train
from fer_pipeline.data.preprocess.exclusions import BY_CHOICE, mark_excluded
from fer_pipeline.data.preprocess.feedback_rows import is_feedback, join_feedback
from fer_pipeline.data.preprocess.metadata import PreprocessMetadata, write_metadata
from fer_pipeline.data.preprocess.splitting import assign_splits
from fer_pipeline.data.preprocess.writer import BatchFunction, write_faces, write_left_out
from fer_pipeline.data.spark.session import spark_session
from fer_pipeline.errors import SourceError
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.workspace.files import replaced_folder

_ROWS_PER_TASK = 50_000  # of a shuffle: 120 MB where rows carry their picture


def preprocess(raw: Path, out: Path, quarantine: Path, params: PreprocessParams) -> PreprocessMetadata:
    """Write the processed table and the quarantine; return the metadata.

    `out` gets faces/*.parquet (`schemas.PROCESSED`) and facts.json, `quarantine` gets rows.parquet (`schemas.QUARANTINE`) and
    facts.json. Equal input and parameters give equal files, however Spark divides the work. Both folders are replaced as a
    whole at the end. Raises `SourceError` where `raw` is missing, damaged or without a usable row, `ToolUnavailableError` where
    Spark does not start or fails.
    """
    start = time.monotonic()
    source, rows_in, has_splits, has_feedback = _read_source(raw)
    with (
        spark_session(params.spark_master) as spark,
        replaced_folder(quarantine, private=has_feedback) as aside_bad,  # for its owner alone, where people gave their faces
        replaced_folder(out, private=has_feedback) as aside,
    ):
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
        marked = mark_excluded(mark_copies(valid), params).cache()
        left_out = faults.unionByName(marked.filter("reason is not null").select(*schemas.QUARANTINE.names))
        kept = marked.filter("reason is null").drop("reason", "detail")
        table, rule = assign_splits(kept.filter(~is_feedback()) if has_feedback else kept, found, params)
        if has_feedback:
            joined = join_feedback(table, kept.filter(is_feedback())).cache()
            left_out = left_out.unionByName(joined.filter("reason is not null").select(*schemas.QUARANTINE.names))
            table = joined.filter("reason is null").drop("reason", "detail")
        table = plan_variants(relate_to_train(table), params).join(parsed.select("row", "image"), "row")
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
            quarantined={reason: count for reason, count in reasons.items() if reason not in BY_CHOICE},
            removed_by_choice={reason: count for reason, count in reasons.items() if reason in BY_CHOICE},
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
        write_metadata(metadata, aside, aside_bad)
    return metadata


def _read_source(raw: Path) -> tuple[dict[str, Any], int, bool, bool]:
    """Return metadata of the source, rows, whether it has splits, and has feedback.

    Rows of feedback do not count as rows with a split. Raises `SourceError`.
    """
    try:
        source = json.loads((raw / "source.json").read_text(encoding="utf-8"))
        table = pq.ParquetFile((raw / "faces.parquet").absolute())
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


def _size_shuffles(spark: SparkSession, rows: int) -> None:
    """Raise the number of shuffle partitions to one per `_ROWS_PER_TASK` rows."""
    name = "spark.sql.shuffle.partitions"
    configured = int(spark.conf.get(name) or 1)
    spark.conf.set(name, str(max(configured, -(-rows // _ROWS_PER_TASK))))
