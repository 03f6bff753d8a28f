"""The training loop: resuming, history, stored model, refusals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from fer_pipeline.config.training import TrainParams
from fer_pipeline.data.table.dataset import FaceDataset
from fer_pipeline.data.table.training_images import image_hashes, read_training_images
from fer_pipeline.errors import DataQualityError, FerError, ParamsError
from fer_pipeline.training import checkpoints
from fer_pipeline.training.artifacts import TrainingResult, read_history, read_model, read_training, write_model
from fer_pipeline.training.devices import hardware
from fer_pipeline.training.train import recipe_key, train
from tests.training.recipe import WHOLE, Killed

FACTS = {"image_spec": {"size": 48}, "source": {"synthetic": True, "name": "stripes"}}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint folder that `uninterrupted` leaves."""
    return tmp_path_factory.mktemp("finished")


@pytest.fixture(scope="module")
def uninterrupted(data: tuple[FaceDataset, FaceDataset], finished: Path) -> TrainingResult:
    return train(*data, WHOLE, finished)


def test_killed_run_resumes_and_equals_uninterrupted_run(
    data: tuple[FaceDataset, FaceDataset], uninterrupted: TrainingResult, tmp_path: Path
) -> None:
    """A killed run goes on where it stopped and ends like one that was not."""

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


def test_finished_run_without_model_trains_nothing_again(
    data: tuple[FaceDataset, FaceDataset], uninterrupted: TrainingResult, finished: Path
) -> None:
    """A finished run whose model was not written trains nothing again."""
    again = train(*data, WHOLE, finished)
    assert again.resumed_after == 4
    assert again.history == uninterrupted.history
    for a, b in zip(again.network.get_weights(), uninterrupted.network.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_checkpoint_of_another_recipe_is_removed(data: tuple[FaceDataset, FaceDataset], tmp_path: Path) -> None:
    """A checkpoint of another recipe or other data is removed with a message."""
    key = recipe_key(*data, WHOLE)
    assert key != recipe_key(*data, WHOLE.model_copy(update={"lr": 0.01}))
    assert key != recipe_key(*data[::-1], WHOLE)
    checkpoints.save(tmp_path / "c", checkpoints.State(key, epoch=3))
    assert checkpoints.restore(tmp_path / "c", key)[0].epoch == 3
    state, message = checkpoints.restore(tmp_path / "c", "another")
    assert (state.epoch, state.key, (tmp_path / "c").exists()) == (0, "another", False)
    assert "belongs to another recipe or other data" in message


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


def test_learning_votes_without_any_is_refused(data: tuple[FaceDataset, FaceDataset], tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match="no row has FER\\+ votes"):
        train(*data, TrainParams(network="compact", epochs=1, vote_loss_weight=0.4), tmp_path)


def test_a_recipe_of_votes_says_which_value_needs_them(data: tuple[FaceDataset, FaceDataset]) -> None:
    with pytest.raises(ParamsError, match=r"train\.vote_share is 0\.5, but no row has FER\+ votes"):
        recipe_key(*data, WHOLE.with_values({"vote_share": 0.5}))
