"""Read images in `train/<emotion>/`, `test/<emotion>/` or `<emotion>/`."""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from fer_pipeline.data.fetch.archives import DAMAGE, Tree
from fer_pipeline.data.fetch.file_kinds import is_image
from fer_pipeline.data.raw_table import Notes, RawRow
from fer_pipeline.errors import SourceError
from fer_pipeline.labels import CONTEMPT, EMOTIONS, SYNONYMS, common_name, label_number
from fer_pipeline.schemas import SPLIT_WORDS

MAX_IMAGE_BYTES: Final = 20 * 2**20
"""Largest image file that is read; the row of a larger one has no image."""

SPLIT_FOLDERS: Final = {word: split for split, words in SPLIT_WORDS.items() for word in words}
"""Usage of each known split folder, lower case."""


@dataclass(frozen=True)
class ImageFile:
    """One image file, with label and split of its folders.

    `emotion` is the name of the class folder, or what it means; `usage` is None without split folders.
    """

    name: str
    emotion: str
    usage: str | None


def names_split_or_emotion(folder: str) -> bool:
    """Return whether a folder has the name of a split or of an emotion."""
    if folder.lower() in SPLIT_FOLDERS:
        return True
    return _is_class(folder)


def find_images(tree: Tree) -> tuple[ImageFile, ...]:
    """Return all images of a tree that has some, sorted by name.

    Raises `SourceError` where one lies in no class folder, a class folder names no emotion, or the layout is
    mixed (with and without split folders, or below two roots).
    """
    found = dict(_placed(tree, name) for name in tree.sizes if is_image(name))
    first, first_root = next(iter(found.items()))
    for image, root in found.items():
        if (image.usage is None) != (first.usage is None):
            raise SourceError(
                f"{tree.origin}: {first.name} and {image.name} do not lie alike: either all class folders stand in split "
                f"folders ({', '.join(SPLIT_FOLDERS)}) or none does"
            )
        if root != first_root:
            raise SourceError(
                f"{tree.origin}: class folders stand below '{first_root}' and below '{root}': they may be copies of each other, "
                "or splits of an unknown name; give one of them"
            )
    return tuple(found)


def read_images(tree: Tree, images: tuple[ImageFile, ...], notes: Notes) -> Iterator[RawRow]:
    """Yield one row per image file, with its bytes.

    `image` is None where the file is larger than `MAX_IMAGE_BYTES` or cannot be read.
    """
    for image in images:
        name = image.name.encode("utf-8", "backslashreplace").decode()  # files of old systems have names that are not UTF-8
        yield RawRow(name, image.emotion, image.usage, image=_read(tree, image.name, notes))


def digest_rows(rows: Iterator[RawRow], digest: hashlib._Hash) -> Iterator[RawRow]:
    """Yield the same rows; `digest` is updated with each name and image."""
    for row in rows:
        digest.update(f"{row.name}\n{len(row.image or b'')}\n".encode())
        digest.update(row.image or b"")
        yield row


def _read(tree: Tree, name: str, notes: Notes) -> bytes | None:
    if tree.sizes[name] > MAX_IMAGE_BYTES:
        notes.add(f"pictures of more than {MAX_IMAGE_BYTES:,} bytes, kept without content", name)
        return None
    try:
        with tree.open(name) as stream:
            return stream.read(MAX_IMAGE_BYTES)
    except DAMAGE as error:
        why = (isinstance(error, OSError) and error.strerror) or error  # not the whole path, which differs between machines
        notes.add("pictures that cannot be read, kept without content", f"{name} ({why})")
        return None


def _is_class(folder: str) -> bool:
    """Return whether a folder is named by an emotion, contempt included, or a number."""
    return label_number(folder) is not None or common_name(folder) in (*EMOTIONS, CONTEMPT)


def _without_number(folder: str) -> str:
    """Return "angry" for "0_angry" and the like; other names as they are."""
    match = re.fullmatch(r"\s*[0-9]+[\s._-]+(.+)", folder)
    return match[1] if match and common_name(match[1]) in (*EMOTIONS, CONTEMPT) else folder


def _placed(tree: Tree, name: str) -> tuple[ImageFile, PurePosixPath]:
    *above, folder = PurePosixPath(name).parent.parts or ("",)
    folder = _without_number(folder)
    if not folder:
        raise SourceError(f"{tree.origin}: {name} lies in no class folder: expected train/<emotion>/*.jpg or <emotion>/*.jpg")
    if not _is_class(folder):
        near = difflib.get_close_matches(folder.strip().lower(), [*EMOTIONS, *SYNONYMS], n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else "move it away, or rename it"
        raise SourceError(f"{tree.origin}: folder {folder!r} ({name}) is no emotion, expected {', '.join(EMOTIONS)}: {hint}")
    usage = SPLIT_FOLDERS.get(above[-1].strip().lower()) if above else None
    while usage and above and SPLIT_FOLDERS.get(above[-1].strip().lower()) == usage:  # some archives hold train/train
        above.pop()
    return ImageFile(name, folder, usage), PurePosixPath(*above)
