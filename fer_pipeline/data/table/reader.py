"""Read the processed table: Parquet files and their metadata."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from fer_pipeline.data.storage import storage_location
from fer_pipeline.data.storage.location import StorageLocation
from fer_pipeline.data.table.arrays import read_images
from fer_pipeline.data.table.dataset import FaceDataset
from fer_pipeline.data.table.files import FILES_FILE, listed_files
from fer_pipeline.data.table.parts import parts_of
from fer_pipeline.errors import DataQualityError, SourceError
from fer_pipeline.schemas import SPLITS

METADATA_FILE = "facts.json"
"""File beside the rows: image spec, source, counts. Earlier versions read it, too."""

_COLUMNS = ("id", "name", "usage", "label", "copy_rank", "in_train", "votes")


@dataclass(frozen=True)
class ProcessedTable:
    """A folder that preprocess wrote: faces/*.parquet and facts.json.

    Where preprocess wrote to a store, the folder holds the list of the files (`files.FILES_FILE`) in place of the files. The
    columns are those of `schemas.PROCESSED`.

    What cannot be read raises `SourceError`, whose message names the file and the command that writes it.
    """

    path: Path

    @classmethod
    def open(cls, path: Path) -> ProcessedTable:
        """Open the table in a folder; nothing is read yet.

        Raises `SourceError` where the folder holds no rows.
        """
        folder = path / "faces"
        if not folder.is_dir() and not (path / FILES_FILE).exists():
            raise SourceError(f"{folder} is missing: run `fer preprocess` first")
        return cls(path)

    @cached_property
    def metadata(self) -> dict[str, Any]:
        """Content of facts.json: `image_spec`, `source` (name, synthetic) and counts."""
        return read_metadata(self.path)

    def split(self, name: str, memory: int | None = None) -> FaceDataset:
        """Read the rows of one split of `schemas.SPLITS`, ordered by id.

        Images that take more than `memory` bytes (half of what is free, if None) lie in a temporary file beside the table's
        folder, from which the system reads what is in use. Raises `DataQualityError` where the split is empty or a row damaged,
        `ToolUnavailableError` where that file has no room.
        """
        if name not in SPLITS:
            raise SourceError(f"no split {name!r}, expected one of {', '.join(SPLITS)}")
        rows = ds.field("split") == name
        with self._readable() as dataset:
            scanned = dataset.to_table(columns=list(_COLUMNS), filter=rows)
            order = pc.sort_indices(scanned["id"])
            positions = np.empty(len(order), np.int64)
            positions[order.to_numpy()] = np.arange(len(order))
            images = read_images(dataset, rows, scanned["id"], positions, self.path.parent, memory)
        table = scanned.take(order)
        if not table.num_rows:
            raise DataQualityError(
                f"{self.path / 'faces'} has no rows of split {name}: check the source and the shares in preprocess"
            )
        return FaceDataset(
            images=images,
            labels=table["label"].to_numpy().astype(np.int64),
            ids=np.array(table["id"].to_pylist(), dtype=np.str_),
            names=np.array(table["name"].to_pylist(), dtype=np.str_),
            copy_rank=table["copy_rank"].to_numpy().astype(np.int32),
            in_train=table["in_train"].to_numpy().astype(np.bool_),
            votes=_votes(table["votes"].to_pylist()),
            usages=tuple(sorted(set(table["usage"].drop_null().to_pylist()))),
        )

    def hashes(self, split: str) -> dict[str, str]:
        """Read the content hash of each row of a split, by id."""
        table = self.columns(["id", "content_hash"], ds.field("split") == split)
        return dict(zip(table["id"].to_pylist(), table["content_hash"].to_pylist(), strict=True))

    def parts(self) -> tuple[pa.Table, pa.Schema]:
        """List the row groups of all files (`parts.PARTS`), and the schema.

        The schema is that of the first file; its types may differ from `schemas.PROCESSED`.
        """
        parts, schema = parts_of(self._files(), "fer preprocess")
        if schema is None:
            raise SourceError(f"{self.path / 'faces'} holds no Parquet file: run `fer preprocess` again")
        return parts, schema

    def columns(self, names: Sequence[str], rows: ds.Expression) -> pa.Table:
        """Read columns of the rows that a filter keeps, in no defined order."""
        with self._readable() as dataset:
            return dataset.to_table(columns=list(names), filter=rows)

    def batches(self, names: Sequence[str], rows: ds.Expression) -> Iterator[pa.RecordBatch]:
        """Read the same batch by batch, for tables that exceed the memory."""
        with self._readable() as dataset:
            yield from dataset.to_batches(columns=list(names), filter=rows)

    def _files(self) -> list[StorageLocation]:
        folder = storage_location(self.path)
        listed = listed_files(folder)
        if listed is not None:
            return listed
        faces = folder.child("faces")
        return [faces.child(entry.name) for entry in faces.entries() if entry.name.endswith(".parquet")]

    @contextmanager
    def _readable(self) -> Iterator[ds.Dataset]:
        try:
            places = [file.arrow for file in self._files()]
            system = places[0][0] if places else None
            yield ds.dataset([path for _, path in places], format="parquet", filesystem=system)
        except (OSError, ValueError) as error:
            raise SourceError(
                f"{self.path / 'faces'} cannot be read as the processed table: {error}; run `fer preprocess` again"
            ) from error


def read_metadata(processed: Path) -> dict[str, Any]:
    """Read the metadata of a processed table. Raises `SourceError`."""
    path = processed / METADATA_FILE
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error}; run `fer preprocess` first") from error
    return parse_metadata(content, str(path))


def parse_metadata(content: bytes, address: str) -> dict[str, Any]:
    """Parse the bytes of facts.json; `address` names them in errors.

    Raises `SourceError`.
    """
    try:
        metadata = json.loads(content)
    except ValueError as error:
        raise SourceError(f"{address} cannot be read: {error}; run `fer preprocess` first") from error
    if not isinstance(metadata, dict) or not {"image_spec", "source"} <= metadata.keys():
        raise SourceError(f"{address} lacks image_spec or source: run `fer preprocess` again")
    return metadata


def _votes(rows: list[list[int] | None]) -> npt.NDArray[np.float32] | None:
    width = next((len(row) for row in rows if row is not None), None)
    if width is None:
        return None
    return np.array([row if row is not None else [np.nan] * width for row in rows], dtype=np.float32)
