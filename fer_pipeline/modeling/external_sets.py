"""Data sets of other people in their usual layouts: where each picture lies and what its label is called here. Does file I/O."""

from __future__ import annotations

import csv
import gzip
import io
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Literal, TypeVar, get_args

import numpy as np

from fer_pipeline.errors import ImageError, SourceError
from fer_pipeline.imaging import ALLOWED_FORMATS, FACE_SIZE, UInt8Array, crop, decode
from fer_pipeline.labels import (
    AFFECTNET_CODES,
    CKPLUS_CODES,
    EMOTIONS,
    FERPLUS_COLUMNS,
    JAFFE_CODES,
    RAFDB_CODES,
    common_name,
)

Layout = Literal["ckplus", "jaffe", "rafdb", "affectnet", "ferplus", "imagefolder"]
LAYOUTS: Final[tuple[str, ...]] = get_args(Layout)

Framing = Literal["face", "picture"]
"""Whether a picture is one cut-out face, or a scene in which the face must be found first."""

PARTS: Final = {
    "test": ("test", "testing", "privatetest", "test_set", "fer2013test"),
    "validation": ("validation", "valid", "val", "val_set", "publictest", "fer2013valid"),
    "train": ("train", "training", "train_set", "fer2013train"),
}
"""Names that data sets give to their parts, lower case; without a choice the first one that is there is measured."""

_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
_FORMATS = (*ALLOWED_FORMATS, "TIFF")  # JAFFE and parts of CK+ come as TIFF
_Code = TypeVar("_Code", int, str)


@dataclass(frozen=True)
class Picture:
    """One labelled picture. `label` is one of `labels.EMOTIONS`, or the set's own word for a class that we lack.

    `read` returns it as RGB uint8 (H, W, 3) or gray (H, W), and raises `ImageError` where the file is missing or damaged.
    """

    name: str
    label: str
    read: Callable[[], UInt8Array]


@dataclass(frozen=True)
class ExternalSet:
    """The pictures to measure on, in a fixed order. `part` says which rows of the set they are; `notes` what to keep in mind."""

    title: str
    part: str
    framing: Framing
    pictures: tuple[Picture, ...]
    notes: tuple[str, ...] = ()


def open_set(path: Path, layout: str, part: str | None = None) -> ExternalSet:
    """The pictures of a data set of this layout, or of one of its parts: test, validation, train or all.

    Without a part it is the test rows where the set has some, else the validation rows, else all.
    Raises `SourceError` where the path is missing, is no such layout, or has no rows of this part.
    """
    if layout not in LAYOUTS:
        raise SourceError(f"no layout {layout!r}, expected one of {', '.join(LAYOUTS)}")
    if part not in (None, "all", *PARTS):
        raise SourceError(f"no part {part!r}, expected one of {', '.join(PARTS)}, all")
    if not path.exists():
        raise SourceError(f"{path} does not exist: give the folder of the unpacked data set")
    readers = {
        "ckplus": _ckplus,
        "jaffe": _jaffe,
        "rafdb": _rafdb,
        "affectnet": _affectnet,
        "ferplus": _ferplus,
        "imagefolder": _imagefolder,
    }
    try:
        found = readers[layout](path, part)
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"{path} cannot be read as {layout}: {error}") from error
    if not any(picture.label in EMOTIONS for picture in found.pictures):
        labels = sorted({picture.label for picture in found.pictures})
        raise SourceError(
            f"{path} has no picture of {', '.join(EMOTIONS)} in the layout of {layout}; labels found: {labels or 'none'}"
        )
    return found


def _ckplus(path: Path, part: str | None) -> ExternalSet:
    _has_no_parts(path, part)
    annotations = sorted(path.rglob("*_emotion.txt"))
    if not annotations:
        pictures = tuple(_in_class_folders(path))
        return ExternalSet(
            "CK+48", "all pictures", "face", pictures,
            ("Three pictures come from each sequence, so they are not independent and the intervals are too narrow.",),
        )  # fmt: skip
    roots = [folder for folder in path.rglob("cohn-kanade-images") if folder.is_dir()]
    if not roots:
        raise SourceError(f"{path} has *_emotion.txt but no folder cohn-kanade-images: unpack both archives of CK+ there")
    found: list[Picture] = []
    for file in annotations:
        subject, session = file.parts[-3:-1]
        frames = sorted(frame for frame in (roots[0] / subject / session).glob("*") if frame.suffix.lower() in _SUFFIXES)
        if not frames:
            raise SourceError(f"{file} labels the sequence {subject}/{session}, but {roots[0]} has no pictures of it")
        first = Picture(frames[0].name, CKPLUS_CODES[0], partial(_decoded, frames[0]))
        last = Picture(frames[-1].name, _named(CKPLUS_CODES, _whole(file.read_text(), file), file), partial(_decoded, frames[-1]))
        found += [first, last]
    return ExternalSet(
        "CK+",
        "last picture of each labelled sequence, and its first as neutral",
        "picture",
        tuple(found),
        ("Two pictures come from each sequence, so they are not independent and the intervals are too narrow.",),
    )


def _jaffe(path: Path, part: str | None) -> ExternalSet:
    _has_no_parts(path, part)
    found = []
    for file in _pictures_below(path):
        match = re.fullmatch(r"[A-Z]{2}\.([A-Z]{2})\d+\.\d+", file.stem, re.IGNORECASE)
        if match is None:
            raise SourceError(f"{file} is not named as in JAFFE, such as KA.AN1.39.tiff: keep only its pictures in {path}")
        found.append(Picture(file.name, _named(JAFFE_CODES, match[1].upper(), file), partial(_decoded, file)))
    return ExternalSet(
        "JAFFE",
        "all pictures",
        "picture",
        tuple(found),
        ("Ten women, about twenty pictures each: the intervals are too narrow.",),
    )


def _rafdb(path: Path, part: str | None) -> ExternalSet:
    lists = sorted(path.rglob("list_patition_label.txt"))
    folders = sorted(folder for folder in path.rglob("aligned") if folder.is_dir())
    if not lists or not folders:
        raise SourceError(f"{path} lacks EmoLabel/list_patition_label.txt or Image/aligned: give the folder `basic` of RAF-DB")
    rows = []
    for line in lists[0].read_text(encoding="utf-8").splitlines():
        if not line.strip():
            continue
        name, _, code = line.strip().partition(" ")
        file = folders[0] / f"{Path(name).stem}_aligned{Path(name).suffix}"
        picture = Picture(file.name, _named(RAFDB_CODES, _whole(code, lists[0]), lists[0]), partial(_decoded, file))
        rows.append((name.partition("_")[0], picture))
    chosen, pictures = _chosen(rows, part, path)
    return ExternalSet("RAF-DB basic, aligned", chosen, "face", pictures)


def _affectnet(path: Path, part: str | None) -> ExternalSet:
    tables = [path] if path.is_file() else sorted(path.glob("*.csv"))
    rows: list[tuple[str, Picture]] = []
    if tables:
        for table in tables:
            rows += [(table.stem, picture) for picture in _affectnet_rows(table)]
    else:
        for file in _pictures_below(path):
            folders = file.relative_to(path).parts[:-1]
            codes = [folder for folder in folders if folder.isdecimal()]
            if len(codes) != 1:
                raise SourceError(f"{file} lies in no class folder 0 to 7 of AffectNet below {path}")
            label = _named(AFFECTNET_CODES, int(codes[0]), file)
            rows.append((folders[0], Picture(file.relative_to(path).as_posix(), label, partial(_decoded, file))))
    chosen, pictures = _chosen(rows, part, path)
    return ExternalSet("AffectNet", chosen, "face", pictures)


def _affectnet_rows(table: Path) -> Iterator[Picture]:
    with _lines(table) as lines:
        reader = csv.DictReader(lines)
        if "expression" not in (reader.fieldnames or ()) or "subDirectory_filePath" not in (reader.fieldnames or ()):
            raise SourceError(f"{table} has the columns {reader.fieldnames}, expected subDirectory_filePath and expression")
        for row in reader:
            label = _named(AFFECTNET_CODES, _whole(row["expression"], table), table)
            place = Path(row["subDirectory_filePath"])
            roots = (table.parent, *(folder for folder in sorted(table.parent.iterdir()) if folder.is_dir()))
            file = next((root / place for root in roots if (root / place).is_file()), table.parent / place)
            edges = [row.get(f"face_{name}") for name in ("x", "y", "width", "height")]
            if all(edges):
                x, y, width, height = (float(edge or 0) for edge in edges)
                yield Picture(str(place), label, partial(_decoded, file, (x, y, x + width, y + height)))
            else:
                yield Picture(str(place), label, partial(_decoded, file))


def _ferplus(path: Path, part: str | None) -> ExternalSet:
    votes = path if path.is_file() else path / "fer2013new.csv"
    faces = next((votes.parent / name for name in ("fer2013.csv", "fer2013.csv.gz") if (votes.parent / name).is_file()), None)
    if not votes.is_file() or faces is None:
        raise SourceError(f"{votes.parent} needs fer2013new.csv and beside it fer2013.csv or fer2013.csv.gz")
    rows = []
    with _lines(votes) as ballots, _lines(faces) as pixels:
        face_rows = csv.DictReader(pixels)
        if not {"pixels", "Usage"} <= set(face_rows.fieldnames or ()):
            raise SourceError(f"{faces} has the columns {face_rows.fieldnames}, expected emotion, pixels and Usage")
        for number, (ballot, face) in enumerate(zip(csv.DictReader(ballots), face_rows, strict=False), start=2):
            if ballot.get("Usage") != face["Usage"]:
                raise SourceError(
                    f"line {number} is {ballot.get('Usage')} in {votes.name} and {face['Usage']} in {faces.name}: "
                    "votes join by row, so both files must have the same order"
                )
            counts = [_whole(ballot.get(column) or "", votes) for column in FERPLUS_COLUMNS]
            rows.append((face["Usage"], Picture(f"{faces.name}:{number}", majority(counts), partial(_parsed, face["pixels"]))))
    chosen, pictures = _chosen(rows, part, path)
    return ExternalSet(
        "FER+ (majority of the votes)",
        chosen,
        "face",
        pictures,
        ("The pictures are those of FER-2013 with other labels: this measures agreement with the new annotators, not transfer.",),
    )


def majority(votes: list[int]) -> str:
    """Label that more than half of the FER+ votes name, single votes not counted; "no majority" where there is none.

    `votes` are counts in the order of `labels.FERPLUS_COLUMNS`. The rule is the mode `majority` of microsoft/FERPlus.
    """
    counts = np.array([count if count > 1 else 0 for count in votes])
    best = int(counts.argmax())
    return common_name(FERPLUS_COLUMNS[best]) if counts[best] > counts.sum() / 2 else "no majority"


def _imagefolder(path: Path, part: str | None) -> ExternalSet:
    parts = {name for names in PARTS.values() for name in names}
    below = [folder for folder in sorted(path.iterdir()) if folder.is_dir()] if path.is_dir() else []
    if any(folder.name.lower() in parts for folder in below):
        rows = [(folder.name, picture) for folder in below for picture in _in_class_folders(folder)]
    else:
        rows = [("", picture) for picture in _in_class_folders(path)]
    chosen, pictures = _chosen(rows, part, path)
    return ExternalSet(path.name, chosen, "face", pictures)


def _in_class_folders(path: Path) -> Iterator[Picture]:
    for file in _pictures_below(path):
        yield Picture(file.relative_to(path).as_posix(), common_name(file.parent.name), partial(_decoded, file))


def _pictures_below(path: Path) -> list[Path]:
    return sorted(file for file in path.rglob("*") if file.suffix.lower() in _SUFFIXES and file.is_file())


def _chosen(rows: list[tuple[str, Picture]], part: str | None, path: Path) -> tuple[str, tuple[Picture, ...]]:
    """Name of the part, and its pictures; a row whose part has no known name belongs to "all" only."""
    if part != "all":
        for name, words in PARTS.items():
            pictures = tuple(picture for word, picture in rows if word.lower() in words)
            if pictures and part in (None, name):
                return f"{name} rows", pictures
        if part is not None:
            raise SourceError(f"{path} has no {part} rows; parts found: {sorted({word for word, _ in rows})}")
    return "all pictures", tuple(picture for _, picture in rows)


def _has_no_parts(path: Path, part: str | None) -> None:
    if part not in (None, "all"):
        raise SourceError(f"{path} is of a set without parts, {part} was asked for: leave the part out")


def _named(codes: Mapping[_Code, str], code: _Code, place: Path) -> str:
    if code not in codes:
        raise SourceError(f"{place} has the label {code!r}, expected one of {', '.join(str(known) for known in codes)}")
    return codes[code]


def _whole(text: str, place: Path) -> int:
    try:
        value = float(text)  # CK+ writes 3.0000000e+00
    except ValueError:
        value = float("nan")
    if not value.is_integer():
        raise SourceError(f"{place} has {text.strip()!r} where a whole number is expected")
    return int(value)


def _decoded(file: Path, box_xyxy: tuple[float, float, float, float] | None = None) -> UInt8Array:
    try:
        data = file.read_bytes()
    except OSError as error:
        raise ImageError(f"{file} cannot be read: {error.strerror}") from error
    picture = decode(data, _FORMATS)
    return picture if box_xyxy is None else crop(picture, box_xyxy)


def _parsed(pixels: str) -> UInt8Array:
    try:
        return np.array(pixels.split(), dtype=np.uint8).reshape(FACE_SIZE, FACE_SIZE)
    except (ValueError, OverflowError) as error:
        raise ImageError(f"{len(pixels.split()):,} pixels that are no {FACE_SIZE}x{FACE_SIZE} gray face: {error}") from error


@contextmanager
def _lines(path: Path) -> Iterator[io.TextIOBase]:
    opened = gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")
    with opened as stream, io.TextIOWrapper(stream, encoding="utf-8-sig", newline="") as text:
        yield text
