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
from fer_pipeline.errors import ParamsError
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.training.batches import Batches, Table, class_weights, compose, label_targets, steps_per_epoch, vote_shares

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


def test_a_row_is_mixed_with_the_one_before_it() -> None:
    """The first row of a batch is mixed with the last; images stay unmixed."""
    table = Table(np.arange(3)[:, None], {"labels": np.eye(3, dtype=np.float32)}, {"labels": np.array([1, 2, 4], np.float32)})
    shares = np.array([[0.75], [1], [0.5]], np.float32)
    (images, kept), targets, weights = compose(np, table, np.array([2, 0, 1]), shares)
    assert images[:, 0].tolist() == [2, 0, 1]
    assert kept is shares
    assert targets["labels"].tolist() == [[0, 0.25, 0.75], [1, 0, 0], [0.5, 0.5, 0]]
    assert weights["labels"].tolist() == [0.75 * 4 + 0.25 * 2, 1, 0.5 * 2 + 0.5 * 1]


@pytest.mark.parametrize(("rows", "batch_size", "steps"), [(7, 3, 2), (6, 3, 2), (3, 3, 1), (2, 3, 1)])
def test_an_epoch_has_full_batches_and_at_least_one(rows: int, batch_size: int, steps: int, make_stripes: Make) -> None:
    assert steps_per_epoch(rows, batch_size) == steps
    batches = Batches(make_stripes(rows, 0), TrainParams(batch_size=batch_size), 0)
    assert batches.rows.shape == (steps, min(rows, batch_size))
    assert len(set(batches.rows.ravel().tolist())) == batches.rows.size


def test_label_targets_mix_given_and_soft_labels(make_stripes: Make) -> None:
    faces = make_stripes(7, 0)
    given, soft = np.eye(7, dtype=np.float32)[faces.labels], np.full((7, 7), 1 / 7, np.float32)
    np.testing.assert_array_equal(label_targets(faces, TrainParams()), given)
    mixed = label_targets(replace(faces, soft_labels=soft), TrainParams(soft_label_weight=0.25))
    np.testing.assert_allclose(mixed, 0.75 * given + 0.25 / 7, rtol=1e-6)
    with pytest.raises(ParamsError, match=r"train.soft_label_weight is 0.25, but the rows came without soft labels"):
        label_targets(faces, TrainParams(soft_label_weight=0.25))


def test_votes_for_unknown_and_no_face_do_not_count(make_stripes: Make) -> None:
    votes = np.array([[1, 3, 0, 0, 0, 0, 0, 0, 4, 2], [0, 0, 0, 0, 0, 0, 0, 0, 5, 5]], np.float32)
    shares = vote_shares(replace(make_stripes(2, 0), votes=votes))
    assert shares.tolist() == [[0.25, 0.75, 0, 0, 0, 0, 0, 0], [0] * 8]


def test_a_class_without_rows_gets_a_finite_weight() -> None:
    weights = class_weights(np.array([0, 0, 0, 1]), "balanced")
    np.testing.assert_allclose(weights[:3], [2 / 3, 2, 2], rtol=1e-6)


@pytest.mark.parametrize(("share", "expected"), [(0.0, [1, 0]), (1.0, [0.25, 0.75]), (0.5, [0.625, 0.375])])
def test_target_is_label_votes_or_a_mixture(make_stripes: Make, share: float, expected: list[float]) -> None:
    faces = make_stripes(7, 0)
    happy, sad = EMOTIONS.index("happy"), EMOTIONS.index("sad")
    faces = replace(faces, labels=np.full(7, happy), votes=np.tile(np.float32([0, 2, 0, 6, 0, 0, 0, 1, 1, 0]), (7, 1)))
    found = label_targets(faces, TrainParams(vote_share=share))
    np.testing.assert_allclose(found[:, [happy, sad]], [expected] * 7)


def test_target_of_votes_needs_votes(make_stripes: Make) -> None:
    with pytest.raises(ParamsError, match=r"train\.vote_share is 1, but no row has FER\+ votes.*train\.vote_share to 0"):
        label_targets(make_stripes(7, 0), TrainParams(vote_share=1.0))
