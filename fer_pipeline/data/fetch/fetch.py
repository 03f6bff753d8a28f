"""Read a source of any layout into one table of raw rows.

The layout is recognised by content: a FER-2013 CSV (plain, .gz, or in an archive), class folders of pictures (or an archive of
them), a folder with one of these and optional FER+ votes, or the YAML file that says which synthetic faces to draw.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path

from fer_pipeline.config.params import FetchParams
from fer_pipeline.config.synthetic import SyntheticSource
from fer_pipeline.data.fetch import accepted_feedback
from fer_pipeline.data.fetch.archives import Tree, open_tree
from fer_pipeline.data.fetch.contents import contents_of, no_single_source, note_unused
from fer_pipeline.data.fetch.csv_tables import read_header, read_rows, shape_of, with_votes
from fer_pipeline.data.fetch.image_folders import digest_rows, find_images, names_split_or_emotion, read_images
from fer_pipeline.data.fetch.label_reader import LabelReader
from fer_pipeline.data.raw_table import Notes, RawRow, write_rows
from fer_pipeline.data.synthetic.generator import raw_rows
from fer_pipeline.errors import SourceError
from fer_pipeline.workspace.files import replaced_folder, write_json

FACES_FILE = "faces.parquet"
"""The raw table inside the output folder."""

METADATA_FILE = "source.json"
"""Metadata of the source, inside the output folder."""


@dataclass(frozen=True)
class FileMetadata:
    """Name, size in bytes and SHA-256 of one file that was read.

    A tree of images has one entry; its `sha256` covers all names and contents.
    """

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class SourceMetadata:
    """Metadata of a source that was read.

    `kind` is "fer2013-csv", "icml-csv", "challenge-csv", "image-folder" or "synthetic"; `seed` is that of synthetic faces.
    `labels` says how labels were read, such as "names", or as numbers of which data set.
    `notes` are sentences about what was left out and other findings.
    """

    kind: str
    name: str
    files: tuple[FileMetadata, ...]
    rows: int
    rows_per_usage: dict[str, int]
    labels: str
    has_votes: bool
    synthetic: bool
    seed: int | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Joined:
    rows: Iterator[RawRow]
    files: Callable[[], tuple[FileMetadata, ...]]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Found:
    kind: str
    name: str
    rows: Iterator[RawRow]
    files: Callable[[], tuple[FileMetadata, ...]]  # called when all rows are read: pictures are hashed on the way
    labels: Callable[[], str]  # likewise
    has_votes: bool = False


def fetch(source: Path, out: Path, params: FetchParams, corrections: Path | None = None) -> SourceMetadata:
    """Read a source and write the raw table and its metadata.

    The folder `out` gets faces.parquet (`schemas.RAW`) and source.json (`SourceMetadata`). The rows of the source are followed by
    the accepted corrections in the folder `corrections`, where the parameters name a version of them. Faulty rows are kept:
    preprocess quarantines them. Raises `SourceError` where the source as
    a whole cannot be read or the corrections are of another version (the message says why), `ToolUnavailableError` where `out`
    cannot be written. What was in `out` before then stays.
    """
    notes = Notes()
    drawn = SyntheticSource.read(source) if SyntheticSource.is_source(source) else None
    with ExitStack() as stack:
        found = _drawn(source, drawn) if drawn else _chosen(source, stack, params, notes)
        joined = _corrections(corrections, params.feedback)
        folder = stack.enter_context(replaced_folder(out, private=params.feedback != accepted_feedback.NO_VERSION))
        per_usage = write_rows(chain(found.rows, joined.rows), folder / FACES_FILE)
        metadata = SourceMetadata(
            kind=found.kind,
            name=found.name,
            files=(*found.files(), *joined.files()),
            rows=per_usage.total(),
            rows_per_usage=dict(per_usage),
            labels=found.labels(),
            has_votes=found.has_votes,
            synthetic=drawn is not None,
            seed=drawn.seed if drawn else None,
            notes=(*notes.texts(), *joined.notes),
        )
        write_json(folder / METADATA_FILE, asdict(metadata))
    return metadata


def _corrections(folder: Path | None, version: str) -> _Joined:
    if version == accepted_feedback.NO_VERSION:
        return _Joined(iter(()), lambda: (), ())
    if folder is None:
        raise SourceError(f"fetch.feedback is {version}, but no folder of corrections was given: name it with --feedback")
    accepted = accepted_feedback.checked(folder, version)
    counted = f"{len(accepted):,} accepted corrections"
    metadata = _file_metadata(folder / accepted_feedback.INDEX_FILE, counted)
    return _Joined(
        accepted_feedback.rows(folder, accepted), lambda: (metadata,), (f"{counted} of people join train, version {version}",)
    )


def check(source: Path, params: FetchParams) -> None:
    """Raise the `SourceError` that `fetch` would raise before it reads rows."""
    with ExitStack() as stack:
        if SyntheticSource.is_source(source):
            SyntheticSource.read(source)
        else:
            _chosen(source, stack, params, Notes())


def _drawn(source: Path, drawn: SyntheticSource) -> _Found:
    rows = raw_rows(drawn.faces, drawn.seed)
    return _Found("synthetic", "synthetic faces", rows, lambda: (_file_metadata(source, source.name),), lambda: "names")


def _chosen(source: Path, stack: ExitStack, params: FetchParams, notes: Notes) -> _Found:
    """Open the one data set in a source.

    Raises `SourceError` where there is none, or more than one.
    """
    tree = stack.enter_context(open_tree(source))
    content = contents_of(tree)
    votes = [(tree, name) for name in content.votes]
    if source.is_dir() and content.candidates == content.archives and len(content.archives) == 1:
        note_unused(content, notes)
        tree = stack.enter_context(open_tree(source / content.archives[0]))
        content = contents_of(tree)
        votes += [(tree, name) for name in content.votes]
    if len(content.data) != 1:
        raise SourceError(no_single_source(tree, content))
    if len(votes) > 1:
        raise SourceError(f"{source} holds several files of FER+ votes ({', '.join(name for _, name in votes)}): keep one")
    note_unused(content, notes)
    labels = LabelReader(source, params, notes)
    if content.images:
        return _images(tree, votes, labels)
    name = content.tables[0]
    rows = read_rows(tree, name, notes)
    if votes:
        rows = with_votes(rows, *votes[0])
    files = {_place(tree, name), *(_place(*vote) for vote in votes)}
    kind = shape_of(read_header(tree, name)) or ""
    title = _place(tree, name).name
    return _Found(
        kind,
        title,
        labels.table_rows(rows),
        lambda: tuple(_file_metadata(path, path.name) for path in sorted(files)),
        labels.summary,
        bool(votes),
    )


def _images(tree: Tree, votes: list[tuple[Tree, str]], labels: LabelReader) -> _Found:
    if votes:
        raise SourceError(
            f"{tree.origin} holds pictures and FER+ votes ({votes[0][1]}): votes join by row of a FER-2013 CSV, and pictures "
            "have no such order; take the votes away, or give the CSV"
        )
    found = find_images(tree)
    labels.check_classes({image.emotion for image in found})
    images = tuple(
        replace(image, emotion=label) for image in found if (label := labels.label(image.emotion, image.name)) is not None
    )
    if not images:
        raise SourceError(f"{tree.origin} has pictures of contempt alone, which fetch.contempt leaves out: nothing remains")
    rows = read_images(tree, images, labels.notes)
    if tree.origin.is_file():
        return _Found(
            "image-folder", tree.origin.name, rows, lambda: (_file_metadata(tree.origin, tree.origin.name),), labels.summary
        )
    digest = hashlib.sha256()
    size = sum(tree.sizes[image.name] for image in images)
    counted = f"{len(images):,} pictures"
    rows = digest_rows(rows, digest)
    return _Found(
        "image-folder", _folder_name(tree), rows, lambda: (FileMetadata(counted, size, digest.hexdigest()),), labels.summary
    )


def _folder_name(tree: Tree) -> str:
    """Return the name of the folder, or of the only folder in it.

    `fer data add` copies a folder into data/source, where it stands alone.
    """
    tops = {name.split("/")[0] for name in tree.sizes}
    return tops.pop() if len(tops) == 1 and not names_split_or_emotion(*tops) else tree.origin.name


def _place(tree: Tree, name: str) -> Path:
    """Return the file on disk that holds a member."""
    return tree.origin / name if tree.origin.is_dir() else tree.origin


def _file_metadata(path: Path, name: str) -> FileMetadata:
    with path.open("rb") as stream:
        return FileMetadata(name, path.stat().st_size, hashlib.file_digest(stream, "sha256").hexdigest())
