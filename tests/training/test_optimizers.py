"""Optimizers of a recipe."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import pytest

from fer_pipeline.config.training import TrainParams
from fer_pipeline.data.table.dataset import FaceDataset
from fer_pipeline.training.learner import Learner
from fer_pipeline.training.schedules import Phase

Make = Callable[[int, int], FaceDataset]


@pytest.fixture(scope="module")
def data(make_stripes: Make) -> tuple[FaceDataset, FaceDataset]:
    return make_stripes(140, 0), make_stripes(49, 1)


def test_weight_decay_acts_on_kernels_only(data: tuple[FaceDataset, FaceDataset]) -> None:
    params = TrainParams(network="plain_cnn", epochs=1, batch_size=140, weight_decay=0.01, momentum=0.0)
    keras.utils.set_random_seed(0)
    learner = Learner(params, np.full(1, 0.1, np.float32))
    learner.enter(Phase(0, 1), 0)
    optimizer = learner._optimizer
    decayed = {
        weight.path.split("/")[-1] for weight in learner.network.trainable_variables if optimizer._use_weight_decay(weight)
    }
    assert decayed == {"kernel"}
