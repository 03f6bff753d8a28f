"""Readers of external data sets in their usual layouts."""

from __future__ import annotations

import csv
import re
from functools import partial
from pathlib import Path
from typing import Final

from fer_pipeline.analysis.external.affectnet import read_affectnet
from fer_pipeline.analysis.external.ferplus import read_ferplus
from fer_pipeline.analysis.external.images import (
    ExternalDataset,
    LabelledImage,
    choose_part,
    decode_file,
    image_files,
    images_in_class_folders,
    images_in_numbered_folders,
    label_of,
    reject_part,
    whole_number,
)
from fer_pipeline.errors import SourceError
from fer_pipeline.imaging import IMAGE_SUFFIXES
from fer_pipeline.labels import (
    CKPLUS_CODES,
    EMOTIONS,
    JAFFE_CODES,
    RAFDB_CODES,
)
from fer_pipeline.schemas import SPLIT_WORDS

LAYOUTS: Final = ("ckplus", "jaffe", "rafdb", "affectnet", "ferplus", "imagefolder")


def open_dataset(path: Path, layout: str, part: str | None = None) -> ExternalDataset:
    """Read a data set of this layout, or one of its parts.

    Parts are test, validation, train and all. Without a part it is the test rows where the set has some, else the
    validation rows, else all. Raises `SourceError` where the path is missing, is no such layout, or has no rows of this
    part.
    """
    if layout not in LAYOUTS:
        raise SourceError(f"no layout {layout!r}, expected one of {', '.join(LAYOUTS)}")
    if part not in (None, "all", *SPLIT_WORDS):
        raise SourceError(f"no part {part!r}, expected one of {', '.join(SPLIT_WORDS)}, all")
    if not path.exists():
        raise SourceError(f"{path} does not exist: give the folder of the unpacked data set")
    readers = {
        "ckplus": _ckplus,
        "jaffe": _jaffe,
        "rafdb": _rafdb,
        "affectnet": read_affectnet,
        "ferplus": read_ferplus,
        "imagefolder": _imagefolder,
    }
    try:
        found = readers[layout](path, part)
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"{path} cannot be read as {layout}: {error}") from error
    if not any(image.label in EMOTIONS for image in found.images):
        labels = sorted({image.label for image in found.images})
        raise SourceError(
            f"{path} has no picture of {', '.join(EMOTIONS)} in the layout of {layout}; labels found: {labels or 'none'}"
        )
    return found


def _ckplus(path: Path, part: str | None) -> ExternalDataset:
    reject_part(path, part)
    annotations = sorted(path.rglob("*_emotion.txt"))
    if not annotations:
        images = tuple(images_in_class_folders(path))
        return ExternalDataset(
            "CK+48", "all pictures", "face", images,
            ("Three pictures come from each sequence, so they are not independent and the intervals are too narrow.",),
        )  # fmt: skip
    roots = [folder for folder in path.rglob("cohn-kanade-images") if folder.is_dir()]
    if not roots:
        raise SourceError(f"{path} has *_emotion.txt but no folder cohn-kanade-images: unpack both archives of CK+ there")
    found: list[LabelledImage] = []
    for file in annotations:
        subject, session = file.parts[-3:-1]
        frames = sorted(frame for frame in (roots[0] / subject / session).glob("*") if frame.suffix.lower() in IMAGE_SUFFIXES)
        if not frames:
            raise SourceError(f"{file} labels the sequence {subject}/{session}, but {roots[0]} has no pictures of it")
        first = LabelledImage(frames[0].name, CKPLUS_CODES[0], partial(decode_file, frames[0]))
        last = LabelledImage(
            frames[-1].name, label_of(CKPLUS_CODES, whole_number(file.read_text(), file), file), partial(decode_file, frames[-1])
        )
        found += [first, last]
    return ExternalDataset(
        "CK+",
        "last picture of each labelled sequence, and its first as neutral",
        "scene",
        tuple(found),
        ("Two pictures come from each sequence, so they are not independent and the intervals are too narrow.",),
    )


def _jaffe(path: Path, part: str | None) -> ExternalDataset:
    reject_part(path, part)
    found = []
    for file in image_files(path):
        match = re.fullmatch(r"[A-Z]{2}\.([A-Z]{2})\d+\.\d+", file.stem, re.IGNORECASE)
        if match is None:
            raise SourceError(f"{file} is not named as in JAFFE, such as KA.AN1.39.tiff: keep only its pictures in {path}")
        found.append(LabelledImage(file.name, label_of(JAFFE_CODES, match[1].upper(), file), partial(decode_file, file)))
    return ExternalDataset(
        "JAFFE",
        "all pictures",
        "scene",
        tuple(found),
        ("Ten women, about twenty pictures each: the intervals are too narrow.",),
    )


def _rafdb(path: Path, part: str | None) -> ExternalDataset:
    lists = sorted(path.rglob("list_patition_label.txt"))
    if not lists and any(folder.is_dir() for code in RAFDB_CODES for folder in path.rglob(str(code))):
        chosen, images = choose_part(
            list(images_in_numbered_folders(path, RAFDB_CODES, "class folder 1 to 7 of RAF-DB")), part, path
        )
        return ExternalDataset("RAF-DB, class folders", chosen, "face", images)
    folders = sorted(folder for folder in path.rglob("aligned") if folder.is_dir())
    if not lists or not folders:
        raise SourceError(
            f"{path} lacks EmoLabel/list_patition_label.txt or Image/aligned: give the folder `basic`, or class folders 1 to 7"
        )
    rows = []
    for line in lists[0].read_text(encoding="utf-8").splitlines():
        if not line.strip():
            continue
        name, _, code = line.strip().partition(" ")
        file = folders[0] / f"{Path(name).stem}_aligned{Path(name).suffix}"
        image = LabelledImage(
            file.name, label_of(RAFDB_CODES, whole_number(code, lists[0]), lists[0]), partial(decode_file, file)
        )
        rows.append((name.partition("_")[0], image))
    chosen, images = choose_part(rows, part, path)
    return ExternalDataset("RAF-DB basic, aligned", chosen, "face", images)


def _imagefolder(path: Path, part: str | None) -> ExternalDataset:
    parts = {word for words in SPLIT_WORDS.values() for word in words}
    below = [folder for folder in sorted(path.iterdir()) if folder.is_dir()] if path.is_dir() else []
    if any(folder.name.lower() in parts for folder in below):
        rows = [(folder.name, image) for folder in below for image in images_in_class_folders(folder)]
    else:
        rows = [("", image) for image in images_in_class_folders(path)]
    chosen, images = choose_part(rows, part, path)
    return ExternalDataset(path.name, chosen, "face", images)
