"""Parsed images on their way to the files of the table, aside from Spark.

Each task parses the rows of one output file and leaves their images in a scratch file; the task that writes the file reads them
from there. Spark holds and shuffles the other columns alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

import numpy as np
import pyarrow as pa

from fer_pipeline import schemas
from fer_pipeline.data.preprocess.parsing import PARSED, parse_row
from fer_pipeline.data.storage.local import LocalLocation
from fer_pipeline.data.storage.location import StorageLocation
from fer_pipeline.data.table.parts import PARTS, read_parts

BatchFunction = Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]

TASKS: Final = PARTS.insert(0, pa.field("number", pa.int32(), nullable=False))
"""A part of the raw table that has rows of the output file of this number; a part may have rows of several."""

NARROW: Final = pa.schema([field for field in PARSED if field.name != "image"])
"""One row per raw row, without its image."""

_IMAGES: Final = pa.schema([("row", pa.int64()), ("image", pa.binary())])
_BATCH: Final = 256


def tasks_of(parts: pa.Table, size: int) -> pa.Table:
    """Return rows of `TASKS`, where an output file spans `size` rows."""
    found = [
        {"number": number, **part}
        for part in parts.to_pylist()
        if part["rows"]
        for number in range(part["first"] // size, (part["first"] + part["rows"] - 1) // size + 1)
    ]
    return pa.Table.from_pylist(sorted(found, key=itemgetter("number", "first")), TASKS)


def parser(has_splits: bool, size: int, scratch: StorageLocation) -> BatchFunction:
    """Return a function from batches of `TASKS` to batches of `NARROW`.

    Tasks of a number come together. The images of the rows of number n are then in the scratch file of n, which is replaced
    where Spark repeats the task. With `has_splits`, a row without usage is a fault.
    """

    def parse(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        tasks = sorted((task for batch in batches for task in batch.to_pylist()), key=itemgetter("number", "first"))
        for number, group in groupby(tasks, key=itemgetter("number")):
            parts = pa.Table.from_pylist([{name: task[name] for name in PARTS.names} for task in group], PARTS)
            low, high = number * size, (number + 1) * size
            # Not packed: noise does not get smaller.
            with (
                _file(scratch, number).replaced() as aside,
                pa.OSFile(os.fspath(aside), "wb") as sink,
                pa.ipc.new_file(sink, _IMAGES) as writer,
            ):
                for batch in read_parts(parts.to_batches(), schemas.RAW.names, _BATCH):
                    rows = [row for row in batch.to_pylist() if low <= row["row"] < high]
                    parsed = [parse_row(row, has_splits) for row in rows]
                    good = [row for row in parsed if row.get("image") is not None]
                    columns = [pa.array([row[field.name] for row in good], field.type) for field in _IMAGES]
                    writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=_IMAGES))
                    yield pa.RecordBatch.from_pylist(parsed, NARROW)

    return parse


def with_images(size: int, scratch: StorageLocation) -> BatchFunction:
    """Return a function that adds the column image to batches of rows.

    The rows are those of one output file, sorted by `row`. Memory is that of a few hundred images.
    """

    def add(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        first = next(batches, None)
        if first is None:
            return
        with _opened(_file(scratch, first["row"][0].as_py() // size)) as images:
            cursor = _Cursor(images)
            for batch in _chained(first, batches):
                yield batch.append_column("image", cursor.take(batch["row"].to_numpy()))

    return add


class _Cursor:
    """Images of ascending rows, from batches in the order of rows."""

    def __init__(self, batches: Iterator[pa.RecordBatch]) -> None:
        self._batches = batches
        self._held = _IMAGES.empty_table()

    def take(self, rows: np.ndarray[Any, np.dtype[np.int64]]) -> pa.Array:
        held = [self._held]
        while not held[-1].num_rows or held[-1]["row"][-1].as_py() < rows[-1]:
            held.append(pa.Table.from_batches([next(self._batches)]))
        table = pa.concat_tables(held).combine_chunks()
        positions = np.searchsorted(table["row"].to_numpy(), rows)
        taken = table["image"].take(pa.array(positions)).combine_chunks()
        self._held = table.slice(int(positions[-1]))
        return taken


def _file(scratch: StorageLocation, number: int) -> StorageLocation:
    return scratch.child(f"{number:06d}.arrow")


@contextmanager
def _opened(file: StorageLocation) -> Iterator[Iterator[pa.RecordBatch]]:
    if isinstance(file, LocalLocation):
        with pa.OSFile(str(file.path)) as stream:
            yield _read(stream)
        return
    with file.open() as stream:
        yield _read(stream)


def _read(stream: Any) -> Iterator[pa.RecordBatch]:
    reader = pa.ipc.open_file(stream)
    return (reader.get_batch(number) for number in range(reader.num_record_batches))


def _chained(first: pa.RecordBatch, rest: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    yield first
    yield from rest
