"""Training that begins with the weights of a pretrained model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fer_pipeline.config.training import TrainParams
from fer_pipeline.data.table.reader import ProcessedTable
from fer_pipeline.data.table.training_images import image_hashes, read_training_images, training_image_hashes
from fer_pipeline.errors import ModelError, ParamsError
from fer_pipeline.inference import pretrained
from fer_pipeline.training import initial
from fer_pipeline.training.artifacts import read_model
from fer_pipeline.training.initial import initial_folder, learned_images, set_initial_weights
from fer_pipeline.training.networks.zoo import build

FAST = TrainParams(initial_model="fast")


@pytest.fixture
def table(make_processed: Callable[..., Path], tmp_path: Path) -> ProcessedTable:
    return ProcessedTable.open(make_processed(tmp_path / "processed", {"train": 14, "validation": 14, "test": 14}))


def test_network_starts_with_the_weights_of_the_model() -> None:
    network = build(FAST)
    set_initial_weights(network, FAST)
    for found, expected in zip(
        network.get_weights(), read_model(pretrained.pretrained_folder("fast")).get_weights(), strict=True
    ):
        np.testing.assert_array_equal(found, expected)


def test_without_initial_model_the_network_stays_as_it_is() -> None:
    network = build(TrainParams(network="plain_cnn"))
    before = network.get_weights()
    set_initial_weights(network, TrainParams(network="plain_cnn"))
    for found, expected in zip(network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_another_network_is_refused() -> None:
    params = TrainParams(initial_model="fast", network="mini_xception")
    with pytest.raises(ParamsError, match=r"initial_model fast is a network compact, train\.network is mini_xception"):
        set_initial_weights(build(params), params)


def test_unknown_model_is_refused_with_the_usable_ones() -> None:
    with pytest.raises(ParamsError, match="initial_model is 'fats', expected none or fast"):
        initial_folder(TrainParams(initial_model="fats"))


def test_images_of_the_initial_model_were_learned_too(table: ProcessedTable) -> None:
    own = training_image_hashes(table)
    assert learned_images(table, TrainParams()).tolist() == own.tolist()
    known = read_training_images(pretrained.pretrained_folder("fast"))
    assert known is not None
    assert learned_images(table, FAST).tolist() == np.union1d(own, known).tolist()


def test_a_model_that_knows_validation_rows_is_refused(
    table: ProcessedTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was learned before would be measured as if it were new."""
    np.save(tmp_path / "training_pictures.npy", image_hashes(table.hashes("validation").values()))
    monkeypatch.setattr(initial, "initial_folder", lambda params: tmp_path)
    with pytest.raises(ModelError, match="initial model fast learned from 14 of the 14 validation rows"):
        learned_images(table, FAST)


def test_a_model_without_its_keras_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wheel leaves it out."""
    monkeypatch.setattr(initial, "pretrained_folder", lambda name: tmp_path)
    with pytest.raises(ParamsError, match=r"initial_model is fast, whose model\.keras is not installed: train in a clone"):
        initial_folder(FAST)
