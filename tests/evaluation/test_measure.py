"""Measuring a model on rows."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import keras
import numpy as np

from fer_pipeline.config.params import EvaluateParams
from fer_pipeline.data.table.reader import ProcessedTable
from fer_pipeline.evaluation.measure import measure
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.metrics.intervals import share_interval
from fer_pipeline.training.artifacts import read_history, read_training


def test_recall_interval_has_width_at_0_and_1(evaluated: Path) -> None:
    """Recall has an interval with width where all or none are found."""
    always_happy = keras.Sequential([keras.Input((48, 48, 1)), keras.layers.Flatten(), keras.layers.Dense(7)])
    index = EMOTIONS.index("happy")
    always_happy.layers[-1].set_weights([np.zeros((48 * 48, 7), np.float32), 5 * np.eye(7, dtype=np.float32)[index]])
    validation, test = (ProcessedTable.open(evaluated / "processed").split(split) for split in ("validation", "test"))
    test = replace(test, labels=np.where(test.labels == EMOTIONS.index("sad"), index, test.labels))
    training, history = read_training(evaluated / "model"), read_history(evaluated / "model")
    evaluation = measure(
        partial(always_happy.predict, verbose=0), validation, test, EvaluateParams(bootstrap=100), training, history
    )
    assert evaluation.recalls["sad"] is None
    for name, share in (("happy", 1.0), ("fear", 0.0)):
        recall = evaluation.recalls[name]
        rows = int((test.labels == EMOTIONS.index(name)).sum())
        assert recall == share_interval(int(share) * rows, rows)
        assert recall.estimate == share
        assert recall.high - recall.low > 0.1
