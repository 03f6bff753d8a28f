"""Transfer learning: backbones, preprocessing, weights, errors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest

from fer_pipeline.config.training import TrainParams, TransferParams
from fer_pipeline.errors import ParamsError, ToolUnavailableError
from fer_pipeline.training.networks import transfer
from fer_pipeline.training.networks.zoo import build
from fer_pipeline.training.schedules import learning_rates


@pytest.mark.parametrize("name", ["MobileNetV3Small", "MobileNetV2", "DenseNet121", "EfficientNetV2B0", "ConvNeXtTiny"])
def test_a_backbone_of_keras_applications_takes_gray_faces(name: str, tmp_path: Path) -> None:
    params = TrainParams(network=f"transfer:{name}", transfer=TransferParams(input_size=32))
    network = build(params)
    faces = np.random.default_rng(0).integers(0, 256, (2, 48, 48, 1), np.uint8)
    logits = np.asarray(network(faces, training=False))
    assert logits.shape == (2, 7)
    if name in ("MobileNetV3Small", "EfficientNetV2B0"):
        network.save(tmp_path / "model.keras")
        stored = keras.models.load_model(tmp_path / "model.keras", compile=False, safe_mode=True)
        np.testing.assert_array_equal(np.asarray(stored(faces, training=False)), logits)


def test_backbones_get_the_preprocessing_they_were_trained_with() -> None:
    black_and_white = np.stack([np.zeros((48, 48, 1)), np.full((48, 48, 1), 255)]).astype(np.uint8)
    for name in ("MobileNetV2", "DenseNet121", "VGG16"):
        network = build(TrainParams(network=f"transfer:{name}", transfer=TransferParams(input_size=32)))
        scaled = keras.Model(network.input, network.get_layer("scale").output)(black_and_white)
        module = {"MobileNetV2": "mobilenet_v2", "DenseNet121": "densenet", "VGG16": "vgg16"}[name]
        colour = np.broadcast_to(black_and_white.astype(np.float32), (2, 48, 48, 3)).copy()
        expected = getattr(keras.applications, module).preprocess_input(colour)
        np.testing.assert_allclose(np.asarray(scaled)[:, 0, 0], expected[:, 0, 0], atol=1e-4)


def test_weights_of_a_file_reach_the_backbone(tmp_path: Path) -> None:
    first = keras.applications.MobileNetV3Small(include_top=False, weights=None, input_shape=(32, 32, 3), pooling="avg")
    path = tmp_path / "backbone.weights.h5"
    first.save_weights(path)
    params = TrainParams(network="transfer:MobileNetV3Small", transfer=TransferParams(input_size=32, weights=str(path)))
    second = build(params)
    for a, b in zip(first.get_weights(), second.get_layer(transfer.BACKBONE).get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert len(learning_rates(params, 1)) == params.epochs


@pytest.mark.parametrize(
    ("network", "weights", "message"),
    [
        ("transfer:MobileNetV3Smal", "none", "did you mean transfer:MobileNetV3Small"),
        ("transfer:nothing-like-it", "none", "keras.applications has no nothing-like-it"),
        ("transfer:MobileNetV2", "missing.weights.h5", "neither none, nor imagenet"),
        ("transfer:InceptionV3", "none", "input_size 64"),
    ],
)
def test_a_backbone_that_cannot_be_had_is_explained(network: str, weights: str, message: str) -> None:
    with pytest.raises(ParamsError, match=message):
        build(TrainParams(network=network, transfer=TransferParams(input_size=64, weights=weights)))


@pytest.mark.parametrize("name", ["MobileNetV3Small", "EfficientNetV2B0"])
@pytest.mark.parametrize("fault", [Exception("URL fetch failure on https://example.org: None -- [Errno -3]"), TimeoutError()])
def test_missing_network_for_imagenet_weights_is_explained(name: str, fault: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """Imagenet weights without a network are an environment fault."""
    monkeypatch.setattr("keras.src.utils.file_utils.get_file", _raiser(fault))
    params = TrainParams(network=f"transfer:{name}", transfer=TransferParams(input_size=32, weights="imagenet"))
    with pytest.raises(ToolUnavailableError, match=r"set train\.transfer\.weights to none"):
        build(params)


@pytest.mark.parametrize(("weights", "fault"), [("imagenet", KeyError("backbone")), ("none", TypeError()), ("none", OSError())])
def test_builder_fault_is_not_a_failed_download(weights: str, fault: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault inside a builder is not taken for a failed download."""
    builder = _raiser(fault)
    builder.__module__ = "keras.src.applications.mobilenet_v2"
    monkeypatch.setattr(keras.applications, "MobileNetV2", builder)
    with pytest.raises(type(fault)):
        build(TrainParams(network="transfer:MobileNetV2", transfer=TransferParams(input_size=32, weights=weights)))


def _raiser(fault: Exception) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise fault

    return fail


def test_backbone_with_unstorable_pretrained_graph_is_refused() -> None:
    """A backbone whose pretrained graph cannot be stored is refused."""
    params = TrainParams(network="transfer:EfficientNetB0", transfer=TransferParams(weights="imagenet"))
    with pytest.raises(ParamsError, match="take EfficientNetV2B0"):
        build(params)
