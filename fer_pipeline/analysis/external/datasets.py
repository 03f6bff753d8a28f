"""Data sets of other people in their usual layouts: where each picture lies and what its label is called here. Does file I/O."""

from __future__ import annotations

import csv
import re
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from fer_pipeline.analysis.external.affectnet import affectnet
from fer_pipeline.analysis.external.pictures import (
    FERPLUS_TITLE,
    SUFFIXES,
    ExternalSet,
    Picture,
    choose_part,
    decoded,
    in_class_folders,
    named,
    open_lines,
    parsed,
    pictures_below,
    refuse_part,
    whole_number,
)
from fer_pipeline.errors import SourceError
from fer_pipeline.labels import (
    CKPLUS_CODES,
    EMOTIONS,
    FERPLUS_COLUMNS,
    JAFFE_CODES,
    RAFDB_CODES,
    common_name,
)
from fer_pipeline.schemas import SPLIT_WORDS

LAYOUTS: Final = ("ckplus", "jaffe", "rafdb", "affectnet", "ferplus", "imagefolder")


def open_set(path: Path, layout: str, part: str | None = None) -> ExternalSet:
    """The pictures of a data set of this layout, or of one of its parts: test, validation, train or all.

    Without a part it is the test rows where the set has some, else the validation rows, else all.
    Raises `SourceError` where the path is missing, is no such layout, or has no rows of this part.
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
        "affectnet": affectnet,
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
    refuse_part(path, part)
    annotations = sorted(path.rglob("*_emotion.txt"))
    if not annotations:
        pictures = tuple(in_class_folders(path))
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
        frames = sorted(frame for frame in (roots[0] / subject / session).glob("*") if frame.suffix.lower() in SUFFIXES)
        if not frames:
            raise SourceError(f"{file} labels the sequence {subject}/{session}, but {roots[0]} has no pictures of it")
        first = Picture(frames[0].name, CKPLUS_CODES[0], partial(decoded, frames[0]))
        last = Picture(
            frames[-1].name, named(CKPLUS_CODES, whole_number(file.read_text(), file), file), partial(decoded, frames[-1])
        )
        found += [first, last]
    return ExternalSet(
        "CK+",
        "last picture of each labelled sequence, and its first as neutral",
        "picture",
        tuple(found),
        ("Two pictures come from each sequence, so they are not independent and the intervals are too narrow.",),
    )


def _jaffe(path: Path, part: str | None) -> ExternalSet:
    refuse_part(path, part)
    found = []
    for file in pictures_below(path):
        match = re.fullmatch(r"[A-Z]{2}\.([A-Z]{2})\d+\.\d+", file.stem, re.IGNORECASE)
        if match is None:
            raise SourceError(f"{file} is not named as in JAFFE, such as KA.AN1.39.tiff: keep only its pictures in {path}")
        found.append(Picture(file.name, named(JAFFE_CODES, match[1].upper(), file), partial(decoded, file)))
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
        picture = Picture(file.name, named(RAFDB_CODES, whole_number(code, lists[0]), lists[0]), partial(decoded, file))
        rows.append((name.partition("_")[0], picture))
    chosen, pictures = choose_part(rows, part, path)
    return ExternalSet("RAF-DB basic, aligned", chosen, "face", pictures)


def _ferplus(path: Path, part: str | None) -> ExternalSet:
    votes = path if path.is_file() else path / "fer2013new.csv"
    faces = next((votes.parent / name for name in ("fer2013.csv", "fer2013.csv.gz") if (votes.parent / name).is_file()), None)
    if not votes.is_file() or faces is None:
        raise SourceError(f"{votes.parent} needs fer2013new.csv and beside it fer2013.csv or fer2013.csv.gz")
    rows = []
    with open_lines(votes) as ballots, open_lines(faces) as pixels:
        face_rows = csv.DictReader(pixels)
        if not {"pixels", "Usage"} <= set(face_rows.fieldnames or ()):
            raise SourceError(f"{faces} has the columns {face_rows.fieldnames}, expected emotion, pixels and Usage")
        for number, (ballot, face) in enumerate(zip(csv.DictReader(ballots), face_rows, strict=False), start=2):
            if ballot.get("Usage") != face["Usage"]:
                raise SourceError(
                    f"line {number} is {ballot.get('Usage')} in {votes.name} and {face['Usage']} in {faces.name}: "
                    "votes join by row, so both files must have the same order"
                )
            counts = [whole_number(ballot.get(column) or "", votes) for column in FERPLUS_COLUMNS]
            rows.append((face["Usage"], Picture(f"{faces.name}:{number}", majority(counts), partial(parsed, face["pixels"]))))
    chosen, pictures = choose_part(rows, part, path)
    return ExternalSet(
        FERPLUS_TITLE,
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
    parts = {word for words in SPLIT_WORDS.values() for word in words}
    below = [folder for folder in sorted(path.iterdir()) if folder.is_dir()] if path.is_dir() else []
    if any(folder.name.lower() in parts for folder in below):
        rows = [(folder.name, picture) for folder in below for picture in in_class_folders(folder)]
    else:
        rows = [("", picture) for picture in in_class_folders(path)]
    chosen, pictures = choose_part(rows, part, path)
    return ExternalSet(path.name, chosen, "face", pictures)
