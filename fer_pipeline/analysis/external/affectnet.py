"""Reader of AffectNet: tables, annotation files beside images, class folders."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from fer_pipeline.analysis.external.images import (
    ExternalDataset,
    LabelledImage,
    choose_part,
    decode_file,
    image_files,
    images_in_numbered_folders,
    label_of,
    open_lines,
    whole_number,
)
from fer_pipeline.errors import SourceError
from fer_pipeline.labels import AFFECTNET_CODES

MISSING: Final = "no annotation"
UNREADABLE: Final = "unreadable annotation"
UNKNOWN: Final = "unknown class"
"""Labels of images without a usable annotation; they are counted by name, like all labels that the model lacks."""


def read_affectnet(path: Path, part: str | None) -> ExternalDataset:
    """Read AffectNet, or one of its parts.

    Tables come first, then folders `images` beside `annotations`, then class folders. An image without a usable annotation file
    has the label `MISSING`, `UNREADABLE` or `UNKNOWN`. Raises `SourceError` where
    path is none of these, where a table or class folder holds no class of AffectNet, or where the part has no rows.
    """
    tables = [path] if path.is_file() else sorted(path.glob("*.csv"))
    if tables:
        chosen, images = choose_part([(table.stem, image) for table in tables for image in _in_table(table)], part, path)
    elif any((folder.parent / "images").is_dir() for folder in path.rglob("annotations")):
        rows = [(file.parent.parent.name, file) for file in image_files(path)]
        chosen, files = choose_part(rows, part, path)  # first, since there is a file to read for each of 290,000 pictures
        images = tuple(
            LabelledImage(file.relative_to(path).as_posix(), _annotated(file), partial(decode_file, file)) for file in files
        )
    else:
        expected = "class folder 0 to 7 of AffectNet, and there is no folder `annotations` beside `images` either"
        chosen, images = choose_part(list(images_in_numbered_folders(path, AFFECTNET_CODES, expected)), part, path)
    return ExternalDataset("AffectNet", chosen, "face", images)


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


def _in_table(table: Path) -> Iterator[LabelledImage]:
    roots = (table.parent, *(folder for folder in sorted(table.parent.iterdir()) if folder.is_dir()))
    with open_lines(table) as lines:
        reader = csv.DictReader(lines)
        if "expression" not in (reader.fieldnames or ()) or "subDirectory_filePath" not in (reader.fieldnames or ()):
            raise SourceError(f"{table} has the columns {reader.fieldnames}, expected subDirectory_filePath and expression")
        for row in reader:
            label = label_of(AFFECTNET_CODES, whole_number(row["expression"], table), table)
            relative = Path(row["subDirectory_filePath"])
            file = next((root / relative for root in roots if (root / relative).is_file()), table.parent / relative)
            edges = [row.get(f"face_{name}") for name in ("x", "y", "width", "height")]
            if all(edges):
                x, y, width, height = (float(edge or 0) for edge in edges)
                yield LabelledImage(str(relative), label, partial(decode_file, file, (x, y, x + width, y + height)))
            else:
                yield LabelledImage(str(relative), label, partial(decode_file, file))
