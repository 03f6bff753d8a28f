"""Shuffled training batches; all that is random follows from (seed, epoch, batch), so that a resumed run sees the same ones."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from fer_pipeline.labels import EMOTIONS
from fer_pipeline.modeling.loading import Faces
from fer_pipeline.params import TrainParams

Batch = tuple[tuple[npt.NDArray[Any], npt.NDArray[Any]], npt.NDArray[Any], npt.NDArray[Any]]


class Batches(keras.utils.PyDataset):
    """One epoch of ((images uint8 (B, 48, 48, 1), mixup shares (B, 1)), targets (B, 7), weights (B,)).

    Batches are full ones (rows that are left over come in other epochs), or a single smaller one where there are fewer rows.
    """

    def __init__(self, faces: Faces, params: TrainParams, epoch: int) -> None:
        super().__init__()
        self.faces = faces
        self.size = min(params.batch_size, len(faces))
        self.seed = (params.seed, epoch)
        self.order = np.random.default_rng(self.seed).permutation(len(faces))
        self.alpha = params.mixup_alpha if epoch < round((1 - params.mixup_off_share) * params.epochs) else 0.0
        self.weights = class_weights(faces.labels, params.class_weights)

    def __len__(self) -> int:
        return steps_per_epoch(len(self.faces), self.size)

    def __getitem__(self, index: int) -> Batch:
        rows = self.order[index * self.size : (index + 1) * self.size]
        labels = self.faces.labels[rows]
        targets = np.eye(len(EMOTIONS), dtype=np.float32)[labels]
        weights = self.weights[labels]
        shares = np.ones((len(rows), 1), np.float32)
        if self.alpha:
            drawn = np.random.default_rng((*self.seed, index)).beta(self.alpha, self.alpha, shares.shape)
            shares = np.maximum(drawn, 1 - drawn).astype(np.float32)
            targets = shares * targets + (1 - shares) * np.roll(targets, 1, axis=0)
            weights = shares[:, 0] * weights + (1 - shares[:, 0]) * np.roll(weights, 1)
        return (self.faces.images[rows], shares), targets, weights


def steps_per_epoch(rows: int, batch_size: int) -> int:
    """Number of full batches, at least 1."""
    return max(rows // batch_size, 1)


def class_weights(labels: npt.NDArray[np.int64], kind: str) -> npt.NDArray[np.float32]:
    """Weight (7,) of a row of each class, with mean 1 over the rows: "none", "balanced" (1 / count), "sqrt" (1 / sqrt(count))."""
    counts = np.maximum(np.bincount(labels, minlength=len(EMOTIONS)), 1)
    weights = counts ** -{"none": 0.0, "sqrt": 0.5, "balanced": 1.0}[kind]
    scaled: npt.NDArray[np.float32] = (weights / weights[labels].mean()).astype(np.float32)
    return scaled
