"""What joins the rooms in batch scoring: the pictures of a folder or a Parquet table, the recognizer, and Spark.

The input is worked through in chunks. Each finished chunk is one Parquet file and one line of `finished.jsonl`; a run that was
killed goes on after the last one, and does again what was half written.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from fer_pipeline.datasets.mapping import map_parquet, map_rows
from fer_pipeline.datasets.spark import spark_session
from fer_pipeline.errors import EnvironmentFault, FerError, ModelError, SourceError
from fer_pipeline.inference.portable import PortableModel
from fer_pipeline.inference.recognizer import DEFAULT_THRESHOLD
from fer_pipeline.inference.scores import PICTURES, SCORES, Framing, scorer
from fer_pipeline.model_info import ModelInfo
from fer_pipeline.modeling.loading import load_facts
from fer_pipeline.outputs import write_json, write_text
from fer_pipeline.records import PROCESSED

FACES, FINISHED_FILE, RUN_FILE = "faces", "finished.jsonl", "run.json"
SCORE_FILE = "faces.parquet"
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})

DEFAULT_CHUNK = 2000
"""Pictures of one chunk: about a minute of work on one core, and so the most that a killed run does twice."""

_IDS = ("id", "path", "name")
_ORDER = ("row", "face")


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


@dataclass(frozen=True)
class _Chunk:
    name: str
    content: Path | list[tuple[str, str]]  # a Parquet file, or pictures as (path below the input, path)


def score(
    source: Path,
    out: Path,
    model: PortableModel,
    *,
    master: str = "local[*]",
    faces: Literal["detect", "crop"] = "detect",
    threshold: float = DEFAULT_THRESHOLD,
    chunk: int = DEFAULT_CHUNK,
    on_progress: Callable[[ScoreFacts], None] = lambda _: None,
) -> ScoreFacts:
    """Facts about `out`, to which faces/chunk=NUMBER-DIGEST/faces.parquet (`inference.scores.SCORES`) were written.

    `source` is a folder tree of pictures, a Parquet file or a folder of such, with the bytes of pictures in the column `image`
    and their name in `id`, `path` or `name`; the processed table, whose faces are ready for the network, is known by its columns.
    `faces` says whether they are searched in a picture or the whole picture is one. A chunk is `chunk` pictures in the order of
    their paths, or one Parquet file. Source and `out` are on a file system that driver and executors share.

    Chunks whose files have changed are scored anew, chunks whose files are gone are removed. Raises `SourceError` where there is
    nothing to score, `ModelError` where the model does not load or does not fit the processed table, `FerError` where `out` holds
    the scores of another model or input, `EnvironmentFault` where Spark does not start or fails.
    """
    start = time.monotonic()
    info = model.recognizer(threshold).info  # a model that does not load is told before Spark starts
    chunks, framing = _open(source, info, faces, chunk)
    _claim(
        out, {"input": str(source.resolve()), "model": _digest(model), "faces": framing, "threshold": threshold, "chunk": chunk}
    )
    finished = _read_finished(out)
    facts, names = ScoreFacts(), set()
    with spark_session(master, app_name="fer score") as session:
        for item in chunks:
            names.add(item.name)
            target = out / FACES / f"chunk={item.name}" / SCORE_FILE
            counts = finished.get(item.name) if target.is_file() else None
            skipped = counts is not None
            if counts is None:
                shutil.rmtree(target.parent, ignore_errors=True)  # half written
                target.parent.mkdir(parents=True)
                function = scorer(model, threshold, framing)
                if isinstance(item.content, Path):
                    map_parquet(session, item.content, _columns(item.content), function, SCORES, _ORDER, target)
                else:
                    map_rows(session, _table(item.content), function, SCORES, _ORDER, target)
                counts = _count(target)
                with (out / FINISHED_FILE).open("a", encoding="utf-8") as stream:
                    stream.write(json.dumps({"chunk": item.name, **counts}) + "\n")
            facts = replace(
                facts,
                chunks=facts.chunks + 1,
                skipped=facts.skipped + skipped,
                seconds=time.monotonic() - start,
                **{key: getattr(facts, key) + value for key, value in counts.items()},
            )
            on_progress(facts)
    if not names:
        raise SourceError(
            f"{source} holds no pictures ({', '.join(sorted(SUFFIXES))}) and no Parquet files (looked for in it and in its "
            "folder faces)"
        )
    _remove_stale(out, names)
    return facts


def _open(source: Path, info: ModelInfo, faces: Literal["detect", "crop"], chunk: int) -> tuple[Iterable[_Chunk], Framing]:
    """The chunks of the input, and how their pictures are to be taken."""
    if not source.exists():
        raise SourceError(f"{source} is not there: expected a folder of pictures or a Parquet file")
    tables = [source] if source.is_file() else sorted([*source.glob("*.parquet"), *source.glob("faces/*.parquet")])
    if not tables:
        return _picture_chunks(source, chunk), faces
    if source.is_dir() and next(iter(_walk(source)), None) is not None:
        raise SourceError(f"{source} holds pictures and Parquet files: score them one after the other")
    prepared = {PROCESSED.names == _schema(table).names for table in tables}
    if len(prepared) > 1:
        raise SourceError(f"{source} holds files of the processed table and others: score them one after the other")
    for table in tables:
        _columns(table)
    if prepared == {False}:
        return _table_chunks(tables), faces
    home = next((folder for folder in (source, *tables[0].parents[:2]) if (folder / "facts.json").is_file()), tables[0].parent)
    spec = load_facts(home)["image_spec"]
    if spec != asdict(info.image_spec):
        raise ModelError(
            f"the model expects image spec {asdict(info.image_spec)}, {source} holds {spec}: preprocess again for it"
        )
    return _table_chunks(tables), "prepared"


def _schema(table: Path) -> pa.Schema:
    try:
        return pq.read_schema(table)
    except (OSError, ValueError) as error:
        raise SourceError(f"{table} cannot be read as Parquet: {error}") from error


def _columns(table: Path) -> dict[str, tuple[str | None, str]]:
    schema = _schema(table)
    if "image" not in schema.names or not (
        pa.types.is_binary(schema.field("image").type) or pa.types.is_large_binary(schema.field("image").type)
    ):
        raise SourceError(f"{table} has columns {schema.names}, expected the bytes of pictures in a binary column `image`")
    name = next((name for name in _IDS if name in schema.names), None)
    return {"picture": (name, "string"), "path": (None, "binary"), "image": ("image", "binary")}


def _table_chunks(tables: list[Path]) -> Iterator[_Chunk]:
    for number, table in enumerate(tables):
        yield _Chunk(f"{number:05d}-{_digest_files([(table.name, str(table))])}", table)


def _picture_chunks(source: Path, chunk: int) -> Iterator[_Chunk]:
    pictures = _walk(source)
    number = 0
    while batch := list(islice(pictures, chunk)):
        yield _Chunk(f"{number:05d}-{_digest_files(batch)}", batch)
        number += 1


def _walk(source: Path) -> Iterator[tuple[str, str]]:
    """(path below the source, path) of each picture, hidden ones left out, in a fixed order and without holding them all."""

    def fail(error: OSError) -> None:
        raise EnvironmentFault(f"{error.filename} cannot be listed: {error.strerror}; change its mode or leave it out")

    for folder, folders, files in os.walk(source, onerror=fail):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES:
                path = Path(folder) / name
                yield path.relative_to(source).as_posix(), str(path.absolute())


def _table(pictures: list[tuple[str, str]]) -> pa.Table:
    readable = [os.fsencode(name).decode("utf-8", "replace") for name, _ in pictures]
    paths = [os.fsencode(path) for _, path in pictures]
    columns = [range(len(pictures)), readable, paths, [None] * len(pictures)]
    return pa.table([pa.array(values, field.type) for values, field in zip(columns, PICTURES, strict=True)], PICTURES)


def _digest_files(files: list[tuple[str, str]]) -> str:
    digest = hashlib.sha256()
    for name, path in files:
        try:
            facts = Path(path).stat()
            marks = (facts.st_size, facts.st_mtime_ns)
        except OSError:  # gone, or a broken link: its row will say so
            marks = (-1, -1)
        digest.update(os.fsencode(name) + b"\0" + repr(marks).encode())
    return digest.hexdigest()[:12]


def _digest(model: PortableModel) -> str:
    digest = hashlib.sha256()
    for name, content in model.files:
        digest.update(name.encode() + b"\0" + hashlib.sha256(content).digest())
    return digest.hexdigest()[:12]


def _claim(out: Path, run: dict[str, Any]) -> None:
    """Notes what the folder is for; raises `FerError` where it is for something else."""
    path = out / RUN_FILE
    if path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        changed = [f"{key} {before.get(key)!r} instead of {value!r}" for key, value in run.items() if before.get(key) != value]
        if changed:
            raise FerError(f"{out} holds the scores of another run ({'; '.join(changed)}): give another --output, or remove it")
        return
    if out.is_dir() and any(not entry.name.startswith(".") for entry in out.iterdir()):
        raise FerError(f"{out} holds other files: give a folder that is new or holds scores as --output")
    write_json(path, run)


def _read_finished(out: Path) -> dict[str, dict[str, int]]:
    """Counts of each finished chunk; a line that was cut off by the end of its process is left out, and out of the file."""
    path, finished = out / FINISHED_FILE, {}
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                counts = json.loads(line)
            except ValueError:
                continue
            finished[counts.pop("chunk")] = counts
        _write_finished(out, finished)
    return finished


def _write_finished(out: Path, finished: dict[str, dict[str, int]]) -> None:
    write_text(out / FINISHED_FILE, "".join(json.dumps({"chunk": name, **counts}) + "\n" for name, counts in finished.items()))


def _count(target: Path) -> dict[str, int]:
    pictures, faces, errors, last = 0, 0, 0, None
    for batch in pq.ParquetFile(target).iter_batches(columns=["row", "face", "error"]):
        for row, face, error in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            pictures += row != last
            faces += face is not None
            errors += error is not None
            last = row
    return {"pictures": pictures, "faces": faces, "errors": errors}


def _remove_stale(out: Path, names: set[str]) -> None:
    for folder in (out / FACES).glob("chunk=*"):
        if folder.name.removeprefix("chunk=") not in names:
            shutil.rmtree(folder)
    _write_finished(out, {name: counts for name, counts in _read_finished(out).items() if name in names})
