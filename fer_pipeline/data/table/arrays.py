"""Read the images of a split into one array, in memory or in a temporary file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np
import numpy.typing as npt
import psutil
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from fer_pipeline.errors import DataQualityError, SourceError, ToolUnavailableError
from fer_pipeline.imaging import FACE_SIZE, UInt8Array

_PIXELS = FACE_SIZE * FACE_SIZE


def read_images(
    dataset: ds.Dataset,
    rows: ds.Expression,
    ids: pa.ChunkedArray,
    positions: npt.NDArray[np.int64],
    scratch: Path,
    memory: int | None,
) -> UInt8Array:
    """Read images uint8 (N, 48, 48, 1) of the rows that a filter keeps.

    The n-th row of the scan, of id `ids[n]`, stands at `positions[n]`.

    Where they take more than `memory` bytes (half of what is free, if None), the array lies in a nameless file in `scratch`,
    which is gone with the last reference to it, and the system keeps in memory what is in use. Beside the array, memory holds a
    row group. Raises `DataQualityError` where an image has another size, `SourceError` where the table has changed meanwhile,
    `ToolUnavailableError` where the file has no room.
    """
    images = _array(len(positions), scratch, memory)
    start = 0
    for batch in _scan(dataset, rows):
        stop = start + batch.num_rows
        expected = ids.slice(start, batch.num_rows)
        if not pa.chunked_array([batch["id"]]).cast(pa.string()).equals(expected.cast(pa.string())):
            raise SourceError("the processed table has changed while it was read: let preprocess end, and start again")
        images[positions[start:stop]] = _images(batch)
        start = stop
    if start != len(positions):
        raise SourceError("the processed table has lost rows while it was read: let preprocess end, and start again")
    return images


def _scan(dataset: ds.Dataset, rows: ds.Expression) -> Iterator[pa.RecordBatch]:
    """Scan one row group at a time; the dataset's own scanner holds many."""
    for fragment in dataset.get_fragments(rows):
        for group in fragment.split_by_row_group(rows, schema=dataset.schema):
            yield from group.to_table(dataset.schema, columns=["id", "image"], filter=rows, use_threads=False).to_batches()


def _array(rows: int, scratch: Path, memory: int | None) -> UInt8Array:
    shape, size = (rows, FACE_SIZE, FACE_SIZE, 1), rows * _PIXELS
    if size <= (psutil.virtual_memory().available // 2 if memory is None else memory):
        return np.empty(shape, np.uint8)
    try:
        with TemporaryFile(dir=scratch) as file:
            # A full disk raises an error here; while the array is filled it would end the process.
            os.posix_fallocate(file.fileno(), 0, size)
            return np.asarray(np.memmap(file, np.uint8, "r+", shape=shape))
    except OSError as error:
        raise ToolUnavailableError(
            f"{rows:,} pictures exceed the memory and need {size / 1e9:,.1f} GB in {scratch} ({error.strerror}): free it"
        ) from error


def _images(batch: pa.RecordBatch) -> UInt8Array:
    column = batch["image"].cast(pa.binary())
    sizes = pc.fill_null(pc.binary_length(column), 0).to_numpy(zero_copy_only=False)
    wrong = np.flatnonzero(sizes != _PIXELS)
    if wrong.size:
        raise DataQualityError(
            f"row {batch['id'][int(wrong[0])].as_py()} has a picture of {sizes[wrong[0]]} bytes, expected {_PIXELS}: "
            "run preprocess again"
        )
    _, offsets, data = column.buffers()
    first = int(np.frombuffer(offsets, np.int32, 1, 4 * column.offset)[0])
    return np.frombuffer(data, np.uint8, len(column) * _PIXELS, first).reshape(-1, FACE_SIZE, FACE_SIZE, 1)
