"""Sort the files of a source into tables, votes, images and archives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from fer_pipeline.data.fetch.archives import Tree, is_packed
from fer_pipeline.data.fetch.csv_tables import KNOWN_SHAPES, is_table, read_header, shape_of
from fer_pipeline.data.fetch.file_kinds import foreign_packer, is_archive, is_image
from fer_pipeline.data.raw_table import Notes
from fer_pipeline.errors import SourceError
from fer_pipeline.imaging import IMAGE_SUFFIXES

MAX_UNNAMED: Final = 20
"""Most files without a known ending that are opened to see what they are, where nothing else is there."""


@dataclass(frozen=True)
class Contents:
    """Names of the files of a tree by kind; `images` is the number of image files."""

    tables: tuple[str, ...]
    subsets: tuple[str, ...]  # train.csv of the challenge beside the table that has its rows
    votes: tuple[str, ...]
    unlabelled: tuple[str, ...]
    unknown: tuple[str, ...]  # tables of other columns
    unreadable: Mapping[str, str]  # empty or damaged tables, and why
    archives: tuple[str, ...]
    foreign: Mapping[str, str]  # archives that are not read, and their formats
    images: int
    others: tuple[str, ...]

    @property
    def data(self) -> tuple[str, ...]:
        """Names of what is data as it stands: tables, and all images as one."""
        return (*self.tables, *([f"{self.images:,} pictures"] if self.images else []))

    @property
    def candidates(self) -> tuple[str, ...]:
        """Names of what may be the source: archives only where nothing else is there."""
        return self.data or self.archives


def contents_of(tree: Tree) -> Contents:
    """Sort the files of a tree by name, and tables by their header."""
    alone = list(tree.sizes) == [tree.origin.name]
    names: dict[str, list[str]] = {}
    unreadable: dict[str, str] = {}
    foreign: dict[str, str] = {}
    for name in tree.sizes:
        if is_image(name):
            names.setdefault("image", []).append(name)
        elif is_table(name) or alone:
            _sort_table(tree, name, names, unreadable)
        elif packer := foreign_packer(name):
            foreign[name] = packer
        else:
            names.setdefault("archive" if is_archive(name) else "other", []).append(name)
    if set(names) <= {"other", "unlabelled"} and len(names.get("other", [])) <= MAX_UNNAMED:
        _sort_unnamed(tree, names)

    def of(*kinds: str) -> tuple[str, ...]:
        return tuple(name for kind in kinds for name in names.get(kind, []))

    whole, parts = of("fer2013-csv", "icml-csv"), of("challenge-csv")
    return Contents(
        tables=whole if len(whole) == 1 else (*whole, *parts),
        subsets=parts if len(whole) == 1 else (),
        votes=of("votes"),
        unlabelled=of("unlabelled"),
        unknown=of("unknown"),
        unreadable=unreadable,
        archives=of("archive"),
        foreign=foreign,
        images=len(of("image")),
        others=of("other"),
    )


def _sort_table(tree: Tree, name: str, names: dict[str, list[str]], unreadable: dict[str, str]) -> None:
    try:
        names.setdefault(_kind(tree, name) or "unknown", []).append(name)
    except SourceError as error:
        unreadable[name] = str(error)


def _sort_unnamed(tree: Tree, names: dict[str, list[str]]) -> None:
    """Sort tables and archives out of the files whose ending says nothing."""
    for name in names.pop("other", []):
        try:
            kind = _kind(tree, name) or "other"
        except SourceError:  # empty, or with a line that is too long for a table
            kind = "other"
        names.setdefault(kind, []).append(name)


def _kind(tree: Tree, name: str) -> str | None:
    """Return what a file is by its content: "archive", a known table, or None.

    Raises `SourceError` where it is empty or damaged.
    """
    if tree.origin.is_dir() and is_packed(tree.origin / name):
        return "archive"
    return shape_of(read_header(tree, name))


def note_unused(content: Contents, notes: Notes) -> None:
    """Note the files that are not read."""
    for name in content.unlabelled:
        notes.add("tables without labels, left out", name)
    for name in content.unknown:
        notes.add("tables of other columns, left out", name)
    for name in content.unreadable:
        notes.add("empty or damaged tables, left out", name)
    for name in content.subsets:
        notes.add(f"tables without splits beside {content.tables[0]}, left out", name)
    for name in content.archives if content.data else ():
        notes.add("archives beside the data, left out", name)
    for name, packer in content.foreign.items():
        notes.add(f"files packed as {packer}, left out", name)
    for name in content.others:
        ending = PurePosixPath(name).suffix.lower()
        notes.add(f"other files ({ending if ending else 'without ending'}), left out", name)


def no_single_source(tree: Tree, content: Contents) -> str:
    """Explain why a tree does not hold exactly one source."""
    if len(content.candidates) > 1:
        give = "unpack it and give" if tree.origin.is_file() else "give"
        return f"{tree.origin} holds {len(content.candidates)} sources ({', '.join(content.candidates)}): {give} one of them"
    if content.archives:
        return f"{tree.origin} holds an archive in an archive ({content.archives[0]}): unpack the outer one"
    if content.foreign:
        name, packer = next(iter(content.foreign.items()))
        return f"{tree.place(name)} is packed as {packer}, which is not read: unpack it and give the folder"
    if content.unlabelled:
        return (
            f"{tree.place(content.unlabelled[0])} has pixels and no labels (the challenge kept those of test.csv back), so "
            "nothing can be learnt or measured on it: give train.csv, fer2013.csv or icml_face_data.csv"
        )
    if content.votes:
        return f"{tree.place(content.votes[0])} holds FER+ votes and no faces: give the folder with fer2013.csv and the votes"
    if content.unknown:
        header = ",".join(read_header(tree, content.unknown[0]))
        return f"{tree.place(content.unknown[0])} has the header {header[:200]!r}, expected {KNOWN_SHAPES}"
    if content.unreadable:
        return next(iter(content.unreadable.values()))
    return (
        f"{tree.origin} holds no faces: expected a CSV with the header {KNOWN_SHAPES}, or pictures "
        f"({', '.join(IMAGE_SUFFIXES)}) in train/<emotion>/ and test/<emotion>/, or in <emotion>/"
    )
