"""Row groups of Parquet files, as units of work for executors.

They are read through `data.storage`, so Spark needs no packages for a store.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from fer_pipeline.data.storage import storage_location
from fer_pipeline.data.storage.location import StorageLocation
from fer_pipeline.errors import SourceError

PARTS: Final = pa.schema(
    [
        pa.field("file", pa.binary(), nullable=False),  # address, as encoded by the file system
        pa.field("group", pa.int32(), nullable=False),  # number of the row group
        pa.field("first", pa.int64(), nullable=False),  # position of its first row in the table
        pa.field("rows", pa.int64(), nullable=False),  # their number
    ]
)
"""One row group of a Parquet file."""

_READ_BYTES: Final = 1 << 20


def parts_of(files: Iterable[StorageLocation], writer: str) -> tuple[pa.Table, pa.Schema | None]:
    """List the row groups of Parquet files, and the schema of the first file.

    Only the files' ends are read. `writer` is the command that wrote them, for messages. Raises `SourceError` where a file cannot
    be read as Parquet.
    """
    found, first, schema = [], 0, None
    for file in files:
        try:
            with file.open() as stream:
                metadata = pq.read_metadata(stream)
        except (OSError, ValueError) as error:
            raise SourceError(f"{file.address} cannot be read as Parquet: {error}; run `{writer}` again") from error
        schema = schema or metadata.schema.to_arrow_schema()
        for group in range(metadata.num_row_groups):
            rows = metadata.row_group(group).num_rows
            found.append({"file": os.fsencode(file.address), "group": group, "first": first, "rows": rows})
            first += rows
    return pa.Table.from_pylist(found, PARTS), schema


def read_parts(parts: Iterable[pa.RecordBatch], columns: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
    """Read columns of the row groups that batches of `PARTS` name, `rows` at a time.

    A file is opened once for the parts of it that follow each other. Raises `SourceError` where a file cannot be read.
    """
    named = (part for batch in parts for part in batch.to_pylist())
    for file, group in groupby(named, key=itemgetter("file")):
        location = storage_location(os.fsdecode(file))
        try:
            with location.open() as stream:
                # Without pre_buffer and with a buffer, not all images of a row group are in memory at once.
                table = pq.ParquetFile(stream, pre_buffer=False, buffer_size=_READ_BYTES)
                for part in group:
                    yield from table.iter_batches(rows, [part["group"]], list(columns), use_threads=False)
        except (OSError, ValueError) as error:
            raise SourceError(f"{location.address} cannot be read: {error}; run the stage that wrote it again") from error
