"""Measure accuracy against the margin around a detected face.

On validation faces that a detector has found, by crop scale.

Each face of the validation split is laid, four times as large, on a wall that repeats its edges, found by the detector, cut out
and classified. `ImageSpec.crop_scale` is chosen here, on validation rows that the model has not learned from: those of the table
it was trained on. Needs data/processed; `BENCH_YUNET` names YuNet's file, `BENCH_MODEL` a model of the same table (default: the
shipped model `fast`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from math import sqrt
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from rich.table import Table

from benchmarks.inference import MODEL
from fer_pipeline.data.table.reader import ProcessedTable
from fer_pipeline.imaging import UInt8Array, to_model_input
from fer_pipeline.inference.classifier import EmotionClassifier
from fer_pipeline.inference.detection.centerface import CenterFaceDetector
from fer_pipeline.inference.detection.faces import FaceBox, FaceDetector, crop_box
from fer_pipeline.inference.detection.haar import HaarDetector
from fer_pipeline.inference.detection.yunet import published_yunet
from fer_pipeline.inference.detection.yunet_download import find_yunet
from fer_pipeline.inference.recognizer import crop_face

PROCESSED = Path("data/processed")
SCALES = (0.84, 0.92, 1.0, 1.08, 1.16, 1.24)
ZOOM, MARGIN = 4, 64
"""Factor of a face of 48 pixels, and pixels of wall on each side."""


def tables() -> Iterator[Table]:
    """Return a table per detector.

    Raises `SourceError` where data are missing, `ModelError` where a file is no model.
    """
    classifier = EmotionClassifier.load(Path(os.environ.get("BENCH_MODEL", MODEL)), threads=2)
    rows = ProcessedTable.open(PROCESSED).split("validation")
    pictures = [_on_wall(face[:, :, 0]) for face in rows.images]
    yunet = os.environ.get("BENCH_YUNET") or find_yunet()
    given = classifier.probabilities(rows.images).argmax(axis=1) == rows.labels
    for detector in (CenterFaceDetector(), HaarDetector(), *([published_yunet(Path(yunet))] if yunet else [])):
        yield _table(classifier, detector, pictures, rows.labels, given)


def _table(
    classifier: EmotionClassifier,
    detector: FaceDetector,
    pictures: list[UInt8Array],
    labels: npt.NDArray[np.int64],
    given: npt.NDArray[np.bool_],
) -> Table:
    found = [(index, faces[0]) for index, picture in enumerate(pictures) if (faces := detector.detect(picture))]
    kept = np.array([index for index, _ in found])
    right = {scale: _right(classifier, pictures, found, scale) == labels[kept] for scale in SCALES}
    given_right = f"as given {100 * given[kept].mean():.1f} % of them right"
    title = f"{detector.name}: {len(found):,} of {len(pictures):,} faces found; {given_right}"
    table = Table("crop scale", "accuracy", "against 1.0, points", "standard error", title=title)
    for scale, hits in right.items():
        gain = hits.astype(float) - right[1.0]
        table.add_row(
            f"{scale:.2f}", f"{100 * hits.mean():.1f}", f"{100 * gain.mean():+.1f}", f"{100 * gain.std() / sqrt(len(gain)):.1f}"
        )
    return table


def _right(
    classifier: EmotionClassifier, pictures: list[UInt8Array], found: list[tuple[int, FaceBox]], scale: float
) -> npt.NDArray[np.int64]:
    spec = classifier.info.image_spec
    cuts = [to_model_input(crop_face(pictures[index], face, crop_box(face, scale)), spec) for index, face in found]
    return np.asarray(classifier.probabilities(np.stack(cuts)).argmax(axis=1), np.int64)


def _on_wall(face: UInt8Array) -> UInt8Array:
    large = cv2.resize(face, None, fx=ZOOM, fy=ZOOM, interpolation=cv2.INTER_CUBIC)
    walled = cv2.copyMakeBorder(large, MARGIN, MARGIN, MARGIN, MARGIN, cv2.BORDER_REPLICATE)
    return np.repeat(np.asarray(walled, np.uint8)[:, :, np.newaxis], 3, axis=2)
