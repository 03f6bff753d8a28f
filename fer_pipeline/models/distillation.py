"""Offline distillation: store the probabilities of exported models as soft labels."""

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
from fer_pipeline.data.table.training_images import check_unseen
from fer_pipeline.errors import ParamsError
from fer_pipeline.evaluation import tta
from fer_pipeline.evaluation.tta import TTA_VIEWS
from fer_pipeline.inference.classifier import EmotionClassifier
from fer_pipeline.models.recalibration import THREADS


@dataclass(frozen=True)
class StoredSoftLabels:
    """Stored soft labels: fingerprint, rows, and agreement with the given labels."""

    fingerprint: str
    rows: int
    agreement: float


def distill_offline(
    teachers: Mapping[str, Path], processed: Path, folder: Path, temperature: float = 1.0, tta_views: int = TTA_VIEWS
) -> StoredSoftLabels:
    """Replace `folder` by the teachers' probabilities for training rows of a table.

    `teachers` are folders of exported models by name. Stored is the mean of their calibrated probabilities over the first
    `tta_views` views of `evaluation.tta` (Hinton et al. 2015, arXiv 1503.02531), raised to 1 / `temperature` and scaled to sum 1.

    Raises `ParamsError` without a teacher, for a temperature that is not positive or views beyond 1 to 10, `ModelError` where a
    teacher was trained on validation or test rows of the table, has no list of training images or does not fit the table,
    `SourceError` without a table.
    """
    if not teachers or not temperature > 0:
        raise ParamsError(f"{len(teachers)} teachers, temperature {temperature:g}: expected at least one, and a positive number")
    if not 1 <= tta_views <= TTA_VIEWS:
        raise ParamsError(f"{tta_views} views of a picture, expected 1 to {TTA_VIEWS}")
    table = ProcessedTable.open(processed)
    classifiers = {name: EmotionClassifier.load(path, THREADS) for name, path in teachers.items()}
    for name, classifier in classifiers.items():
        classifier.info.check_table(table.metadata, model=f"teacher {name}", table=processed)
    check_unseen({f"teacher {name}": folder for name, folder in teachers.items()}, table)
    faces = table.split("train")
    total: npt.NDArray[np.float64] = np.zeros((len(faces), 1))
    with Progress(console=Console(stderr=True, markup=False, emoji=False), transient=True) as progress:
        task = progress.add_task("running the teachers", total=len(classifiers) * tta_views)
        for classifier in classifiers.values():
            for view in islice(tta.tta_views(faces.images), tta_views):
                total = total + classifier.probabilities(np.ascontiguousarray(view))
                progress.advance(task)
    softened = (total / (len(classifiers) * tta_views)) ** (1 / temperature)
    probabilities = softened / softened.sum(axis=1, keepdims=True)
    agreement = float((probabilities.argmax(axis=1) == faces.labels).mean())
    metadata = {
        "teachers": {name: classifier.info.fingerprint for name, classifier in classifiers.items()},
        "temperature": temperature,
        "views": tta_views,
        "agreement": agreement,
        "data": table.metadata["source"]["name"],
    }
    return StoredSoftLabels(write_soft_labels(folder, faces, probabilities, metadata), len(faces), agreement)
