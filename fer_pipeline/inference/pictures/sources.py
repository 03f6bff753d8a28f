"""Read pictures from anywhere: paths, folders, bytes, files, PIL images, arrays."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from fer_pipeline.errors import ImageError, ParamsError
from fer_pipeline.imaging import IMAGE_SUFFIXES, UInt8Array, decode, from_pil

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://|data:")


class BinaryFile(Protocol):
    """A file that is open for reading bytes."""

    def read(self) -> bytes:
        """Return the rest of the file."""


OneSource = str | os.PathLike[str] | bytes | BinaryFile | Image.Image | UInt8Array
Source = OneSource | Sequence[OneSource]
"""A path of a picture or folder, its bytes, an open file, a PIL image, an array; or several of them."""


@dataclass(frozen=True)
class PictureSource:
    """One picture: its file, None where it comes from memory, and how to read it.

    `read` returns RGB uint8 (H, W, 3) or gray (H, W), and raises `ImageError` where there is no such picture.
    """

    file: str | None
    read: Callable[[], UInt8Array]


def is_several(source: Source) -> bool:
    """Return whether a source is a folder or a list, and not one picture."""
    if isinstance(source, (str, os.PathLike)):
        return not _is_url(source) and Path(source).is_dir()
    return not isinstance(source, (bytes, bytearray, memoryview, Image.Image, np.ndarray)) and not hasattr(source, "read")


def pictures_of(source: Source, *, bgr: bool = False) -> Iterator[PictureSource]:
    """Yield the pictures of a source.

    Those of a folder come in the order of their paths, with those in its folders. `bgr` says that arrays have the channel order
    of OpenCV. Raises `ParamsError` for something else, and `ImageError` for a folder without pictures.
    """
    if isinstance(source, (str, os.PathLike)):
        yield from _of_path(source)
    elif isinstance(source, (bytes, bytearray, memoryview)):
        yield PictureSource(None, partial(decode, bytes(source)))
    elif isinstance(source, Image.Image):
        yield PictureSource(getattr(source, "filename", None) or None, partial(from_pil, source))
    elif isinstance(source, np.ndarray):
        yield PictureSource(None, partial(_checked, source, bgr))
    elif hasattr(source, "read"):
        name = getattr(source, "name", None)
        yield PictureSource(name if isinstance(name, str) else None, partial(decode, _content(source)))
    elif isinstance(source, Iterable):
        for one in source:
            yield from pictures_of(one, bgr=bgr)
    else:
        raise ParamsError(
            f"{type(source).__name__} was given, expected a path of a picture or folder, bytes, an open file, a PIL image, an "
            "array uint8 (H, W, 3), or a list of them"
        )


def pictures_in(folder: Path) -> list[Path]:
    """Return the picture files in a folder and its folders, by path.

    What has the ending of a picture counts as one, and so does a folder that cannot be listed: reading it says why. Raises
    `ImageError` where there is none.
    """
    closed: list[Path] = []
    found = [
        Path(place, name)
        for place, _, names in os.walk(folder, onerror=lambda error: closed.append(Path(error.filename)))
        for name in names
        if name.lower().endswith(IMAGE_SUFFIXES)
    ]
    if not found and not closed:
        raise ImageError(f"holds no picture ({', '.join(IMAGE_SUFFIXES)})")
    return sorted((*found, *closed))


def read_file(file: Path, on_note: Callable[[str], None] | None = None) -> UInt8Array:
    """Read a picture file as RGB uint8 (H, W, 3).

    `on_note` is that of `imaging.decode`. Raises `ImageError`, whose message does not name the file.
    """
    try:
        if file.is_fifo():  # to read it would wait for its writer
            raise ImageError("a pipe, expected a picture")
        return decode(file.read_bytes(), on_note=on_note)
    except IsADirectoryError as error:
        raise ImageError("a folder, expected a picture") from error
    except OSError as error:
        raise ImageError(error.strerror or str(error)) from error


def _is_url(path: str | os.PathLike[str]) -> bool:
    return isinstance(path, str) and _URL.match(path) is not None


def _of_path(path: str | os.PathLike[str]) -> Iterator[PictureSource]:
    if _is_url(path):
        yield PictureSource(str(path)[:200], partial(_refuse_url, str(path)[:200]))
        return
    folder = Path(path)
    if not folder.is_dir():
        yield PictureSource(os.fspath(path), partial(_named, folder))
        return
    try:
        files = pictures_in(folder)
    except ImageError as error:
        raise ImageError(f"{folder} {error}") from error
    for file in files:
        yield PictureSource(str(file), partial(_named, file))


def _named(file: Path) -> UInt8Array:
    try:
        return read_file(file)
    except ImageError as error:
        raise ImageError(f"{file}: {error}") from error


def _refuse_url(url: str) -> UInt8Array:
    raise ImageError(f"{url} is an address, and nothing is fetched: download the picture, then give its file or bytes")


def _content(file: Any) -> bytes:
    content = file.read()
    if not isinstance(content, bytes):
        raise ParamsError(f"{file!r} gives {type(content).__name__}, expected bytes: open it with open(path, 'rb')")
    return content


def _checked(image: np.ndarray[Any, Any], bgr: bool) -> UInt8Array:
    if image.dtype != np.uint8:
        hint = ": multiply values of 0..1 by 255 and convert them" if image.dtype.kind == "f" else ""
        raise ImageError(f"array has dtype {image.dtype}, expected uint8 in 0..255{hint}")
    if image.ndim == 4:
        raise ImageError(f"array has shape {image.shape}: give several pictures as a list, list(array)")
    if image.ndim == 3 and image.shape[2] == 4:
        raise ImageError(f"array has shape {image.shape}, with transparency: give the colours alone, array[:, :, :3]")
    if image.ndim not in (2, 3) or image.shape[2:] not in ((), (1,), (3,)) or 0 in image.shape:
        raise ImageError(f"array has shape {image.shape}, expected (H, W, 3) or (H, W)")
    if image.ndim == 2:
        return np.ascontiguousarray(image)
    if image.shape[2] == 1:
        return np.ascontiguousarray(image[:, :, 0])
    return np.ascontiguousarray(image[:, :, ::-1] if bgr else image)
