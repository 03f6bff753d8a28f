"""Reader of FER+: votes of annotators for the images of FER-2013."""

from __future__ import annotations

import csv
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from fer_pipeline.analysis.external.images import (
    ExternalDataset,
    LabelledImage,
    choose_part,
    open_lines,
    parse_pixels,
    whole_number,
)
from fer_pipeline.errors import SourceError
from fer_pipeline.labels import FERPLUS_COLUMNS, common_name

FERPLUS_TITLE: Final = "FER+ (majority of the votes)"
"""Title of this layout, the only one with the images of FER-2013: it measures other labels, not other images."""


def read_ferplus(path: Path, part: str | None) -> ExternalDataset:
    """Read the FER+ votes beside the images of FER-2013.

    `path` is fer2013new.csv or its folder, with fer2013.csv or fer2013.csv.gz in it; votes and images join by row. Raises
    `SourceError` where a file is missing or the rows differ.
    """
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
            rows.append(
                (face["Usage"], LabelledImage(f"{faces.name}:{number}", majority(counts), partial(parse_pixels, face["pixels"])))
            )
    chosen, images = choose_part(rows, part, path)
    return ExternalDataset(
        FERPLUS_TITLE,
        chosen,
        "face",
        images,
        ("The pictures are those of FER-2013 with other labels: this measures agreement with the new annotators, not transfer.",),
    )


def majority(votes: list[int]) -> str:
    """Return the label with more than half of the FER+ votes, or "no majority".

    Single votes do not count. `votes` are counts in the order of `labels.FERPLUS_COLUMNS`. The rule is the mode `majority`
    of microsoft/FERPlus.
    """
    counts = np.array([count if count > 1 else 0 for count in votes])
    best = int(counts.argmax())
    return common_name(FERPLUS_COLUMNS[best]) if counts[best] > counts.sum() / 2 else "no majority"
