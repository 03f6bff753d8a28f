"""Write the processed table and the quarantine as Parquet files, on the executors."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, functions as sf
from pyspark.sql.pandas.types import from_arrow_schema

from fer_pipeline import schemas
from fer_pipeline.config.params import PreprocessParams
from fer_pipeline.data.preprocess.balancing import finisher
from fer_pipeline.data.preprocess.images import BatchFunction, with_images
from fer_pipeline.data.storage.location import StorageLocation
from fer_pipeline.data.table.files import with_digest, write_list

_FILE_ROWS = (8_192, 65_536)  # fewest and most rows of a file: 20 and 157 MB of pictures
_FILES = 1_024  # above which files get longer
_GROUP_ROWS = 1_024
_LEFT_OUT_GROUP_ROWS = 131_072
_OF_FILE = (("file", pa.string()), ("bytes", pa.int64()), ("rows", pa.int64()))


@dataclass(frozen=True)
class Target:
    """Where the files of a table go.

    That is its folder, or a store whose files the folder then lists. Files in a store have a digest in their names.
    """

    folder: StorageLocation
    store: StorageLocation | None = None

    @property
    def place(self) -> StorageLocation:
        """The folder that gets the files."""
        return self.store or self.folder

    def finish(self, files: set[tuple[str, int]]) -> None:
        """Write the list of the files, with their bytes, if they lie in a store."""
        if self.store is not None:
            write_list(self.folder, self.store, files)


def write_faces(
    table: DataFrame, rows_in: int, scratch: StorageLocation, target: Target, params: PreprocessParams
) -> Counter[tuple[str, int, bool]]:
    """Write part-*.parquet, each with a fixed range of ordered source rows.

    `scratch` holds the images of the rows. Returns the number of rows by split, label and whether they are augmented copies.
    """
    size = file_rows(rows_in)
    ordered = table.repartitionById(-(-rows_in // size), (sf.col("row") / size).cast("int")).sortWithinPartitions("row")
    add, finish = with_images(size, scratch), finisher(params)
    keys = ["split", "label", "augmented"]
    found = _write_parts(
        ordered,
        part_writer(
            lambda batches: finish(add(batches)),
            schemas.PROCESSED,
            target,
            lambda row: f"part-{row // size:05d}.parquet",
            keys,
            _GROUP_ROWS,
        ),
        schemas.PROCESSED,
        keys,
    )
    counts: Counter[tuple[str, int, bool]] = Counter()
    for row in found:
        counts[row["split"], row["label"], row["augmented"]] += row["rows"]
    target.finish({(row["file"], row["bytes"]) for row in found})
    if target.store is None:
        for entry in target.folder.entries():  # a worker that was killed leaves a part of a file, under a name of its own
            if entry.name.startswith("."):
                target.folder.child(entry.name).delete()
    return counts


def write_left_out(rows: DataFrame, target: Target, name: str) -> dict[str, int]:
    """Write the quarantine table, ordered by row; return its rows by reason."""
    ordered = rows.repartition(1).sortWithinPartitions("row")
    writer = part_writer(iter, schemas.QUARANTINE, target, lambda _: name, ["reason"], _LEFT_OUT_GROUP_ROWS)
    found = _write_parts(ordered, writer, schemas.QUARANTINE, ["reason"])
    files = {(row["file"], row["bytes"]) for row in found}
    if not found:
        files = {_stored(target, name, lambda path: pq.write_table(schemas.QUARANTINE.empty_table(), path))}
    target.finish(files)
    return {str(row["reason"]): row["rows"] for row in sorted(found, key=lambda row: str(row["reason"]))}


def file_rows(rows_in: int) -> int:
    """Return how many source rows a file spans.

    It depends on the number of rows alone, so that equal input gives equal files.
    """
    rows, most = _FILE_ROWS
    while rows < most and rows * _FILES < rows_in:
        rows *= 2
    return rows


def part_writer(
    function: BatchFunction,
    schema: pa.Schema,
    target: Target,
    name: Callable[[int], str],
    keys: Sequence[str],
    group_rows: int,
) -> BatchFunction:
    """Return a function that writes a partition and yields counts of rows by `keys`.

    It writes the batches that `function` returns for those of the partition. `name` maps the first value of the column `row` to
    the name of the file, which has `schema` and row groups of `group_rows` rows, and appears when it is complete: Spark may run
    a partition twice, or run it again where a worker died. Each count has the file and its bytes, too. A partition without rows
    gives no file. Memory is that of one row group. Raises `OSError` where the file cannot be written.
    """

    def write(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        groups = _groups(function(batches), schema, group_rows)
        first = next(groups, None)
        if first is None:
            return
        counts = []

        def fill(path: Path) -> None:
            with pq.ParquetWriter(path, schema) as writer:
                for group in chain([first], groups):
                    writer.write_table(group, row_group_size=group_rows)
                    counts.append(group.group_by(list(keys)).aggregate([([], "count_all")]))

        file, size = _stored(target, name(first["row"][0].as_py()), fill)
        total = pa.concat_tables(counts).group_by(list(keys)).aggregate([("count_all", "sum")])
        columns = [*(total[key] for key in keys), [file] * len(total), [size] * len(total), total["count_all_sum"]]
        described = _counts_schema(schema, keys)
        yield from pa.table(columns, names=described.names).cast(described).to_batches()

    return write


def _stored(target: Target, name: str, fill: Callable[[Path], object]) -> tuple[str, int]:
    """Write one file; return its name and bytes."""
    if target.store is None:
        with target.folder.child(name).replaced() as aside:
            fill(aside)
            return name, aside.stat().st_size
    with tempfile.TemporaryDirectory(prefix="fer-part-") as scratch:
        path = Path(scratch) / name
        fill(path)
        with path.open("rb") as stream:
            named = with_digest(name, hashlib.file_digest(stream, "sha256").hexdigest())
        size = path.stat().st_size
        with target.store.child(named).replaced() as aside:
            shutil.move(path, aside)
        return named, size


def _write_parts(rows: DataFrame, writer: BatchFunction, schema: pa.Schema, keys: list[str]) -> list[dict[str, Any]]:
    written = rows.mapInArrow(writer, from_arrow_schema(_counts_schema(schema, keys)))
    return [row.asDict() for row in written.collect()]


def _counts_schema(schema: pa.Schema, keys: Sequence[str]) -> pa.Schema:
    return pa.schema([*(schema.field(key) for key in keys), *(pa.field(name, kind, nullable=False) for name, kind in _OF_FILE)])


def _groups(batches: Iterator[pa.RecordBatch], schema: pa.Schema, rows: int) -> Iterator[pa.Table]:
    """Yield the batches as tables of exactly `rows` rows; the last may have fewer."""
    held = schema.empty_table()
    for batch in batches:
        held = pa.concat_tables([held, pa.Table.from_batches([batch]).cast(schema)])
        while held.num_rows >= rows:
            yield held.slice(0, rows).combine_chunks()
            held = held.slice(rows)
    if held.num_rows:
        yield held.combine_chunks()
