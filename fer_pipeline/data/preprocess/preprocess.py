"""Turn the raw table into the processed table and the quarantine, in Spark.

Python sees Arrow batches only: once to parse and hash each picture, once to finish it (enhance, add copies) and write it. Both
read and write files themselves, in the workspace or a store; Spark holds the other columns, for duplicates, splits and class
balance. The driver sees counts only, so that a table may be larger than any one machine.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyspark import StorageLevel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.pandas.types import from_arrow_schema

from fer_pipeline import schemas
from fer_pipeline.config.params import PreprocessParams
from fer_pipeline.data.preprocess import images
from fer_pipeline.data.preprocess.balancing import plan_variants
from fer_pipeline.data.preprocess.duplicates import duplicate_statistics, mark_copies, relate_to_train
from fer_pipeline.data.preprocess.exclusions import BY_CHOICE, mark_excluded
from fer_pipeline.data.preprocess.feedback_rows import is_feedback, join_feedback
from fer_pipeline.data.preprocess.metadata import PreprocessMetadata, write_metadata
from fer_pipeline.data.preprocess.splitting import assign_splits
from fer_pipeline.data.preprocess.writer import Target, file_rows, write_faces, write_left_out
from fer_pipeline.data.spark.session import spark_session
from fer_pipeline.data.storage import storage_location
from fer_pipeline.data.storage.local import LocalLocation
from fer_pipeline.data.storage.location import StorageLocation
from fer_pipeline.data.table.files import listed_files
from fer_pipeline.data.table.parts import parts_of, read_parts
from fer_pipeline.errors import ParamsError, SourceError
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.workspace.files import replaced_folder

_ROWS_PER_TASK = 50_000  # of a shuffle
_USAGE_ROWS = 65_536


def preprocess(raw: Path, out: Path, quarantine: Path, params: PreprocessParams) -> PreprocessMetadata:
    """Write the processed table and the quarantine; return the metadata.

    `out` gets faces/*.parquet (`schemas.PROCESSED`) and facts.json, `quarantine` gets rows.parquet (`schemas.QUARANTINE`) and
    facts.json; where `params.output` is a store, the Parquet files go there, and both folders get the list of them. Equal input
    and parameters give equal files, however Spark divides the work. Both folders are replaced as a whole at the end. Raises
    `SourceError` where `raw` is missing, damaged or without a usable row, `ParamsError` where corrections of people would go to a
    store, `ToolUnavailableError` where Spark does not start or fails.
    """
    start = time.monotonic()
    source, parts, has_splits, has_feedback = _read_source(raw)
    rows_in = sum(parts["rows"].to_pylist())
    if has_feedback and params.output != "workspace":
        raise ParamsError(
            f"{raw} holds corrections of people, which stay in the workspace, where `fer feedback delete` finds them: set "
            f"preprocess.output to workspace, got {params.output!r}, or fetch.feedback to none"
        )
    with ExitStack() as stack:
        spark = stack.enter_context(spark_session(params.spark_master))
        # For its owner alone, where people gave their faces.
        aside_bad = stack.enter_context(replaced_folder(quarantine, private=has_feedback))
        aside = stack.enter_context(replaced_folder(out, private=has_feedback))
        store = None if params.output == "workspace" else storage_location(params.output)
        scratch = stack.enter_context(_scratch(LocalLocation(aside) if store is None else store))
        _size_shuffles(spark, rows_in)
        size = file_rows(rows_in)
        # On disk: the heap stays free for sorting, and a worker that dies takes no more than what its tasks can parse again.
        parsed = _parsed(spark, parts, size, images.parser(has_splits, size, scratch)).persist(StorageLevel.DISK_ONLY)
        faults = parsed.filter("reason is not null").select(*schemas.QUARANTINE.names)
        valid = parsed.filter("reason is null").drop("reason", "detail")
        own = valid.filter(~is_feedback()) if has_feedback else valid
        found: dict[str | None, int] = {row["split"]: row["count"] for row in own.groupBy("split").count().collect()}
        if not found:
            raise SourceError(_why_no_row(raw, faults))
        marked = mark_excluded(mark_copies(valid), params).persist(StorageLevel.DISK_ONLY)
        left_out = faults.unionByName(marked.filter("reason is not null").select(*schemas.QUARANTINE.names))
        kept = marked.filter("reason is null").drop("reason", "detail")
        table, rule = assign_splits(kept.filter(~is_feedback()) if has_feedback else kept, found, params)
        if has_feedback:
            joined = join_feedback(table, kept.filter(is_feedback())).persist(StorageLevel.DISK_ONLY)
            left_out = left_out.unionByName(joined.filter("reason is not null").select(*schemas.QUARANTINE.names))
            table = joined.filter("reason is null").drop("reason", "detail")
        faces = Target(LocalLocation(aside if store is not None else aside / "faces"), store and store.child("faces"))
        counts = write_faces(plan_variants(relate_to_train(table), params), rows_in, scratch, faces, params)
        bad = Target(LocalLocation(aside_bad), store and store.child("quarantine"))
        reasons = write_left_out(left_out, bad, "rows.parquet")
        duplicates = duplicate_statistics(marked)
        marked.unpersist()
        parsed.unpersist()
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


def _read_source(raw: Path) -> tuple[dict[str, Any], pa.Table, bool, bool]:
    """Return source metadata, parts, whether it has splits, and has feedback.

    Rows of feedback do not count as rows with a split. Raises `SourceError`.
    """
    folder = storage_location(raw)
    files = listed_files(folder) or [folder.child("faces.parquet")]
    try:
        source = json.loads((raw / "source.json").read_text(encoding="utf-8"))
        parts, schema = parts_of(files, "fer fetch")
        if schema is None or not schema.equals(schemas.RAW):
            columns = [] if schema is None else schema.names
            raise SourceError(f"{files[0].address} has columns {columns}, expected {schemas.RAW.names}: fetch again")
        usages: set[str] = set()
        for batch in read_parts(parts.to_batches(), ["usage"], _USAGE_ROWS):
            usages |= {(usage or "").strip() for usage in batch.column(0).unique().to_pylist()}
    except FileNotFoundError as error:
        raise SourceError(f"{error.filename or raw} is missing: run `fer fetch` first") from error
    except (OSError, ValueError) as error:
        raise SourceError(f"{raw} cannot be read as the raw table: {error}; run `fer fetch` again") from error
    if not isinstance(source, dict) or not {"kind", "name", "synthetic"} <= source.keys():
        raise SourceError(f"{raw}/source.json lacks kind, name or synthetic: run `fer fetch` again")
    if not any(parts["rows"].to_pylist()):
        raise SourceError(f"{raw}/faces.parquet has no rows: check the source and fetch again")
    feedback = {usage for usage in usages if usage.lower() == schemas.FEEDBACK_USAGE.lower()}
    return source, parts, usages - feedback != {""}, bool(feedback)


@contextmanager
def _scratch(place: StorageLocation) -> Iterator[StorageLocation]:
    """Yield a folder for images, which is removed at the end."""
    scratch = place.child(f"scratch-{uuid.uuid4().hex[:12]}")
    try:
        yield scratch
    finally:
        system, path = scratch.arrow
        with suppress(FileNotFoundError):  # nothing was parsed
            system.delete_dir(path)


def _parsed(spark: SparkSession, parts: pa.Table, size: int, function: images.BatchFunction) -> DataFrame:
    tasks = images.tasks_of(parts, size)
    divided = spark.createDataFrame(tasks).repartitionById(tasks["number"][-1].as_py() + 1, "number")
    return divided.mapInArrow(function, from_arrow_schema(images.NARROW))


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
