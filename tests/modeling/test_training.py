from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from fer_pipeline.config.training import AugmentParams, TrainParams, TransferParams
from fer_pipeline.data.table.reader import FaceDataset
from fer_pipeline.data.table.training_images import image_hashes, read_training_images
from fer_pipeline.errors import DataQualityError, FerError, ParamsError
from fer_pipeline.training import checkpoints
from fer_pipeline.training.artifacts import TrainingResult, read_history, read_model, read_training, write_model
from fer_pipeline.training.batches import Batches, class_weights
from fer_pipeline.training.devices import hardware
from fer_pipeline.training.learner import Learner
from fer_pipeline.training.networks.batch_norm import FusedBatchNormalization, fused
from fer_pipeline.training.schedules import Phase
from fer_pipeline.training.train import recipe_key, train

Make = Callable[[int, int], FaceDataset]
FACTS = {"image_spec": {"size": 48}, "source": {"synthetic": True, "name": "stripes"}}
WHOLE = TrainParams(
    network="compact",
    epochs=4,
    batch_size=28,
    lr=0.02,
    ema_decay=0.8,
    mixup_alpha=0.2,
    low_resolution_size=32,
    low_resolution_epochs=2,
    early_stopping_patience=3,
    augment=AugmentParams(flip=False),  # a mirrored stripe has another label
)


class Killed(BaseException):
    """Stands for kill -9: nothing in the code under test may catch it."""


@pytest.fixture(scope="module")
def data(make_stripes: Make) -> tuple[FaceDataset, FaceDataset]:
    return make_stripes(140, 0), make_stripes(49, 1)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint folder that `uninterrupted` leaves."""
    return tmp_path_factory.mktemp("finished")


@pytest.fixture(scope="module")
def uninterrupted(data: tuple[FaceDataset, FaceDataset], finished: Path) -> TrainingResult:
    return train(*data, WHOLE, finished)


def test_a_killed_run_goes_on_where_it_stopped_and_ends_like_one_that_was_not(
    data: tuple[FaceDataset, FaceDataset], uninterrupted: TrainingResult, tmp_path: Path
) -> None:
    def kill_after_two(epoch: int, _: dict[str, float]) -> None:
        if epoch == 2:
            raise Killed

    with pytest.raises(Killed):
        train(*data, WHOLE, tmp_path / "checkpoints", kill_after_two)
    seen: list[int] = []
    result = train(*data, WHOLE, tmp_path / "checkpoints", lambda epoch, _: seen.append(epoch))
    assert result.resumed_after == 2
    assert seen == [1, 2, 3, 4]
    assert [entry["epoch"] for entry in result.history] == [1, 2, 3, 4]
    for name in ("loss", "val_loss", "val_accuracy", "lr"):
        np.testing.assert_allclose([e[name] for e in result.history], [e[name] for e in uninterrupted.history], rtol=1e-3)
    for a, b in zip(result.network.get_weights(), uninterrupted.network.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-3)


def test_the_history_tells_size_rate_and_figures_of_each_epoch(uninterrupted: TrainingResult) -> None:
    assert [entry["size"] for entry in uninterrupted.history] == [32, 32, 48, 48]
    assert uninterrupted.history[-1]["lr"] == pytest.approx(0, abs=1e-6)
    assert uninterrupted.best_epoch in (3, 4)  # epochs on small pictures are no candidates
    assert uninterrupted.network.inputs[0].shape == (None, 48, 48, 1)
    assert uninterrupted.backend == keras.backend.backend()


def test_a_written_model_holds_history_and_facts(
    data: tuple[FaceDataset, FaceDataset], uninterrupted: TrainingResult, tmp_path: Path
) -> None:
    write_model(tmp_path / "model", uninterrupted, WHOLE, FACTS, image_hashes(["0a" * 16]), run_id="abc")
    training = read_training(tmp_path / "model")
    assert training["run_id"] == "abc"
    learned = read_training_images(tmp_path / "model")
    assert learned is not None
    assert learned.tolist() == [int("0a" * 8, 16)]
    assert training["device"] == hardware()
    assert training["synthetic"] is True
    assert training["parameters"] == 661_095
    assert training["params"]["lr"] == 0.02
    assert read_history(tmp_path / "model") == [
        {name: pytest.approx(value) for name, value in entry.items()} for entry in uninterrupted.history
    ]
    images = data[1].images
    np.testing.assert_allclose(
        read_model(tmp_path / "model").predict(images, verbose=0), uninterrupted.network.predict(images, verbose=0), atol=1e-5
    )


def test_a_finished_run_whose_model_was_not_written_trains_nothing_again(
    data: tuple[FaceDataset, FaceDataset], uninterrupted: TrainingResult, finished: Path
) -> None:
    again = train(*data, WHOLE, finished)
    assert again.resumed_after == 4
    assert again.history == uninterrupted.history
    for a, b in zip(again.network.get_weights(), uninterrupted.network.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_checkpoint_of_another_recipe_or_other_data_is_removed_with_a_message(
    data: tuple[FaceDataset, FaceDataset], tmp_path: Path
) -> None:
    key = recipe_key(*data, WHOLE)
    assert key != recipe_key(*data, WHOLE.model_copy(update={"lr": 0.01}))
    assert key != recipe_key(*data[::-1], WHOLE)
    checkpoints.save(tmp_path / "c", checkpoints.State(key, epoch=3))
    assert checkpoints.restore(tmp_path / "c", key)[0].epoch == 3
    state, message = checkpoints.restore(tmp_path / "c", "another")
    assert (state.epoch, state.key, (tmp_path / "c").exists()) == (0, "another", False)
    assert "belongs to another recipe or other data" in message


def test_a_damaged_checkpoint_is_removed_with_a_message(tmp_path: Path) -> None:
    checkpoints.save(tmp_path / "c", checkpoints.State("key", epoch=3, variables=[np.ones(4)]))
    path = tmp_path / "c" / checkpoints.STATE_FILE
    path.write_bytes(path.read_bytes()[:100])
    state, message = checkpoints.restore(tmp_path / "c", "key")
    assert (state.epoch, path.exists()) == (0, False)
    assert "cannot be read" in message


def test_non_finite_loss_stops_training(data: tuple[FaceDataset, FaceDataset], tmp_path: Path) -> None:
    """A loss that is no number stops training and names the rate."""
    params = TrainParams(network="plain_cnn", epochs=2, batch_size=32, lr=1e12, schedule="constant", warmup_share=0.0)
    with pytest.raises(FerError, match=r"loss became .*nan.* in epoch 1 at learning rate 1e\+12: lower train.lr"):
        train(*data, params, tmp_path)


def test_a_class_missing_from_training_is_named(data: tuple[FaceDataset, FaceDataset], tmp_path: Path) -> None:
    def only(chosen: np.ndarray) -> FaceDataset:
        names = ("images", "labels", "ids", "names", "copy_rank", "in_train")
        return replace(data[0], **{name: getattr(data[0], name)[chosen] for name in names})

    with pytest.raises(DataQualityError, match="no row of disgust"):
        train(only(data[0].labels != 1), data[1], WHOLE, tmp_path)
    with pytest.raises(DataQualityError, match="training has 1 class"):
        train(only(data[0].labels == 3), data[1], WHOLE, tmp_path)


def test_small_images_need_a_network_of_any_size(data: tuple[FaceDataset, FaceDataset], tmp_path: Path) -> None:
    """Small pictures with a network of one size are refused."""
    params = TrainParams(network="plain_cnn", epochs=2, low_resolution_size=32, low_resolution_epochs=1)
    with pytest.raises(ParamsError, match="low_resolution_epochs is 1"):
        train(*data, params, tmp_path)


@pytest.mark.parametrize(
    "values",
    [
        {"optimizer": "adamw", "lr": 0.001, "schedule": "cosine", "class_weights": "balanced"},
        {"optimizer": "adam", "lr": 0.001, "weight_decay": 0.0, "schedule": "plateau", "mixed_precision": True},
    ],
)
def test_other_optimizers_and_schedules_train(
    values: dict[str, object], data: tuple[FaceDataset, FaceDataset], tmp_path: Path
) -> None:
    params = TrainParams.model_validate({"network": "plain_cnn", "epochs": 2, "batch_size": 64, **values})
    result = train(*data, params, tmp_path)
    assert len(result.history) == 2
    assert np.isfinite(result.history[-1]["loss"])
    assert result.network.layers[-1].compute_dtype == "float32"


def test_only_the_head_learns_while_the_backbone_is_frozen() -> None:
    params = TrainParams(network="transfer:MobileNetV3Small", epochs=3, transfer=TransferParams(input_size=32))
    learner = Learner(params, np.full(3, 0.1, np.float32))
    learner.enter(Phase(0, 1, frozen=True), 0)
    assert [weight.path for weight in learner.network.trainable_variables] == ["logits/kernel", "logits/bias"]
    learner.enter(Phase(1, 3), 0)
    assert len(learner.network.trainable_variables) > 50


def test_the_optimizer_goes_on_when_pictures_grow_or_the_rate_is_cut(data: tuple[FaceDataset, FaceDataset]) -> None:
    learner = Learner(WHOLE, np.full(20, 0.1, np.float32))
    state = checkpoints.State("key")
    before = checkpoints.State("key")
    learner.enter(Phase(0, 2, size=32), 0)
    learner.fit(Batches(data[0], WHOLE, 0), keras.callbacks.Callback())
    learner.store(before)
    learner.enter(Phase(2, 4), 1)
    learner.store(state)
    for a, b in zip(state.optimizer, before.optimizer, strict=True):
        np.testing.assert_array_equal(a, b)
    assert learner.rate_after(0) == pytest.approx(0.05)


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


def test_class_weights_have_mean_1_over_the_rows() -> None:
    labels = np.array([0] * 90 + [1] * 10)
    balanced = class_weights(labels, "balanced")
    assert balanced[labels].mean() == pytest.approx(1)
    assert balanced[1] / balanced[0] == pytest.approx(9)
    assert class_weights(labels, "sqrt")[1] / class_weights(labels, "sqrt")[0] == pytest.approx(3)
    assert class_weights(labels, "none")[labels].tolist() == [1.0] * 100


def test_batches_of_an_epoch_are_the_same_each_time_and_differ_between_epochs(make_stripes: Make) -> None:
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


def test_votes_are_learned_by_a_second_head_that_the_model_does_not_keep(
    data: tuple[FaceDataset, FaceDataset], tmp_path: Path
) -> None:
    votes = np.zeros((140, 10), np.float32)
    votes[np.arange(140), data[0].labels] = 8
    votes[:, 9] = 2  # "no face" is no emotion
    votes[:20] = np.nan
    faces = replace(data[0], votes=votes)
    params = TrainParams(network="compact", epochs=2, batch_size=28, ema_decay=0.5, mixup_alpha=0.2, vote_loss_weight=0.4)
    killed: list[int] = []

    def kill_after_one(epoch: int, _: dict[str, float]) -> None:
        killed.append(epoch)
        raise Killed

    with pytest.raises(Killed):
        train(faces, data[1], params, tmp_path / "c", kill_after_one)
    result = train(faces, data[1], params, tmp_path / "c")
    assert (killed, result.resumed_after) == ([1], 1)
    assert result.network.count_params() == 661_095
    assert recipe_key(faces, data[1], params) != recipe_key(replace(faces, votes=votes * 0 + 1), data[1], params)


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


def test_learning_votes_without_any_is_refused(data: tuple[FaceDataset, FaceDataset], tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match="no row has FER\\+ votes"):
        train(*data, TrainParams(network="compact", epochs=1, vote_loss_weight=0.4), tmp_path)


def test_votes_need_a_dense_head(data: tuple[FaceDataset, FaceDataset], tmp_path: Path) -> None:
    """Learning votes with a network without a dense head is refused."""
    faces = replace(data[0], votes=np.ones((140, 10), np.float32))
    with pytest.raises(ParamsError, match="mini_xception has none"):
        train(faces, data[1], TrainParams(network="mini_xception", epochs=1, vote_loss_weight=0.4), tmp_path)


def test_the_fused_batch_norm_computes_and_follows_statistics_like_the_plain_one() -> None:
    if keras.backend.backend() != "tensorflow":
        pytest.skip("only TensorFlow has the fused kernel")
    plain = keras.Sequential([keras.Input((6, 6, 3)), keras.layers.BatchNormalization(momentum=0.9)])
    quick = fused(plain)
    assert type(quick.layers[-1]) is FusedBatchNormalization
    pictures = np.random.default_rng(0).normal(3, 2, (50, 6, 6, 3)).astype(np.float32)
    for training in (True, False):
        np.testing.assert_allclose(quick(pictures, training=training), plain(pictures, training=training), atol=1e-4)
    for a, b in zip(quick.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3)


def test_the_vote_shares_of_a_mixed_picture_sum_to_1_or_do_not_count(make_stripes: Make) -> None:
    votes = np.full((14, 10), np.nan, np.float32)
    votes[::2] = [5, 5, 0, 0, 0, 0, 0, 0, 0, 0]
    params = TrainParams(batch_size=14, vote_loss_weight=1.0, mixup_alpha=0.5, epochs=10)
    _, targets, weights = Batches(replace(make_stripes(14, 0), votes=votes), params, 0)[0]
    sums = targets["votes"].sum(axis=1)
    np.testing.assert_allclose(sums[weights["votes"] > 0], 1, rtol=1e-5)
    assert (sums[weights["votes"] == 0] == 0).all()


def test_a_batch_norm_without_scale_or_offset_stays_as_it_is() -> None:
    network = keras.Sequential([keras.Input((4, 4, 3)), keras.layers.BatchNormalization(scale=False)])
    assert type(fused(network).layers[-1]) is keras.layers.BatchNormalization
