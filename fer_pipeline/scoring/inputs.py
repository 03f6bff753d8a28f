"""Divide the input of batch scoring into chunks.

A chunk is some images of a folder, or one Parquet file. The name of a chunk changes with its files, so that a changed file is
scored again.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import PurePosixPath
from typing import Final, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from fer_pipeline.data.storage import storage_location
from fer_pipeline.data.storage.local import LocalLocation
from fer_pipeline.data.storage.location import StorageLocation
from fer_pipeline.data.table.files import listed_files
from fer_pipeline.errors import SourceError
from fer_pipeline.imaging import IMAGE_SUFFIXES
from fer_pipeline.scoring.faces import PICTURES, BatchFunction

PARTS: Final = pa.schema(
    [
        pa.field("file", pa.binary(), nullable=False),  # address of a Parquet file
        pa.field("group", pa.int32(), nullable=False),  # number of its row group
        pa.field("first", pa.int64(), nullable=False),  # position of the group's first row in the file
        pa.field("rows", pa.int64(), nullable=False),  # their number
        pa.field("name", pa.string()),  # column that names the pictures; null where there is none
    ]
)
"""Part of a Parquet file that an executor reads at a time."""

_IDS = ("id", "path", "name")
_READ_ROWS, _READ_BYTES = 64, 1 << 20


class File(NamedTuple):
    """A file of the input."""

    name: str  # path below the input folder
    location: StorageLocation
    mark: tuple[int, int]  # see `Entry`


@dataclass(frozen=True)
class Chunk:
    """Unit of work: a Parquet file, or some images.

    `fault` says why a Parquet file cannot be read; its one row is then that of an image that cannot be read.
    """

    name: str
    content: StorageLocation | list[File]
    fault: str | None = None

    def rows(self) -> pa.Table:
        """Return rows of `PARTS` for a Parquet file, of `PICTURES` for images.

        Raises `SourceError` where the file cannot be read as Parquet with images.
        """
        if self.fault is not None and isinstance(self.content, StorageLocation):
            return pa.Table.from_pylist([{"row": 0, "picture": _name_of(self.content), "fault": self.fault}], PICTURES)
        return _part_rows(self.content) if isinstance(self.content, StorageLocation) else _image_rows(self.content)

    def reading(self, function: BatchFunction) -> BatchFunction:
        """Adapt a function of `PICTURES` to the rows of this chunk."""
        if self.fault is not None or not isinstance(self.content, StorageLocation):
            return function
        return lambda parts: function(read_parts(parts))


def tables_of(source: StorageLocation) -> list[File]:
    """List the Parquet files of the input.

    That is the input itself, or the files in it and in its folder faces, or those of a store that it lists. Raises `SourceError`
    where the input does not exist.
    """
    found = source.look()
    if found is None:
        raise SourceError(f"{source.address} is not there: expected a folder of pictures or a Parquet file")
    if not found.is_folder:
        return [File(found.name, source, found.mark)]
    listed = listed_files(source)
    if listed is not None:  # the name of a file in a store holds its digest
        return [File(PurePosixPath(file.address).name, file, (-1, -1)) for file in listed]
    return sorted(
        File("/".join((*below, entry.name)), source.child(*below, entry.name), entry.mark)
        for below in ((), ("faces",))
        for entry in source.child(*below).entries()
        if not entry.is_folder and entry.name.endswith(".parquet") and not entry.name.startswith(".")
    )


def images_of(source: StorageLocation, others: Counter[str]) -> Iterator[File]:
    """Iterate over the images below the folder in a fixed order, in small memory.

    `others` counts the files that are left out by the endings of their names.
    """
    for found in source.walk():
        ending = PurePosixPath(found[0]).suffix.lower()
        if ending in IMAGE_SUFFIXES:
            yield File(*found)
        else:
            others[ending or "no ending"] += 1


def image_chunks(source: StorageLocation, size: int, others: Counter[str]) -> Iterator[Chunk]:
    """Divide the images below the folder into chunks of `size`; count the `others`."""
    images, number = images_of(source, others), 0
    while batch := list(islice(images, size)):
        yield Chunk(f"{number:05d}-{_digest(batch)}", batch)
        number += 1


def table_chunks(tables: Iterable[File], faults: Mapping[str, str]) -> Iterator[Chunk]:
    """Return one chunk per Parquet file; `faults` says by name which cannot be read."""
    for number, table in enumerate(tables):
        yield Chunk(f"{number:05d}-{_digest([table])}", table.location, faults.get(table.name))


def check_columns(table: StorageLocation) -> pa.Schema:
    """Return the schema of a Parquet file with images.

    Raises `SourceError` for any other file.
    """
    return _metadata(table).schema.to_arrow_schema()


def read_parts(parts: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Read batches of `PICTURES` for batches of `PARTS`, in the executor.

    Rows that are damaged in a local file have a fault. Raises `OSError` where a bucket fails.
    """
    for part in (row for batch in parts for row in batch.to_pylist()):
        row = part["first"]
        location = storage_location(os.fsdecode(part["file"]))
        try:
            for batch in _read_part(location, part["group"], part["name"], row):
                yield batch
                row += batch.num_rows
        except (OSError, ValueError) as error:
            if isinstance(error, OSError) and not isinstance(location, LocalLocation):
                raise  # as likely the network as the file
            fault = f"{location.address} cannot be read here: {' '.join(str(error).split())}"
            left = [{"row": number, "fault": fault} for number in range(row, part["first"] + part["rows"])]
            yield pa.RecordBatch.from_pylist(left, PICTURES)


def _read_part(location: StorageLocation, group: int, name: str | None, row: int) -> Iterator[pa.RecordBatch]:
    with location.open() as stream:
        # Without pre_buffer and with a buffer, not all images of a row group are in memory at once.
        table = pq.ParquetFile(stream, pre_buffer=False, buffer_size=_READ_BYTES)
        columns = ["image"] if name is None else ["image", name]
        for batch in table.iter_batches(_READ_ROWS, [group], columns, use_threads=False):
            nulls = pa.nulls(batch.num_rows)
            rows = pa.array(range(row, row + batch.num_rows))
            values = [rows, nulls if name is None else batch[name], nulls, batch["image"], nulls]
            yield pa.RecordBatch.from_arrays(
                [value.cast(field.type) for value, field in zip(values, PICTURES, strict=True)], schema=PICTURES
            )
            row += batch.num_rows


def _part_rows(table: StorageLocation) -> pa.Table:
    metadata = _metadata(table)
    names = metadata.schema.to_arrow_schema().names
    name = next((name for name in _IDS if name in names), None)
    rows, first = [], 0
    for group in range(metadata.num_row_groups):
        count = metadata.row_group(group).num_rows
        rows.append({"file": os.fsencode(table.address), "group": group, "first": first, "rows": count, "name": name})
        first += count
    return pa.Table.from_pylist(rows, PARTS)


def _metadata(table: StorageLocation) -> pq.FileMetaData:
    try:
        with table.open() as stream:
            metadata = pq.read_metadata(stream)
            schema = metadata.schema.to_arrow_schema()
    except (OSError, ValueError) as error:
        raise SourceError(f"{table.address} cannot be read as Parquet: {error}") from error
    if "image" not in schema.names or not (
        pa.types.is_binary(schema.field("image").type) or pa.types.is_large_binary(schema.field("image").type)
    ):
        raise SourceError(
            f"{table.address} has columns {schema.names}, expected the bytes of pictures in a binary column `image`"
        )
    return metadata


def _image_rows(images: list[File]) -> pa.Table:
    readable = [os.fsencode(file.name).decode("utf-8", "replace") for file in images]
    addresses = [os.fsencode(file.location.address) for file in images]
    nulls = [None] * len(images)
    columns = [range(len(images)), readable, addresses, nulls, nulls]
    return pa.table([pa.array(values, field.type) for values, field in zip(columns, PICTURES, strict=True)], PICTURES)


def _name_of(location: StorageLocation) -> str:
    return os.fsencode(PurePosixPath(location.address).name).decode("utf-8", "replace")


def _digest(files: list[File]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(os.fsencode(file.name) + b"\0" + repr(file.mark).encode())
    return digest.hexdigest()[:12]
