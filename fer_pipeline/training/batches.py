"""Shuffled training batches, determined by (seed, epoch, batch).

A resumed run therefore sees the same batches.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, NamedTuple

import keras
import numpy as np
import numpy.typing as npt

from fer_pipeline.config.training import TrainParams
from fer_pipeline.data.table.dataset import FaceDataset
from fer_pipeline.errors import ParamsError
from fer_pipeline.labels import EMOTIONS, FERPLUS_EMOTIONS
from fer_pipeline.metrics.vote_shares import VoteShares

Floats = npt.NDArray[np.float32]
Batch = tuple[tuple[npt.NDArray[Any], Floats], dict[str, Floats], dict[str, Floats]]

LABELS, VOTES = "labels", "votes"
"""Names of the two targets, and of the outputs that learn them."""


class Table(NamedTuple):
    """Images, targets and weights of all rows, in the form that `Batches` describes.

    The values are arrays or tensors.
    """

    images: Any
    targets: dict[str, Any]
    weights: dict[str, Any]


class Batches(keras.utils.PyDataset):
    """Batches of one epoch: ((images, mixup shares), targets, weights).

    Images are uint8 (B, 48, 48, 1), shares (B, 1).

    `targets` has "labels" (B, 7) and with `params.vote_loss_weight` also "votes" (B, 8), the shares of the emotions in
    `labels.FERPLUS_EMOTIONS`; `weights` (B,) has the same names, 0 for votes that a row lacks. Batches are full ones (rows that
    are left over come in other epochs), or a single smaller one where there are fewer rows.

    The targets "labels" are given labels, votes or a mixture; see `label_targets`.

    Raises `ParamsError` where votes are to be learned and no row has any, or labels softened without soft labels.
    """

    def __init__(self, faces: FaceDataset, params: TrainParams, epoch: int) -> None:
        super().__init__()
        self.faces = faces
        self.size = min(params.batch_size, len(faces))
        steps = steps_per_epoch(len(faces), self.size)
        seed = (params.seed, epoch)
        self.order = np.random.default_rng(seed).permutation(len(faces))
        self.rows = self.order[: steps * self.size].reshape(steps, self.size)
        self.shares = np.ones((steps, self.size, 1), np.float32)
        alpha = params.mixup_alpha if epoch < round((1 - params.mixup_off_share) * params.epochs) else 0.0
        for index in range(steps if alpha else 0):
            drawn = np.random.default_rng((*seed, index)).beta(alpha, alpha, (self.size, 1))
            self.shares[index] = np.maximum(drawn, 1 - drawn)
        self.table = _table(faces, params)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Batch:
        return compose(np, self.table, self.rows[index], self.shares[index])


def compose(xp: ModuleType, table: Table, rows: Any, shares: Any) -> Batch:
    """Compose the batch of the given rows (B,) with mixup shares (B, 1).

    Each row is mixed with the one before it in the batch.

    `xp` is `numpy` for arrays, `keras.ops` for tensors. The images stay unmixed, since augmentation comes before that.
    """
    before = 1 - shares
    targets = {name: xp.take(values, rows, axis=0) for name, values in table.targets.items()}
    targets = {name: shares * values + before * xp.roll(values, 1, axis=0) for name, values in targets.items()}
    if VOTES in targets:  # mixed with a row without votes they sum to less than 1, which softmax cannot learn
        targets[VOTES] = targets[VOTES] / xp.maximum(xp.sum(targets[VOTES], axis=1, keepdims=True), 1e-9)
    weights = {name: xp.take(values, rows, axis=0) for name, values in table.weights.items()}
    weights = {name: shares[:, 0] * values + before[:, 0] * xp.roll(values, 1, axis=0) for name, values in weights.items()}
    return (xp.take(table.images, rows, axis=0), shares), targets, weights


def steps_per_epoch(rows: int, batch_size: int) -> int:
    """Count the full batches of an epoch, at least 1."""
    return max(rows // batch_size, 1)


def vote_shares(faces: FaceDataset) -> Floats:
    """Compute the share (N, 8) of each emotion in a row's FER+ votes.

    "unknown" and "no face" do not count; rows without other votes are zeros.

    Raises `ParamsError` where no row has votes.
    """
    votes = np.nan_to_num(
        _votes(faces, "train.vote_loss_weight is above 0", "train.vote_loss_weight to 0")[:, : len(FERPLUS_EMOTIONS)]
    )
    shares: Floats = (votes / np.maximum(votes.sum(axis=1, keepdims=True), 1)).astype(np.float32)
    return shares


def label_targets(faces: FaceDataset, params: TrainParams) -> Floats:
    """Compute the targets (N, 7) of the emotions: probabilities that sum to 1.

    The given label is first mixed with the row's soft label, by `params.soft_label_weight`, then with the row's votes, by
    `params.vote_share`; `VoteShares.targets` treats rows with few votes.

    Raises `ParamsError` where votes or soft labels are asked for and no row has any.
    """
    labels = _softened_labels(faces, params.soft_label_weight)
    share = params.vote_share
    if not share:
        return labels
    votes = VoteShares.of(_votes(faces, f"train.vote_share is {share:g}", "train.vote_share to 0")).targets(faces.labels)
    mixed: Floats = (1 - share) * labels + np.float32(share) * votes
    return mixed


def _softened_labels(faces: FaceDataset, weight: float) -> Floats:
    given = np.eye(len(EMOTIONS), dtype=np.float32)[faces.labels]
    if not weight:
        return given
    if faces.soft_labels is None:
        raise ParamsError(
            f"train.soft_label_weight is {weight:g}, but the rows came without soft labels: run `fer distill --offline`"
        )
    mixed: Floats = (1 - weight) * given + np.float32(weight) * faces.soft_labels
    return mixed


def _votes(faces: FaceDataset, reason: str, remedy: str) -> Floats:
    if faces.votes is None:
        raise ParamsError(
            f"{reason}, but no row has FER+ votes: give them with the data (`fer data add PATH --votes fer2013new.csv`), or set "
            f"{remedy}"
        )
    return faces.votes


def class_weights(labels: npt.NDArray[np.int64], kind: str) -> Floats:
    """Compute the weight (7,) of a row of each class, with mean 1 over the rows.

    `kind` is "none", "balanced" (1 / count) or "sqrt" (1 / sqrt(count)).
    """
    counts = np.maximum(np.bincount(labels, minlength=len(EMOTIONS)), 1)
    weights = counts ** -{"none": 0.0, "sqrt": 0.5, "balanced": 1.0}[kind]
    scaled: Floats = (weights / weights[labels].mean()).astype(np.float32)
    return scaled


def _table(faces: FaceDataset, params: TrainParams) -> Table:
    targets = {LABELS: label_targets(faces, params)}
    weights = {LABELS: class_weights(faces.labels, params.class_weights)[faces.labels]}
    if params.vote_loss_weight:
        targets[VOTES] = vote_shares(faces)
        weights[VOTES] = targets[VOTES].sum(axis=1).round()
    return Table(faces.images, targets, weights)
