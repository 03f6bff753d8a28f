"""Answer-known samples of these tests."""

from __future__ import annotations

import numpy as np

from fer_pipeline.analysis.label_noise.out_of_fold import OutOfFold
from fer_pipeline.data.table.dataset import FaceDataset

ROWS = 84


def predictions(faces: FaceDataset, wrong: list[int]) -> OutOfFold:
    """Sure and right, but for the rows in `wrong`, where the next class is named; the last row is an augmented copy."""
    named = faces.labels.copy()
    named[wrong] = (named[wrong] + 1) % 7
    probabilities = np.full((len(faces), 7), 0.01)
    probabilities[np.arange(len(faces)), named] = 0.94
    augmented = np.arange(len(faces)) == len(faces) - 1
    metadata = {
        "network": "plain_cnn", "profile": "smoke", "epochs": 1, "folds": 2, "seed": 0, "train_seed": 0, "votes_used": False,
        "data": "stripes", "synthetic": True, "accuracy": 0.9, "per_fold": [],
    }  # fmt: skip
    return OutOfFold(faces.ids, faces.labels, np.zeros(len(faces), np.int64), augmented, probabilities, metadata)
