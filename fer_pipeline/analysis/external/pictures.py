"""Pictures of other people's data sets, and what reading their labels takes in every layout. Does file I/O."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Literal, TypeVar

import numpy as np

from fer_pipeline.errors import ImageError, SourceError
from fer_pipeline.imaging import ALLOWED_FORMATS, FACE_SIZE, UInt8Array, crop, decode
from fer_pipeline.labels import common_name
from fer_pipeline.schemas import SPLIT_WORDS

Framing = Literal["face", "picture"]
"""Whether a picture is one cut-out face, or a scene in which the face must be found first."""

FERPLUS_TITLE: Final = "FER+ (majority of the votes)"
"""Title of the one layout whose pictures are those of FER-2013: it measures other labels, not other pictures."""

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
_FORMATS = (*ALLOWED_FORMATS, "TIFF")  # JAFFE and parts of CK+ come as TIFF
_Code = TypeVar("_Code", int, str)
_Row = TypeVar("_Row")


@dataclass(frozen=True)
class Picture:
    """One labelled picture. `label` is one of `labels.EMOTIONS`, or what the set has instead: its own word for a class that we
    lack, or that it says nothing usable about the picture.

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


def in_class_folders(path: Path) -> Iterator[Picture]:
    """All pictures below a folder, sorted; the name of the folder that a picture lies in is its label."""
    for file in pictures_below(path):
        yield Picture(file.relative_to(path).as_posix(), common_name(file.parent.name), partial(decoded, file))


def pictures_below(path: Path) -> list[Path]:
    """All picture files below a folder, sorted."""
    return sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())


def choose_part(rows: list[tuple[str, _Row]], part: str | None, path: Path) -> tuple[str, tuple[_Row, ...]]:
    """Name of the part, and its pictures. `rows` are pairs of the set's own word for the part and the picture, or its file.

    Without a part it is the first of `SPLIT_WORDS` that has rows, else all. Raises `SourceError` where the part has no rows.
    """
    if part != "all":
        for name, words in SPLIT_WORDS.items():
            pictures = tuple(picture for word, picture in rows if word.lower() in words)
            if pictures and part in (None, name):
                return f"{name} rows", pictures
        if part is not None:
            raise SourceError(f"{path} has no {part} rows; parts found: {sorted({word for word, _ in rows})}")
    return "all pictures", tuple(picture for _, picture in rows)


def refuse_part(path: Path, part: str | None) -> None:
    """Raises `SourceError` where a part was asked of a set that has none."""
    if part not in (None, "all"):
        raise SourceError(f"{path} is of a set without parts, {part} was asked for: leave the part out")


def named(codes: Mapping[_Code, str], code: _Code, place: Path) -> str:
    """The label that a code stands for; raises `SourceError`, naming the place, where it stands for none."""
    if code not in codes:
        raise SourceError(f"{place} has the label {code!r}, expected one of {', '.join(str(known) for known in codes)}")
    return codes[code]


def whole_number(text: str, place: Path) -> int:
    """The number of a text such as "3" or "3.0000000e+00"; raises `SourceError`, naming the place, where it is none."""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not value.is_integer():
        raise SourceError(f"{place} has {text.strip()!r} where a whole number is expected")
    return int(value)


def decoded(file: Path, box_xyxy: tuple[float, float, float, float] | None = None) -> UInt8Array:
    """RGB uint8 (H, W, 3) of a picture file, or of the part of it inside a box in pixels. Raises `ImageError`."""
    try:
        data = file.read_bytes()
    except OSError as error:
        raise ImageError(f"{file} cannot be read: {error.strerror}") from error
    picture = decode(data, _FORMATS)
    return picture if box_xyxy is None else crop(picture, box_xyxy)


def parsed(pixels: str) -> UInt8Array:
    """Gray uint8 (48, 48) of blank-separated gray values. Raises `ImageError`."""
    try:
        return np.array(pixels.split(), dtype=np.uint8).reshape(FACE_SIZE, FACE_SIZE)
    except (ValueError, OverflowError) as error:
        raise ImageError(f"{len(pixels.split()):,} pixels that are no {FACE_SIZE}x{FACE_SIZE} gray face: {error}") from error


@contextmanager
def open_lines(path: Path) -> Iterator[io.TextIOBase]:
    """A text file, gzipped or not, with or without a byte-order mark."""
    with (
        path.open("rb") as packed,
        gzip.open(packed) if path.suffix == ".gz" else nullcontext(packed) as stream,
        io.TextIOWrapper(stream, encoding="utf-8-sig", newline="") as text,
    ):
        yield text
