"""Architectures: shapes, dtypes, sizes, learning."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest

from fer_pipeline.config.training import NETWORKS, TrainParams
from fer_pipeline.errors import ParamsError
from fer_pipeline.training.networks.zoo import CONVOLUTIONAL, build

SIZES = {"plain_cnn": 2_345_607, "mini_xception": 58_423, "compact": 661_095, "wide": 4_656_455, "se_resnet18": 11_269_951}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_eats_bytes_and_returns_logits(name: str, tmp_path: Path) -> None:
    network = build(TrainParams(network=name))
    assert network.count_params() == SIZES[name]
    assert network.inputs[0].name == "image"
    assert (network.inputs[0].dtype, network.inputs[0].shape) == ("uint8", (None, 48, 48, 1))
    images = np.random.default_rng(0).integers(0, 256, (2, 48, 48, 1), dtype=np.uint8)
    logits = network(images, training=False)
    assert tuple(logits.shape) == (2, 7)
    assert keras.backend.standardize_dtype(logits.dtype) == "float32"
    network.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras", compile=False, safe_mode=True)
    np.testing.assert_allclose(again(images, training=False), logits, atol=1e-6)


def test_only_convolutional_networks_take_small_images() -> None:
    """A convolutional network takes small pictures and the others say so."""
    for name in CONVOLUTIONAL:
        network = build(TrainParams(network=name), any_size=True)
        assert tuple(network(np.zeros((1, 32, 32, 1), np.uint8), training=False).shape) == (1, 7)
        assert [w.shape for w in network.weights] == [w.shape for w in build(TrainParams(network=name)).weights]
    with pytest.raises(ParamsError, match="plain_cnn takes 48 px pictures only, but low_resolution_epochs is 3"):
        build(TrainParams(network="plain_cnn", epochs=5, low_resolution_epochs=3), any_size=True)


def test_mixed_precision_keeps_policy_and_logits_in_float32() -> None:
    """Mixed precision leaves the global policy and the logits in float32."""
    network = build(TrainParams(network="compact"), mixed_precision=True)
    assert keras.config.dtype_policy().name == "float32"
    assert network.layers[2].compute_dtype == "bfloat16"
    assert network.outputs[0].dtype == "float32"


def test_eight_pictures_can_be_learned_by_heart(make_stripes: Callable[[int, int], object]) -> None:
    faces = make_stripes(8, 0)
    keras.utils.set_random_seed(0)
    network = build(TrainParams(network="compact"))
    network.compile(
        keras.optimizers.Adam(0.003), keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"]
    )
    found = network.fit(faces.images, faces.labels, epochs=30, batch_size=8, verbose=0)  # type: ignore[attr-defined]
    assert found.history["accuracy"][-1] == 1.0
    assert found.history["loss"][-1] < 0.2
