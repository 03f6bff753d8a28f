from __future__ import annotations

import keras
import numpy as np
import pytest

from fer_pipeline.analysis.explain.gradcam import GradCam
from fer_pipeline.config.training import TrainParams
from fer_pipeline.errors import ModelError
from fer_pipeline.training.networks.zoo import build
from tests.analysis.explain.samples import noisy_faces


def small_network() -> keras.Model:
    """Class 3 sums the bright parts of the picture, class 4 the dark ones."""
    image = keras.Input((48, 48, 1), dtype="uint8", name="image")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1.0)(image)
    x = keras.layers.Conv2D(2, 1, activation="relu", name="parts")(x)
    x = keras.layers.AveragePooling2D(8)(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    network = keras.Model(image, keras.layers.Dense(7, name="logits")(x))
    network.get_layer("parts").set_weights([np.array([[[[1.0, -1.0]]]]), np.zeros(2)])
    weights = np.zeros((2, 7))
    weights[0, 3] = weights[1, 4] = 1
    network.get_layer("logits").set_weights([weights, np.zeros(7)])
    return network


def test_grad_cam_names_the_parts_that_feed_a_class() -> None:
    image = np.full((48, 48, 1), 128, np.uint8)
    image[8:16, 8:16] = 255
    image[32:40, 32:40] = 0
    maps = GradCam(small_network()).maps(image)
    assert maps.shape == (7, 48, 48)
    assert maps.min() == 0
    bright, dark = (np.unravel_index(maps[index].argmax(), (48, 48)) for index in (3, 4))
    assert all(8 <= place < 16 for place in bright)
    assert all(32 <= place < 40 for place in dark)
    assert not maps[0].any()  # a class that nothing feeds


@pytest.mark.parametrize("network", ["plain_cnn", "mini_xception", "compact"])
def test_grad_cam_knows_networks_with_and_without_global_pooling(network: str) -> None:
    maps = GradCam(build(TrainParams(network=network, epochs=1, batch_size=8))).maps(noisy_faces(1).images[0])
    assert maps.shape == (7, 48, 48)
    assert maps.max() > 0


def test_grad_cam_refuses_a_network_without_places() -> None:
    values = keras.Input((2304,))
    with pytest.raises(ModelError, match="use --method lime or occlusion"):
        GradCam(keras.Model(values, keras.layers.Dense(7)(values)))
