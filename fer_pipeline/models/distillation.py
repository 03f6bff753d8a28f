"""Distillation: exported models as teachers, their stored answers as soft labels of the training rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import Progress

from fer_pipeline.data.table.reader import ProcessedTable
from fer_pipeline.data.table.soft_labels import write_soft_labels
from fer_pipeline.data.table.training_images import check_teachers
from fer_pipeline.errors import ParamsError
from fer_pipeline.evaluation.tta import VIEWS, views
from fer_pipeline.inference.classifier import EmotionClassifier

_THREADS = 2


@dataclass(frozen=True)
class Taught:
    """Soft labels that were stored: fingerprint, rows, and the share of rows whose label is the teachers' first answer."""

    fingerprint: str
    rows: int
    agreement: float


def teach(teachers: Mapping[str, Path], processed: Path, folder: Path, temperature: float = 1.0, count: int = VIEWS) -> Taught:
    """Stores in `folder` what the teachers, folders of exported models by name, say of the training rows.

    That is the mean of their calibrated probabilities over the first `count` of ten views of a picture (Hinton et al. 2015, arXiv
    1503.02531), raised to 1 / `temperature` and scaled to sum 1. A teacher may have learned from no validation and test row
    of this table, as those of `fer run` on it have not: a student learns what they know.

    Raises `ParamsError` without a teacher, for a temperature that is not positive or a count beyond 1 to 10, `ModelError` where a
    teacher learned from such rows or has no list of what it learned from, expects another image spec, or was trained on
    generated faces and the table is of real ones, or the reverse; `SourceError` without a table.
    """
    if not teachers or not temperature > 0:
        raise ParamsError(f"{len(teachers)} teachers, temperature {temperature:g}: expected at least one, and a positive number")
    if not 1 <= count <= VIEWS:
        raise ParamsError(f"{count} views of a picture, expected 1 to {VIEWS}")
    table = ProcessedTable.open(processed)
    classifiers = {name: EmotionClassifier.load(path, _THREADS) for name, path in teachers.items()}
    for name, classifier in classifiers.items():
        classifier.info.check_table(table.metadata, model=f"teacher {name}", table=processed)
    check_teachers(teachers, table)
    faces = table.split("train")
    total: npt.NDArray[np.float64] = np.zeros((len(faces), 1))
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("asking the teachers", total=len(classifiers) * count)
        for classifier in classifiers.values():
            for view in islice(views(faces.images), count):
                total = total + classifier.probabilities(np.ascontiguousarray(view))
                progress.advance(task)
    softened = (total / (len(classifiers) * count)) ** (1 / temperature)
    probabilities = softened / softened.sum(axis=1, keepdims=True)
    agreement = float((probabilities.argmax(axis=1) == faces.labels).mean())
    facts = {
        "teachers": {name: classifier.info.fingerprint for name, classifier in classifiers.items()},
        "temperature": temperature,
        "views": count,
        "agreement": agreement,
        "data": table.metadata["source"]["name"],
    }
    return Taught(write_soft_labels(folder, faces, probabilities, facts), len(faces), agreement)
