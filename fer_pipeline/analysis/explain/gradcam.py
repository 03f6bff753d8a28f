"""Grad-CAM maps of a Keras network; needs the TensorFlow backend."""

from __future__ import annotations

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from scipy.ndimage import zoom

from fer_pipeline.errors import ModelError, ToolUnavailableError
from fer_pipeline.imaging import FACE_SIZE, UInt8Array
from fer_pipeline.labels import EMOTIONS


class GradCam:
    """Compute gradient-weighted class activation maps (Selvaraju et al. 2017).

    Maps are those of the last layer with height and width. Raises `ToolUnavailableError` on another backend than
    TensorFlow, `ModelError` where no layer has height and width.
    """

    def __init__(self, network: keras.Model) -> None:
        if keras.backend.backend() != "tensorflow":
            raise ToolUnavailableError(
                f"Grad-CAM needs the tensorflow backend of Keras, this process runs {keras.backend.backend()}: "
                "set KERAS_BACKEND=tensorflow, or use --method lime or occlusion"
            )
        layers = [layer for layer in network.layers if not isinstance(layer, keras.layers.InputLayer)]
        spatial = [layer.output for layer in layers if len(layer.output.shape) == 4]
        if not spatial:
            raise ModelError(f"network {network.name} has no layer with height and width: use --method lime or occlusion")
        # Two parts, so that the tape records the head alone: on the whole of mini_xception TensorFlow 2.21 crashed on a CPU.
        self._features = keras.Model(network.input, spatial[-1])
        self._head = keras.Model(spatial[-1], network.output)

    def maps(self, image: UInt8Array) -> npt.NDArray[np.float64]:
        """Compute maps float64 (7, 48, 48), all >= 0, of one model input.

        `image` is uint8 (48, 48, 1).
        """
        features = tf.repeat(self._features(image[np.newaxis], training=False), len(EMOTIONS), axis=0)
        with tf.GradientTape() as tape:
            tape.watch(features)
            scores = tf.linalg.trace(self._head(features, training=False))  # copy i of the features answers for class i
        weights = tf.reduce_mean(tape.gradient(scores, features), axis=(1, 2), keepdims=True)
        small = tf.nn.relu(tf.reduce_sum(weights * features, axis=-1)).numpy().astype(np.float64)
        scale = (1, FACE_SIZE / small.shape[1], FACE_SIZE / small.shape[2])
        grown: npt.NDArray[np.float64] = zoom(small, scale, order=1, mode="nearest", grid_mode=True)
        return grown
