"""Accuracy on corrupted test images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fer_pipeline.analysis.progress import progress_bar
from fer_pipeline.analysis.robustness.corruptions import CORRUPTIONS, STRENGTHS, Corruption
from fer_pipeline.data.table.dataset import FaceDataset
from fer_pipeline.imaging import UInt8Array
from fer_pipeline.metrics import classification
from fer_pipeline.metrics.classification import Interval
from fer_pipeline.metrics.intervals import mean_interval
from fer_pipeline.model_info import Predict


@dataclass(frozen=True)
class Curve:
    """Accuracy and macro-F1 under one corruption, per strength, mildest first."""

    corruption: Corruption
    accuracy: tuple[float, ...]
    macro_f1: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean accuracy over the strengths."""
        return float(np.mean(self.accuracy))


@dataclass(frozen=True)
class Robustness:
    """Results on `rows` test images.

    `mean_corruption_accuracy` is the mean over all corruptions and strengths, `majority` the accuracy of always answering the
    largest class.
    """

    rows: int
    seed: int
    clean: Interval
    mean_corruption_accuracy: Interval
    majority: float
    curves: tuple[Curve, ...]

    @property
    def kept(self) -> float:
        """Mean accuracy under corruption as a share of the clean accuracy."""
        return self.mean_corruption_accuracy.estimate / self.clean.estimate if self.clean.estimate else 0.0


def measure_robustness(
    test: FaceDataset, predict: Predict, *, sample_size: int | None = None, resamples: int = 1000, seed: int = 0
) -> Robustness:
    """Measure accuracy under every corruption on all test images or a sample.

    Corruptions are applied to the 48x48 model inputs; equal seeds give equal images. Intervals are 95 % percentile bootstrap
    intervals over images.
    """
    chosen = sample_rows(len(test), sample_size, seed)
    images, labels = test.images[chosen], test.labels[chosen]
    clean = predict(images).argmax(axis=1) == labels
    predictions = predict_corrupted(images, predict, seed)
    right = predictions == labels
    macro_f1 = [float(classification.macro_f1(classification.confusion(labels, row))) for row in predictions]
    accuracy = right.mean(axis=1)
    curves = tuple(
        Curve(
            corruption,
            tuple(float(a) for a in accuracy[number * STRENGTHS : (number + 1) * STRENGTHS]),
            tuple(macro_f1[number * STRENGTHS : (number + 1) * STRENGTHS]),
        )
        for number, corruption in enumerate(CORRUPTIONS)
    )
    return Robustness(
        rows=len(labels),
        seed=seed,
        clean=mean_interval(clean.astype(float), resamples=resamples, seed=seed),
        mean_corruption_accuracy=mean_interval(right.mean(axis=0), resamples=resamples, seed=seed),
        majority=float(np.bincount(labels).max() / len(labels)),
        curves=curves,
    )


def sample_rows(rows: int, sample_size: int | None, seed: int) -> npt.NDArray[np.int64]:
    """Draw row positions (M,), sorted; all rows where there are no more."""
    if sample_size is None or sample_size >= rows:
        return np.arange(rows)
    return np.sort(np.random.default_rng(seed).choice(rows, size=sample_size, replace=False))


def predict_corrupted(images: UInt8Array, predict: Predict, seed: int) -> npt.NDArray[np.int64]:
    """Predict classes int (40, N) under every corruption and strength.

    Rows follow `CORRUPTIONS`, the mildest strength first. Equal seeds give equal images, whatever the model.
    """
    cells = [(number, corruption, strength) for number, corruption in enumerate(CORRUPTIONS) for strength in corruption.strengths]
    return np.stack(
        [
            predict(corrupt(images, corruption, strength, np.random.default_rng((seed, number)))).argmax(axis=1)
            for number, corruption, strength in progress_bar(cells, "corruptions")
        ]
    )


def corrupt(images: UInt8Array, corruption: Corruption, strength: float, rng: np.random.Generator) -> UInt8Array:
    """Corrupt model inputs uint8 (N, 48, 48, 1) one by one."""
    return np.stack([corruption.apply(np.ascontiguousarray(image[:, :, 0]), strength, rng) for image in images])[..., np.newaxis]
