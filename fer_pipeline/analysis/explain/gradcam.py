"""Grad-CAM of a Keras network. Needs the TensorFlow backend of Keras."""

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
    """Class activation maps weighted by gradients (Selvaraju et al. 2017), at the last layer that still has places.

    Raises `ToolUnavailableError` on another backend than TensorFlow, `ModelError` where no layer has height and width.
    """

    def __init__(self, network: keras.Model) -> None:
        if keras.backend.backend() != "tensorflow":
            raise ToolUnavailableError(
                f"Grad-CAM needs the tensorflow backend of Keras, this process runs {keras.backend.backend()}: "
                "set KERAS_BACKEND=tensorflow, or use --method lime or occlusion"
            )
        layers = [layer for layer in network.layers if not isinstance(layer, keras.layers.InputLayer)]
        places = [layer.output for layer in layers if len(layer.output.shape) == 4]
        if not places:
            raise ModelError(f"network {network.name} has no layer with height and width: use --method lime or occlusion")
        # Two parts, so that the tape records the head alone: on the whole of mini_xception TensorFlow 2.21 crashed on a CPU.
        self._features = keras.Model(network.input, places[-1])
        self._head = keras.Model(places[-1], network.output)

    def maps(self, image: UInt8Array) -> npt.NDArray[np.float64]:
        """float64 (7, 48, 48), never negative, of one model input uint8 (48, 48, 1)."""
        features = tf.repeat(self._features(image[np.newaxis], training=False), len(EMOTIONS), axis=0)
        with tf.GradientTape() as tape:
            tape.watch(features)
            scores = tf.linalg.trace(self._head(features, training=False))  # copy i of the features answers for class i
        weights = tf.reduce_mean(tape.gradient(scores, features), axis=(1, 2), keepdims=True)
        small = tf.nn.relu(tf.reduce_sum(weights * features, axis=-1)).numpy().astype(np.float64)
        scale = (1, FACE_SIZE / small.shape[1], FACE_SIZE / small.shape[2])
        grown: npt.NDArray[np.float64] = zoom(small, scale, order=1, mode="nearest", grid_mode=True)
        return grown
