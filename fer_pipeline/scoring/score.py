"""Batch scoring: the pictures of a folder or a Parquet table, the recognizer, and Spark.

The input is worked through in chunks. Each finished chunk is one Parquet file and one line of `finished.jsonl`; a run that was
killed goes on after the last one, and does again what was half written.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from fer_pipeline.data.spark.mapping import map_rows
from fer_pipeline.data.spark.session import spark_session
from fer_pipeline.data.table.reader import METADATA_FILE, parse_metadata
from fer_pipeline.errors import SourceError, ToolUnavailableError
from fer_pipeline.inference.model_files import PortableModel
from fer_pipeline.inference.recognizer import DEFAULT_THRESHOLD
from fer_pipeline.model_info import ModelInfo
from fer_pipeline.schemas import PROCESSED
from fer_pipeline.scoring.faces import SCORES, Framing, scorer
from fer_pipeline.scoring.inputs import (
    SUFFIXES,
    Chunk,
    check_columns,
    picture_chunks,
    pictures_of,
    table_chunks,
    tables_of,
)
from fer_pipeline.scoring.outputs import COUNTS, FACES, Counts, claim, finish, finished_chunks, remove_stale, writer
from fer_pipeline.scoring.storage import storage_location
from fer_pipeline.scoring.storage.location import StorageLocation

DEFAULT_CHUNK = 2000
"""Pictures of one chunk: about a minute of work on one core, and so the most that a killed run does twice."""

_ORDER = ("row", "face")
_FACTS_BYTES = 100_000_000


@dataclass(frozen=True)
class ScoreFacts:
    """What a run has done so far; `skipped` counts the chunks that an earlier run had finished, the sums include them."""

    chunks: int = 0
    skipped: int = 0
    pictures: int = 0
    faces: int = 0
    errors: int = 0
    seconds: float = 0.0

    def summary(self) -> str:
        """One line for the terminal."""
        skipped = f", {self.skipped} of {self.chunks} chunks finished before" if self.skipped else ""
        return (
            f"{self.pictures:,} pictures, {self.faces:,} faces, {self.errors:,} pictures that could not be read{skipped}, "
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
    on_progress: Callable[[ScoreFacts], None] = lambda _: None,
) -> ScoreFacts:
    """Facts about `out`, to which faces/NUMBER-DIGEST.parquet (`inference.scores.SCORES`) were written, one file per chunk.

    `source` is a folder tree of pictures, a Parquet file or a folder of such, with the bytes of pictures in the column `image`
    and their name in `id`, `path` or `name`; the processed table, whose faces are ready for the network, is known by its columns.
    `faces` says whether they are searched in a picture or the whole picture is one. A chunk is `chunk` pictures in the order of
    their paths, or one Parquet file. Source and `out` are on a file system that driver and executors share, or in buckets that
    both reach with what their environments hold (`storage_location`).

    Chunks whose files have changed are scored anew, chunks whose files are gone are removed. Raises `SourceError` where there is
    nothing to score, `ModelError` where the model does not load or does not fit the processed table, `FerError` where `out` holds
    the scores of another model or input, `ToolUnavailableError` where Spark does not start or fails, or a bucket cannot be used.
    """
    start = time.monotonic()
    source, out = (where if isinstance(where, StorageLocation) else storage_location(where) for where in (source, out))
    info = model.recognizer(threshold).info  # a model that does not load is told before Spark starts
    chunks, framing = _open(source, info, faces, chunk)
    claim(out, {"input": source.address, "model": _digest(model), "faces": framing, "threshold": threshold, "chunk": chunk})
    finished = finished_chunks(out)
    scored = scorer(model, threshold, framing)
    facts, names = ScoreFacts(), set()
    with spark_session(master, app_name="fer score") as session:
        for item in chunks:
            names.add(item.name)
            counts = finished.get(item.name)
            skipped = counts is not None
            if counts is None:
                target = out.child(FACES, f"{item.name}.parquet")
                try:
                    (told,) = map_rows(session, item.rows(), item.reading(scored), SCORES, _ORDER, writer(target), COUNTS)
                except ToolUnavailableError as error:
                    raise ToolUnavailableError(f"{target.address} was not written: {error}") from error
                counts = Counts(**told)
                finish(out, item.name, counts)
            facts = replace(
                facts,
                chunks=facts.chunks + 1,
                skipped=facts.skipped + skipped,
                pictures=facts.pictures + counts.pictures,
                faces=facts.faces + counts.faces,
                errors=facts.errors + counts.errors,
                seconds=time.monotonic() - start,
            )
            on_progress(facts)
    if not names:
        raise SourceError(
            f"{source.address} holds no pictures ({', '.join(sorted(SUFFIXES))}) and no Parquet files (looked for in it and in "
            "its folder faces)"
        )
    remove_stale(out, names)
    return facts


def _open(
    source: StorageLocation, info: ModelInfo, faces: Literal["detect", "crop"], chunk: int
) -> tuple[Iterable[Chunk], Framing]:
    """The chunks of the input, and how their pictures are to be taken."""
    tables = tables_of(source)
    if not tables:
        return picture_chunks(source, chunk), faces
    if tables[0].place != source and next(pictures_of(source), None) is not None:
        raise SourceError(f"{source.address} holds pictures and Parquet files: score them one after the other")
    prepared = {PROCESSED.names == check_columns(table.place).names for table in tables}
    if len(prepared) > 1:
        raise SourceError(f"{source.address} holds files of the processed table and others: score them one after the other")
    if prepared == {False}:
        return table_chunks(tables), faces
    info.check_image_spec(_metadata(source, tables[0].place), model="the model", table=source.address)
    return table_chunks(tables), "prepared"


def _metadata(source: StorageLocation, table: StorageLocation) -> dict[str, Any]:
    """Of a processed table, wherever in it `source` points."""
    for folder in (source, table.parent, table.parent.parent):
        file = folder.child(METADATA_FILE)
        if file.look() is None:
            continue
        try:
            return parse_metadata(file.read(_FACTS_BYTES), file.address)
        except OSError as error:
            raise SourceError(f"{file.address} cannot be read: {error}; change its mode") from error
    raise SourceError(f"{source.address} is a processed table without its {METADATA_FILE}: run `fer preprocess` first")


def _digest(model: PortableModel) -> str:
    digest = hashlib.sha256()
    for name, content in model.files:
        digest.update(name.encode() + b"\0" + hashlib.sha256(content).digest())
    return digest.hexdigest()[:12]
