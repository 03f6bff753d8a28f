"""Batch normalisation: fused kernel of TensorFlow, statistics of averaged weights.

Keras writes it as separate elementwise operations, which take longer on a CPU than the convolutions between them: with bfloat16
on a CPU that has AMX the compact network trains three times as fast with the fused kernel, in float32 1.2 times.
"""

from __future__ import annotations

import importlib
from typing import Any

import keras


class FusedBatchNormalization(keras.layers.BatchNormalization):
    """Batch normalisation by TensorFlow's fused kernel, with its parent's weights.

    Results equal its parent's but for rounding; only for the TensorFlow backend.

    A network is trained with it and saved with its parent: the weights are those of the parent, in the same order.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalise `inputs` (N, H, W, C), keeping their dtype.

        In training the moving statistics follow those of the batch.
        """
        if not (training and self.trainable):
            return super().call(inputs, training=training, mask=mask)
        tensorflow = importlib.import_module("tensorflow")
        outputs, mean, variance, *_ = tensorflow.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=tensorflow.cast(self.gamma, "float32"),
            offset=tensorflow.cast(self.beta, "float32"),
            mean=[],
            variance=[],
            epsilon=self.epsilon,
            is_training=True,
        )
        self.moving_mean.assign(self.moving_mean * self.momentum + mean * (1.0 - self.momentum))
        count = tensorflow.cast(tensorflow.reduce_prod(tensorflow.shape(inputs)[:-1]), "float32")
        variance = variance * (count - 1.0) / count  # the kernel gives the unbiased one, its parent the plain one
        self.moving_variance.assign(self.moving_variance * self.momentum + variance * (1.0 - self.momentum))
        return outputs


def fused(network: keras.Model) -> keras.Model:
    """Copy the network so that it trains by the fused kernel, with the same weights.

    On other backends it is the network itself.
    """
    if keras.backend.backend() != "tensorflow":
        return network
    copy = keras.models.clone_model(network, clone_function=_clone, recursive=True)
    copy.set_weights(network.get_weights())
    return copy


def follow_mean(network: keras.Model, images: Any, seen: Any) -> None:
    """Update moving statistics by the batch `images`, after `seen` batches.

    `images` are what the network takes, `seen` is a number or a float32 scalar tensor.
    """
    layers = _batch_norms(network)
    momenta = [layer.momentum for layer in layers]
    try:
        for layer in layers:
            layer.momentum = seen / (seen + 1)
        network(images, training=True)
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum


def _batch_norms(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    found = []
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            found.append(layer)
        elif isinstance(layer, keras.Model):
            found += _batch_norms(layer)
    return found


def _clone(layer: keras.layers.Layer) -> keras.layers.Layer:
    plain = type(layer) is keras.layers.BatchNormalization and layer.scale and layer.center  # the kernel needs both
    kind = FusedBatchNormalization if plain else type(layer)
    clone: keras.layers.Layer = kind.from_config(layer.get_config())
    return clone
