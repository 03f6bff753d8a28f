"""AffectNet in the layouts in which it is handed out: tables, annotation files beside pictures, class folders. Does file I/O."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from fer_pipeline.analysis.external.pictures import (
    ExternalSet,
    Picture,
    choose_part,
    decoded,
    named,
    open_lines,
    pictures_below,
    whole_number,
)
from fer_pipeline.errors import SourceError
from fer_pipeline.labels import AFFECTNET_CODES

MISSING: Final = "no annotation"
UNREADABLE: Final = "unreadable annotation"
UNKNOWN: Final = "unknown class"
"""Labels of pictures that the set says nothing usable about; like all labels that are none of ours they are counted, by name."""


def affectnet(path: Path, part: str | None) -> ExternalSet:
    """The pictures of AffectNet, or of one of its parts: from its tables, else `images` with `annotations`, else class folders.

    A picture without a usable annotation file has the label `MISSING`, `UNREADABLE` or `UNKNOWN`. Raises `SourceError` where
    path is none of these, where a table or class folder holds no class of AffectNet, or where the part has no rows.
    """
    tables = [path] if path.is_file() else sorted(path.glob("*.csv"))
    if tables:
        chosen, pictures = choose_part([(table.stem, picture) for table in tables for picture in _in_table(table)], part, path)
    elif any((folder.parent / "images").is_dir() for folder in path.rglob("annotations")):
        rows = [(file.parent.parent.name, file) for file in pictures_below(path)]
        chosen, files = choose_part(rows, part, path)  # first, since there is a file to read for each of 290,000 pictures
        pictures = tuple(Picture(file.relative_to(path).as_posix(), _annotated(file), partial(decoded, file)) for file in files)
    else:
        chosen, pictures = choose_part(list(_in_numbered_folders(path)), part, path)
    return ExternalSet("AffectNet", chosen, "face", pictures)


def _annotated(file: Path) -> str:
    annotation = file.parent.parent / "annotations" / f"{file.stem}_exp.npy"
    try:
        with annotation.open("rb") as stream:
            value = np.lib.format.read_array(stream, allow_pickle=False)
        code = whole_number(str(value.astype(str).item()), annotation)  # AffectNet stores numbers as text
    except FileNotFoundError:
        return MISSING
    except Exception:  # of a damaged file NumPy evaluates header and text, and raises whatever it meets, even SystemError
        return UNREADABLE
    return AFFECTNET_CODES.get(code, UNKNOWN)


def _in_numbered_folders(path: Path) -> Iterator[tuple[str, Picture]]:
    for file in pictures_below(path):
        folders = file.relative_to(path).parts[:-1]
        codes = [folder for folder in folders if folder.isdecimal()]
        if len(codes) != 1:
            raise SourceError(
                f"{file} lies in no class folder 0 to 7 of AffectNet below {path}, and there is no folder `annotations` beside "
                "`images` either: give the folder of the unpacked data set"
            )
        label = named(AFFECTNET_CODES, int(codes[0]), file)
        yield folders[0], Picture(file.relative_to(path).as_posix(), label, partial(decoded, file))


def _in_table(table: Path) -> Iterator[Picture]:
    roots = (table.parent, *(folder for folder in sorted(table.parent.iterdir()) if folder.is_dir()))
    with open_lines(table) as lines:
        reader = csv.DictReader(lines)
        if "expression" not in (reader.fieldnames or ()) or "subDirectory_filePath" not in (reader.fieldnames or ()):
            raise SourceError(f"{table} has the columns {reader.fieldnames}, expected subDirectory_filePath and expression")
        for row in reader:
            label = named(AFFECTNET_CODES, whole_number(row["expression"], table), table)
            place = Path(row["subDirectory_filePath"])
            file = next((root / place for root in roots if (root / place).is_file()), table.parent / place)
            edges = [row.get(f"face_{name}") for name in ("x", "y", "width", "height")]
            if all(edges):
                x, y, width, height = (float(edge or 0) for edge in edges)
                yield Picture(str(place), label, partial(decoded, file, (x, y, x + width, y + height)))
            else:
                yield Picture(str(place), label, partial(decoded, file))
