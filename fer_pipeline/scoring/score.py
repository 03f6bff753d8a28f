"""Recognize the faces of many images in Spark.

The input is processed in chunks, each finished chunk is one Parquet file. A run that was killed resumes after the last finished
chunk.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from fer_pipeline.data.spark.mapping import map_rows
from fer_pipeline.data.spark.session import spark_session
from fer_pipeline.data.storage import storage_location
from fer_pipeline.data.storage.location import StorageLocation
from fer_pipeline.data.table.reader import METADATA_FILE, parse_metadata
from fer_pipeline.errors import SourceError, ToolUnavailableError
from fer_pipeline.imaging import IMAGE_SUFFIXES
from fer_pipeline.inference.model_files import PortableModel
from fer_pipeline.inference.recognizer import DEFAULT_THRESHOLD
from fer_pipeline.model_info import ModelInfo
from fer_pipeline.schemas import PROCESSED
from fer_pipeline.scoring.faces import SCORES, Framing, scorer
from fer_pipeline.scoring.inputs import (
    Chunk,
    check_columns,
    image_chunks,
    images_of,
    table_chunks,
    tables_of,
)
from fer_pipeline.scoring.outputs import COUNTS, FACES, Counts, claim, finish, finished_chunks, remove_stale, writer

DEFAULT_CHUNK = 2000
"""Images of one chunk: about a minute of work on one core.

A killed run repeats at most one chunk.
"""

_ORDER = ("row", "face")
_MAX_NOTES = 10  # about files that cannot be read; the table has them all
_METADATA_BYTES = 100_000_000


@dataclass(frozen=True)
class ScoreProgress:
    """Progress of a run; all counts include the chunks that an earlier run finished.

    `skipped` counts those chunks. `notes` are sentences about files that were left out or could not be read.
    """

    chunks: int = 0
    skipped: int = 0
    pictures: int = 0
    faces: int = 0
    errors: int = 0
    seconds: float = 0.0
    notes: tuple[str, ...] = ()

    def summary(self) -> str:
        """Return one line for the terminal."""
        skipped = f", {self.skipped} of {self.chunks} chunks finished before" if self.skipped else ""
        return (
            f"{self.pictures:,} {'picture' if self.pictures == 1 else 'pictures'}, "
            f"{self.faces:,} {'face' if self.faces == 1 else 'faces'}, "
            f"{self.errors:,} {'picture' if self.errors == 1 else 'pictures'} that could not be read{skipped}, "
            f"{self.seconds:.1f} s"
        )


def score(
    source: str | Path | StorageLocation,
    out: str | Path | StorageLocation,
    model: PortableModel,
    *,
    master: str = "local[*]",
    faces: Literal["detect", "crop"] = "detect",
    threshold: float = DEFAULT_THRESHOLD,
    chunk: int = DEFAULT_CHUNK,
    on_progress: Callable[[ScoreProgress], None] = lambda _: None,
) -> ScoreProgress:
    """Recognize the faces of many images and write them as Parquet files.

    Writes faces/NUMBER-DIGEST.parquet (`faces.SCORES`) to `out`, one file per chunk. `source` is a folder tree of images, a
    Parquet file or a folder of Parquet files, with the bytes of images in the column `image` and their name in `id`, `path` or
    `name`. The processed table, whose faces are model inputs, is recognized by its columns. With `faces` "detect" faces are
    detected in each image, with "crop" each image is one face. A chunk is `chunk` images in the order of their paths, or one
    Parquet file. `source` and `out` are on a file system that driver and executors share, or in buckets that both can access
    (`storage_location`).

    Chunks whose files have changed are scored again, chunks whose files are missing are removed. A Parquet file that cannot be
    read beside others is one picture that cannot be read.

    Raises `SourceError` where there is nothing to score, `ModelError` where the model does not load or does not fit the processed
    table, `FerError` where `out` holds the scores of another model or input, `ToolUnavailableError` where Spark does not start or
    fails, or a bucket cannot be used.
    """
    start = time.monotonic()
    source, out = (where if isinstance(where, StorageLocation) else storage_location(where) for where in (source, out))
    info = model.recognizer(threshold).info  # before Spark starts, so that a model that does not load fails at once
    others: Counter[str] = Counter()
    faults: dict[str, str] = {}
    chunks, framing = _open(source, info, faces, chunk, others, faults)
    claim(out, {"input": source.address, "model": _digest(model), "faces": framing, "threshold": threshold, "chunk": chunk})
    finished = finished_chunks(out)
    scored = scorer(model, threshold, framing)
    progress, names = ScoreProgress(), set()
    with spark_session(master, app_name="fer score") as session:
        for item in chunks:
            names.add(item.name)
            counts = finished.get(item.name)
            skipped = counts is not None
            if counts is None:
                target = out.child(FACES, f"{item.name}.parquet")
                try:
                    (row,) = map_rows(session, item.rows(), item.reading(scored), SCORES, _ORDER, writer(target), COUNTS)
                except ToolUnavailableError as error:
                    raise ToolUnavailableError(f"{target.address} was not written: {error}") from error
                counts = Counts(**row)
                finish(out, item.name, counts)
            progress = replace(
                progress,
                chunks=progress.chunks + 1,
                skipped=progress.skipped + skipped,
                pictures=progress.pictures + counts.pictures,
                faces=progress.faces + counts.faces,
                errors=progress.errors + counts.errors,
                seconds=time.monotonic() - start,
            )
            on_progress(progress)
    left_out = _left_out(others)
    if not names:
        raise SourceError(
            f"{source.address} holds no pictures ({', '.join(IMAGE_SUFFIXES)}) and no Parquet files (looked for in it and in "
            f"its folder faces){'; ' if left_out else ''}{left_out}"
        )
    remove_stale(out, names)
    return replace(progress, notes=(*filter(None, [left_out]), *islice(faults.values(), _MAX_NOTES)))


def _left_out(others: Counter[str]) -> str:
    counted = ", ".join(f"{count:,} {ending}" for ending, count in others.most_common(10))
    more = ", ..." if len(others) > 10 else ""
    return (
        f"{others.total():,} {'file' if others.total() == 1 else 'files'} of other kinds left out ({counted}{more})"
        if others
        else ""
    )


def _open(
    source: StorageLocation,
    info: ModelInfo,
    faces: Literal["detect", "crop"],
    chunk: int,
    others: Counter[str],
    faults: dict[str, str],
) -> tuple[Iterable[Chunk], Framing]:
    """Return the chunks of the input, and how their pictures are to be taken.

    `others` counts the files that are left out as they are met; `faults` gets the Parquet files that cannot be read.
    """
    tables = tables_of(source)
    if not tables:
        return image_chunks(source, chunk, others), faces
    if tables[0].location != source and next(images_of(source, Counter()), None) is not None:
        raise SourceError(f"{source.address} holds pictures and Parquet files: score them one after the other")
    prepared = set()
    for table in tables:
        try:
            prepared.add(PROCESSED.names == check_columns(table.location).names)
        except SourceError as error:
            faults[table.name] = str(error)
    if not prepared:
        raise SourceError(next(iter(faults.values())))
    if len(prepared) > 1:
        raise SourceError(f"{source.address} holds files of the processed table and others: score them one after the other")
    if prepared == {False}:
        return table_chunks(tables, faults), faces
    info.check_image_spec(_metadata(source, tables[0].location), model="the model", table=source.address)
    return table_chunks(tables, faults), "prepared"


def _metadata(source: StorageLocation, table: StorageLocation) -> dict[str, Any]:
    """Read the metadata of a processed table.

    `source` is the table, or a folder or file in it.
    """
    for folder in (source, table.parent, table.parent.parent):
        file = folder.child(METADATA_FILE)
        if file.look() is None:
            continue
        try:
            return parse_metadata(file.read(_METADATA_BYTES), file.address)
        except OSError as error:
            raise SourceError(f"{file.address} cannot be read: {error}; change its mode") from error
    raise SourceError(f"{source.address} is a processed table without its {METADATA_FILE}: run `fer preprocess` first")


def _digest(model: PortableModel) -> str:
    digest = hashlib.sha256(model.detector.encode())
    for name, content in model.files:
        digest.update(name.encode() + b"\0" + hashlib.sha256(content).digest())
    return digest.hexdigest()[:12]
