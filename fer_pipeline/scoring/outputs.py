"""Write the output of batch scoring: a table and a marker per finished chunk.

The table is `faces/NAME.parquet`; the marker in `finished` is empty and its name holds the counts of the table. The marker is
written after the table and both are written atomically, so a killed run leaves no chunk that looks finished. Markers instead of
one file: object stores cannot append, but list a thousand names at a time.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from fer_pipeline.data.storage import storage_location
from fer_pipeline.data.storage.location import StorageLocation
from fer_pipeline.errors import FerError
from fer_pipeline.scoring.faces import SCORES, BatchFunction

FACES, FINISHED, RUN_FILE = "faces", "finished", "run.json"

_LAYOUT = 3
"""Layout version in run.json.

Version 1 was faces/chunk=NAME/faces.parquet: readers would get those rows twice. Version 2 had the columns `picture` and
`network` for `file` and `model`.
"""

COUNTS: Final = pa.schema([pa.field(name, pa.int64(), nullable=False) for name in ("pictures", "faces", "errors")])

_RUN_BYTES = 1_000_000
_CHUNK = r"\d{5,}-[0-9a-f]{12}"
_MARK = re.compile(rf"(?P<chunk>{_CHUNK})\.pictures-(?P<pictures>\d+)\.faces-(?P<faces>\d+)\.errors-(?P<errors>\d+)")
_OURS = re.compile(rf"(?P<half>\.?)(?P<chunk>{_CHUNK})\.(parquet|pictures-).*")
_GROUP_ROWS = 50_000


class Counts(NamedTuple):
    """Counts of the table of a chunk."""

    pictures: int
    faces: int
    errors: int


def claim(out: StorageLocation, run: dict[str, Any]) -> None:
    """Record in the output folder which run it is for.

    Raises `FerError` where it belongs to another run, or has an earlier layout.
    """
    run = {**run, "layout": _LAYOUT}
    file = out.child(RUN_FILE)
    try:
        before = json.loads(file.read(_RUN_BYTES))
    except FileNotFoundError:
        if next(out.walk(), None) is not None:
            raise FerError(f"{out.address} holds other files: give a folder that is new or holds scores as --output") from None
        file.write(json.dumps(run, indent=2).encode() + b"\n")
        return
    except (OSError, ValueError) as error:
        raise FerError(f"{file.address} cannot be read: {error}; give another --output, or remove it") from error
    changed = [f"{key} {before.get(key)!r} instead of {value!r}" for key, value in run.items() if before.get(key) != value]
    if changed:
        raise FerError(
            f"{out.address} holds the scores of another run ({'; '.join(changed)}): give another --output, or remove it"
        )


def finished_chunks(out: StorageLocation) -> dict[str, Counts]:
    """Return the counts of each finished chunk.

    Markers of missing tables are removed.
    """
    tables = {entry.name.removesuffix(".parquet") for entry in out.child(FACES).entries() if not entry.is_folder}
    finished = {}
    for mark in filter(None, (_MARK.fullmatch(entry.name) for entry in out.child(FINISHED).entries())):
        if mark["chunk"] in tables:
            finished[mark["chunk"]] = Counts(*(int(mark[name]) for name in Counts._fields))
        else:
            out.child(FINISHED, mark[0]).delete()
    return finished


def finish(out: StorageLocation, name: str, counts: Counts) -> None:
    """Mark the table of a chunk as complete."""
    out.child(FINISHED, _mark(name, counts)).write(b"")


def remove_stale(out: StorageLocation, names: set[str]) -> None:
    """Remove the files of all other chunks, and unfinished files of killed runs."""
    for folder in (out.child(FINISHED), out.child(FACES)):  # markers first: a marker without table would be wrong
        for entry in folder.entries():
            found = _OURS.fullmatch(entry.name)
            if found and not entry.is_folder and (found["half"] or found["chunk"] not in names):
                folder.child(entry.name).delete()


def writer(target: StorageLocation) -> BatchFunction:
    """Return a function that writes sorted batches of `SCORES` to a Parquet file.

    It yields one row of `COUNTS`.
    """
    address = target.address

    def write(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        with storage_location(address).replaced() as file, pq.ParquetWriter(file, SCORES) as table:
            counts = _counted(batches, table)
        yield pa.RecordBatch.from_pylist([counts._asdict()], schema=COUNTS)

    return write


def _counted(batches: Iterator[pa.RecordBatch], table: pq.ParquetWriter) -> Counts:
    pictures, faces, errors, last = 0, 0, 0, None
    group: list[pa.RecordBatch] = []
    for batch in batches:
        rows = pa.RecordBatch.from_arrays(batch.columns, schema=SCORES)
        for row, face, error in zip(*(rows[name].to_pylist() for name in ("row", "face", "error")), strict=True):
            pictures += row != last
            faces += face is not None
            errors += error is not None
            last = row
        group.append(rows)
        if sum(map(len, group)) >= _GROUP_ROWS:
            table.write_table(pa.Table.from_batches(group))
            group.clear()
    table.write_table(pa.Table.from_batches(group, SCORES))
    return Counts(pictures, faces, errors)


def _mark(name: str, counts: Counts) -> str:
    return f"{name}." + ".".join(f"{what}-{count}" for what, count in counts._asdict().items())
