"""Labelled images of external data sets, and how all layouts read them."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np

from fer_pipeline.errors import ImageError, SourceError
from fer_pipeline.imaging import FACE_SIZE, IMAGE_SUFFIXES, UInt8Array, crop, decode
from fer_pipeline.labels import common_name
from fer_pipeline.schemas import SPLIT_WORDS

Framing = Literal["face", "scene"]
"""Whether an image is a cropped face, or a scene in which a detector must find the face first."""

_Code = TypeVar("_Code", int, str)
_Row = TypeVar("_Row")


@dataclass(frozen=True)
class LabelledImage:
    """One image of a data set with its label.

    `label` is one of `labels.EMOTIONS`, or else the data set's own name of another class, or the reason why there is none.
    `read` returns the image as RGB uint8 (H, W, 3) or gray (H, W), and raises `ImageError` where the file is missing or damaged.
    """

    name: str
    label: str
    read: Callable[[], UInt8Array]


@dataclass(frozen=True)
class ExternalDataset:
    """Images of a data set, in a fixed order.

    `part` says which rows of the set they are, `notes` what limits the results.
    """

    title: str
    part: str
    framing: Framing
    images: tuple[LabelledImage, ...]
    notes: tuple[str, ...] = ()


def images_in_class_folders(path: Path) -> Iterator[LabelledImage]:
    """Yield all images below a folder, sorted; their folder's name is the label."""
    for file in image_files(path):
        yield LabelledImage(file.relative_to(path).as_posix(), common_name(file.parent.name), partial(decode_file, file))


def images_in_numbered_folders(path: Path, codes: Mapping[int, str], expected: str) -> Iterator[tuple[str, LabelledImage]]:
    """Yield all images below a folder, sorted, with the name of their topmost folder.

    The folder that is a number is the class in `codes`. Raises `SourceError`, which says what was `expected`, where an image has
    none or several, or another one.
    """
    for file in image_files(path):
        folders = file.relative_to(path).parts[:-1]
        numbers = [folder for folder in folders if folder.isdecimal()]
        if len(numbers) != 1:
            raise SourceError(f"{file} is in no {expected}: give the folder of the unpacked data set, which is not {path}")
        label = label_of(codes, int(numbers[0]), file)
        yield folders[0], LabelledImage(file.relative_to(path).as_posix(), label, partial(decode_file, file))


def image_files(path: Path) -> list[Path]:
    """List all image files below a folder, sorted."""
    return sorted(file for file in path.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES and file.is_file())


def choose_part(rows: list[tuple[str, _Row]], part: str | None, path: Path) -> tuple[str, tuple[_Row, ...]]:
    """Select the rows of a part; returns its name and its rows.

    `rows` are pairs of the set's own word for the part and the row. Without a part it is the first of `SPLIT_WORDS` that
    has rows, else all. Raises `SourceError` where the part has no rows.
    """
    if part != "all":
        for name, words in SPLIT_WORDS.items():
            chosen = tuple(row for word, row in rows if word.lower() in words)
            if chosen and part in (None, name):
                return f"{name} rows", chosen
        if part is not None:
            raise SourceError(f"{path} has no {part} rows; parts found: {sorted({word for word, _ in rows})}")
    return "all pictures", tuple(row for _, row in rows)


def reject_part(path: Path, part: str | None) -> None:
    """Raise `SourceError` where a part is given for a set without parts."""
    if part not in (None, "all"):
        raise SourceError(f"{path} is of a set without parts, {part} was asked for: leave the part out")


def label_of(codes: Mapping[_Code, str], code: _Code, source: Path) -> str:
    """Translate a code into a label; raises `SourceError` for an unknown one.

    `source` is named in the message.
    """
    if code not in codes:
        raise SourceError(f"{source} has the label {code!r}, expected one of {', '.join(str(known) for known in codes)}")
    return codes[code]


def whole_number(text: str, source: Path) -> int:
    """Parse a whole number such as "3" or "3.0000000e+00".

    Raises `SourceError`, which names `source`, for any other text.
    """
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not value.is_integer():
        raise SourceError(f"{source} has {text.strip()!r} where a whole number is expected")
    return int(value)


def decode_file(file: Path, box_xyxy: tuple[float, float, float, float] | None = None) -> UInt8Array:
    """Decode an image file as RGB uint8 (H, W, 3), cropped to a box in pixels.

    Raises `ImageError`.
    """
    try:
        data = file.read_bytes()
    except OSError as error:
        raise ImageError(f"{file} cannot be read: {error.strerror}") from error
    image = decode(data)
    return image if box_xyxy is None else crop(image, box_xyxy)


def parse_pixels(pixels: str) -> UInt8Array:
    """Parse blank-separated gray values as uint8 (48, 48).

    Raises `ImageError`.
    """
    try:
        return np.array(pixels.split(), dtype=np.uint8).reshape(FACE_SIZE, FACE_SIZE)
    except (ValueError, OverflowError) as error:
        raise ImageError(f"{len(pixels.split()):,} pixels that are no {FACE_SIZE}x{FACE_SIZE} gray face: {error}") from error


@contextmanager
def open_lines(path: Path) -> Iterator[io.TextIOBase]:
    """Open a text file, gzipped or not, with or without a byte-order mark."""
    with (
        path.open("rb") as packed,
        gzip.open(packed) if path.suffix == ".gz" else nullcontext(packed) as stream,
        io.TextIOWrapper(stream, encoding="utf-8-sig", newline="") as text,
    ):
        yield text
