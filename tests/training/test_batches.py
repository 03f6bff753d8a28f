"""Batches: class weights, order, votes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import ops

from fer_pipeline.config.training import TrainParams
from fer_pipeline.data.table.dataset import FaceDataset
from fer_pipeline.training.batches import Batches, Table, class_weights, compose

Make = Callable[[int, int], FaceDataset]


def test_class_weights_have_mean_1_over_the_rows() -> None:
    labels = np.array([0] * 90 + [1] * 10)
    balanced = class_weights(labels, "balanced")
    assert balanced[labels].mean() == pytest.approx(1)
    assert balanced[1] / balanced[0] == pytest.approx(9)
    assert class_weights(labels, "sqrt")[1] / class_weights(labels, "sqrt")[0] == pytest.approx(3)
    assert class_weights(labels, "none")[labels].tolist() == [1.0] * 100


def test_batches_depend_on_the_epoch_alone(make_stripes: Make) -> None:
    """Batches of an epoch are the same each time and differ between epochs."""
    faces, params = make_stripes(50, 0), TrainParams(batch_size=16, mixup_alpha=0.3, epochs=10, mixup_off_share=0.2)
    first, same, next_one = Batches(faces, params, 3), Batches(faces, params, 3), Batches(faces, params, 4)
    assert len(first) == 3
    (images, shares), targets, _ = first[1]
    assert images.shape == (16, 48, 48, 1)
    np.testing.assert_array_equal(shares, same[1][0][1])
    np.testing.assert_allclose(targets["labels"].sum(axis=1), 1, rtol=1e-6)
    assert (shares >= 0.5).all()
    assert not np.array_equal(images, next_one[1][0][0])
    assert (Batches(faces, params, 8)[0][0][1] == 1).all()  # mixup is off in the last fifth


def test_rows_without_votes_do_not_count_for_them(make_stripes: Make) -> None:
    votes = np.zeros((14, 10), np.float32)
    votes[:, 1], votes[:, 7], votes[:, 8] = 3, 1, 6
    votes[0], votes[1] = np.nan, [0] * 8 + [5, 5]
    batches = Batches(replace(make_stripes(14, 0), votes=votes), TrainParams(batch_size=14, vote_loss_weight=1.0), 0)
    _, targets, weights = batches[0]
    order = batches.order
    assert weights["votes"][np.isin(order, (0, 1))].tolist() == [0, 0]
    assert weights["votes"].sum() == 12
    assert weights["labels"].tolist() == [1] * 14
    np.testing.assert_allclose(targets["votes"][order == 5], [[0, 0.75, 0, 0, 0, 0, 0, 0.25]])


def test_mixed_vote_shares_sum_to_1_or_do_not_count(make_stripes: Make) -> None:
    """The vote shares of a mixed picture sum to 1 or do not count."""
    votes = np.full((14, 10), np.nan, np.float32)
    votes[::2] = [5, 5, 0, 0, 0, 0, 0, 0, 0, 0]
    params = TrainParams(batch_size=14, vote_loss_weight=1.0, mixup_alpha=0.5, epochs=10)
    _, targets, weights = Batches(replace(make_stripes(14, 0), votes=votes), params, 0)[0]
    sums = targets["votes"].sum(axis=1)
    np.testing.assert_allclose(sums[weights["votes"] > 0], 1, rtol=1e-5)
    assert (sums[weights["votes"] == 0] == 0).all()


def test_a_batch_is_composed_alike_on_the_host_and_on_the_device(make_stripes: Make) -> None:
    votes = np.random.default_rng(0).multinomial(10, [0.1] * 10, 70).astype(np.float32)
    votes[:9] = np.nan
    params = TrainParams(epochs=3, batch_size=20, mixup_alpha=0.3, vote_loss_weight=0.4)
    batches = Batches(replace(make_stripes(70, 0), votes=votes), params, 0)
    assert batches.shares.min() < 0.9
    table = Table(*keras.tree.map_structure(ops.convert_to_tensor, tuple(batches.table)))
    here = compose(ops, table, ops.convert_to_tensor(batches.rows[1]), ops.convert_to_tensor(batches.shares[1]))
    keras.tree.map_structure(
        lambda a, b: np.testing.assert_allclose(ops.convert_to_numpy(a), b, rtol=1e-6, atol=1e-7), here, batches[1]
    )
