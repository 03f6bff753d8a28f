"""Sort the files of a source into tables, votes, images and archives."""

from __future__ import annotations

from dataclasses import dataclass

from fer_pipeline.data.fetch.archives import Tree
from fer_pipeline.data.fetch.csv_tables import KNOWN_SHAPES, is_table, read_header, shape_of
from fer_pipeline.data.fetch.file_kinds import IMAGE_SUFFIXES, is_archive, is_image
from fer_pipeline.data.raw_table import Notes


@dataclass(frozen=True)
class Contents:
    """Names of the files of a tree by kind; `images` is the number of image files."""

    tables: tuple[str, ...]
    votes: tuple[str, ...]
    unlabelled: tuple[str, ...]
    unknown: tuple[str, ...]  # tables of other columns
    archives: tuple[str, ...]
    images: int
    others: tuple[str, ...]

    @property
    def candidates(self) -> tuple[str, ...]:
        """Names of what may be the data: tables, archives, and all images as one."""
        return (*self.tables, *self.archives, *([f"{self.images:,} pictures"] if self.images else []))


def contents_of(tree: Tree) -> Contents:
    """Sort the files of a tree by name, and tables by their header."""
    alone = list(tree.sizes) == [tree.origin.name]
    names: dict[str, list[str]] = {}
    for name in tree.sizes:
        if is_image(name):
            names.setdefault("image", []).append(name)
        elif is_table(name) or alone:
            names.setdefault(shape_of(read_header(tree, name)) or "unknown", []).append(name)
        else:
            names.setdefault("archive" if is_archive(name) else "other", []).append(name)

    def of(*kinds: str) -> tuple[str, ...]:
        return tuple(name for kind in kinds for name in names.get(kind, []))

    return Contents(
        tables=of("fer2013-csv", "icml-csv", "challenge-csv"),
        votes=of("votes"),
        unlabelled=of("unlabelled"),
        unknown=of("unknown"),
        archives=of("archive"),
        images=len(of("image")),
        others=of("other"),
    )


def note_unused(content: Contents, notes: Notes) -> None:
    """Note the files that are not read."""
    for name in content.unlabelled:
        notes.add("tables without labels, left out", name)
    for name in content.unknown:
        notes.add("tables of other columns, left out", name)
    for name in content.others:
        notes.add("other files, left out", name)


def no_single_source(tree: Tree, content: Contents) -> str:
    """Explain why a tree does not hold exactly one source."""
    if len(content.candidates) > 1:
        return f"{tree.origin} holds {len(content.candidates)} sources ({', '.join(content.candidates)}): give one of them"
    if content.archives:
        return f"{tree.origin} holds an archive in an archive ({content.archives[0]}): unpack the outer one"
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
    return (
        f"{tree.origin} holds no faces: expected a CSV with the header {KNOWN_SHAPES}, or pictures "
        f"({', '.join(IMAGE_SUFFIXES)}) in train/<emotion>/ and test/<emotion>/, or in <emotion>/"
    )
