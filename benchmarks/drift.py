"""Measure how often the drift check raises an alarm.

Windows of the test split: untouched, darkened, blurred, and with another mix of emotions.

Each window is drawn anew from the test rows without a copy in training, a row once per window at most, and compared with the
validation split as `fer monitor drift` does it. Pictures of one split are more alike than those of two cameras: the first figure
is the false alarms of FER-2013, not of yours. Needs data/processed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from rich.table import Table

from benchmarks.inference import MODEL
from fer_pipeline.config.params import DriftParams
from fer_pipeline.data.table.reader import ProcessedTable
from fer_pipeline.imaging import UInt8Array
from fer_pipeline.inference.classifier import EmotionClassifier
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.monitoring import drift
from fer_pipeline.monitoring.drift_check import observe, reference_of
from fer_pipeline.monitoring.observations import Observations

PROCESSED = Path("data/processed")
ROWS = (200, 500)
UNTOUCHED_WINDOWS, SHIFTED_WINDOWS, SEED = 2000, 300, 0


def tables() -> Iterator[Table]:
    """Return the share of windows with an alarm.

    Raises `ModelError`, `MonitoringError` or `SourceError` where data are missing.
    """
    classifier = EmotionClassifier.load(MODEL, threads=2)
    reference = reference_of(classifier, MODEL, PROCESSED)
    test = ProcessedTable.open(PROCESSED).split("test")
    images, labels = test.images[test.unseen], test.labels[test.unseen]
    test_pool = observe(classifier, images)
    rng = np.random.default_rng(SEED)
    table = Table("windows of", *(f"{rows} pictures" for rows in ROWS), title=f"drift found, bounds {DriftParams()!r}")

    def add(name: str, pool: Observations, windows: int, weights: npt.NDArray[np.float64] | None = None) -> None:
        found = (sum(_alarms(reference, pool, rows, windows, rng, weights)) for rows in ROWS)
        table.add_row(f"{name} ({windows:,} windows)", *(f"{100 * hits / windows:.2f} %" for hits in found))

    add("the test split as it is", test_pool, UNTOUCHED_WINDOWS)
    for name, changed in _shifted(images).items():
        add(name, observe(classifier, changed), SHIFTED_WINDOWS)
    weights = np.ones(len(EMOTIONS))
    weights[EMOTIONS.index("happy")], weights[EMOTIONS.index("neutral")] = 0.3, 2.0
    add("happy 0.3 times, neutral twice as often", test_pool, SHIFTED_WINDOWS, weights[labels] / weights[labels].sum())
    yield table


def _shifted(images: UInt8Array) -> dict[str, UInt8Array]:
    shifted = {f"brightness x {share}": np.clip(images * share, 0, 255).astype(np.uint8) for share in (0.85, 0.6)}
    for sigma in (0.6, 1.0):
        blurred = [cv2.GaussianBlur(image[:, :, 0], (0, 0), sigma) for image in images]
        shifted[f"blur of {sigma} pixels"] = np.stack(blurred).astype(np.uint8)[..., np.newaxis]
    return shifted


def _alarms(
    reference: Observations,
    pool: Observations,
    rows: int,
    windows: int,
    rng: np.random.Generator,
    weights: npt.NDArray[np.float64] | None,
) -> Iterator[bool]:
    for _ in range(windows):
        window = pool.take(rng.choice(len(pool), rows, replace=False, p=weights))
        yield drift.compare(reference, window, DriftParams()).drifted
