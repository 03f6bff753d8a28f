"""Read FER-2013 in its three CSV shapes, and FER+ votes.

Rows are not judged: a line with the wrong number of columns becomes a row without pixels, which preprocess quarantines.
"""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Final, Literal

from fer_pipeline.data.fetch.archives import DAMAGE, Tree, unpacked_limit
from fer_pipeline.data.raw_table import Notes, RawRow
from fer_pipeline.errors import SourceError
from fer_pipeline.labels import FERPLUS_COLUMNS

MAX_LINE: Final = 131_000
"""Longest line that is read, in characters (a row of 48x48 pixels has at most 9,240); just below the csv module's field limit."""

KNOWN_SHAPES: Final = (
    "`emotion,pixels,Usage` (fer2013.csv), `emotion, Usage, pixels` (icml_face_data.csv) or `emotion,pixels` (train.csv)"
)
"""The headers that are understood, for messages."""

Shape = Literal["fer2013-csv", "icml-csv", "challenge-csv", "unlabelled", "votes"]

_COLUMNS: Final = ("emotion", "pixels", "usage")
_VOTES_HEADER: Final = ("usage", "image name", *(name.lower() for name in FERPLUS_COLUMNS))


def is_table(name: str) -> bool:
    """Return whether a file is a CSV by its name."""
    return name.lower().endswith((".csv", ".csv.gz"))


def read_header(tree: Tree, name: str) -> tuple[str, ...]:
    """Return the column names as the file has them, blanks included.

    Raises `SourceError` where the file is empty or damaged.
    """
    for _, cells in _lines(tree, name):
        return cells
    raise SourceError(f"{tree.place(name)} is empty: expected a header {KNOWN_SHAPES} and rows")


def shape_of(header: tuple[str, ...]) -> Shape | None:
    """Return which known table has this header, or None.

    Columns are found by name, in any order; further ones, such as an index, are not read. "unlabelled" is test.csv of the
    challenge, which has no labels.
    """
    names = plain_names(header)
    if names == _VOTES_HEADER:
        return "votes"
    known = tuple(name for name in names if name in _COLUMNS)
    if "pixels" not in known or len(set(known)) < len(known):
        return None
    if "emotion" not in known:
        return "unlabelled"
    if "usage" not in known:
        return "challenge-csv"
    return "icml-csv" if known.index("usage") < known.index("pixels") else "fer2013-csv"


def plain_names(header: tuple[str, ...]) -> tuple[str, ...]:
    """Return the column names in lower case, without blanks around them."""
    return tuple(name.strip().lower() for name in header)


def read_rows(tree: Tree, name: str, notes: Notes) -> Iterator[RawRow]:
    """Yield the rows of a labelled table in file order.

    Usage is "Training" for all rows of train.csv of the challenge, which has no such column. Raises `SourceError` where the
    file ends early, is damaged, or has a header and nothing else.
    """
    called = _short(name)
    lines = _lines(tree, name, notes)
    columns = plain_names(next(lines)[1])
    for column in columns:
        if column not in _COLUMNS:
            notes.add("columns, not read", column or "(without a name)")
    usage = None if "usage" in columns else "Training"
    number = 1
    for number, cells in lines:
        found = dict(zip(columns, cells, strict=False))
        row = RawRow(f"{called}:{number}", found.get("emotion"), found.get("usage", usage), found.get("pixels"))
        if len(cells) != len(columns):
            notes.add("lines with a wrong number of columns", f"{row.name} ({len(cells)}, expected {len(columns)})")
            row = replace(row, pixels=None)
        yield row
    if number == 1:
        raise SourceError(f"{tree.place(name)} has a header and no rows: expected one row per face")


def with_votes(rows: Iterator[RawRow], tree: Tree, name: str) -> Iterator[RawRow]:
    """Yield the rows with the FER+ votes of the same position.

    Raises `SourceError` where the votes file has another number of rows or another Usage in a row, or holds no counts 0..10.
    """
    called = tree.place(name)
    votes = _lines(tree, name)
    next(votes)
    count = 0
    for count, row in enumerate(rows, start=1):
        number, cells = next(votes, (0, ()))
        if not number:
            total = count + sum(1 for _ in rows)
            raise SourceError(f"{called} has {count - 1:,} rows of votes, the data {total:,}: they must be of the same release")
        ballot = _ballot(called, number, cells)
        # A line with the wrong number of columns may show another cell as its usage.
        if row.pixels is not None and row.usage != cells[0].strip():
            raise SourceError(
                f"{called}:{number} has Usage {cells[0].strip()!r}, {row.name} has {row.usage!r}: "
                "votes join by row, so both files must have the same order"
            )
        yield replace(row, votes=ballot)
    if left := sum(1 for _ in votes):
        raise SourceError(f"{called} has {count + left:,} rows of votes, the data {count:,}: they must be of the same release")


def _ballot(called: str, number: int, cells: tuple[str, ...]) -> tuple[int, ...]:
    counts = [cell.strip() for cell in cells[2:]]
    if len(cells) != len(_VOTES_HEADER) or not all(count.isdecimal() and int(count) <= 10 for count in counts):
        raise SourceError(f"{called}:{number} holds {','.join(cells)!r}, expected usage, name and ten counts of 0..10")
    return tuple(int(count) for count in counts)


def _lines(tree: Tree, name: str, notes: Notes | None = None) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Yield line number, from 1, and cells of each line that is not blank.

    Cells are stripped, but for those of the header.
    """
    called = tree.place(name)
    try:
        with _text(tree, name) as (text, limit):
            read = number = 0
            while line := text.readline(MAX_LINE + 1):
                number += 1
                read += len(line)
                if len(line) > MAX_LINE:
                    raise SourceError(f"{called}:{number} is longer than {MAX_LINE:,} characters: not a row of faces")
                if limit is not None and read > limit:
                    raise SourceError(f"{called} unpacks to more than {limit:,} characters: unpack it yourself if you trust it")
                if line.strip():
                    yield number, _cells(line.rstrip("\n"), keep_blanks=number == 1)
                elif notes is not None:
                    notes.add("blank lines left out", f"{_short(name)}:{number}")
    except DAMAGE as error:
        raise SourceError(f"{called} is damaged or ends early ({error}): download or copy it again") from error


def _short(name: str) -> str:
    """Return the name of a table, wherever it lies and however it is packed."""
    readable = name.encode("utf-8", "backslashreplace").decode()  # a name in a tar may be no UTF-8
    return PurePosixPath(readable).name.removesuffix(".gz")


def _cells(line: str, *, keep_blanks: bool) -> tuple[str, ...]:
    # Line by line, so that a stray quotation mark spoils one row and not all that follow.
    cells = next(csv.reader([line], skipinitialspace=not keep_blanks)) if '"' in line else line.split(",")
    return tuple(cells if keep_blanks else (cell.strip() for cell in cells))


@contextmanager
def _text(tree: Tree, name: str) -> Iterator[tuple[io.TextIOWrapper, int | None]]:
    """Yield the text of a table, and the most characters it may have if packed."""
    with tree.open(name) as stream:
        packed = stream.read(2) == b"\x1f\x8b"
        stream.seek(0)
        with gzip.open(stream) if packed else stream as content:
            limit = unpacked_limit(tree.sizes[name]) if packed else None
            yield io.TextIOWrapper(content, encoding="utf-8-sig", errors="backslashreplace"), limit
