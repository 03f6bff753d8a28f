"""Network architectures: uint8 "image" (N, 48, 48, 1) to float32 logits (N, 7).

Scaling to floats is part of the graph.

Only layers that ship with Keras are used, so that a saved network loads in safe mode anywhere.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from fer_pipeline.config.training import TRANSFER_PREFIX, TrainParams
from fer_pipeline.errors import ParamsError
from fer_pipeline.imaging import FACE_SIZE
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.training.networks.transfer import transfer_features

CONVOLUTIONAL = ("mini_xception", "compact", "wide", "se_resnet18")
"""Networks that take images of any size: convolutional up to global pooling."""


def build(params: TrainParams, *, any_size: bool = False, mixed_precision: bool = False) -> keras.Model:
    """Build the network `params.network` with fresh weights.

    With `any_size` the input is (N, None, None, 1); with `mixed_precision` the layers compute in bfloat16 on float32 weights.
    Raises `ParamsError` where the network is unknown or, with `any_size`, made for one size only.
    """
    if any_size and params.network not in CONVOLUTIONAL:
        raise ParamsError(
            f"train.network {params.network} takes {FACE_SIZE} px pictures only, but low_resolution_epochs is "
            f"{params.low_resolution_epochs}: set it to 0, or use {', '.join(CONVOLUTIONAL)}"
        )
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16" if mixed_precision else "float32")
    try:
        side = None if any_size else FACE_SIZE
        image = keras.Input((side, side, 1), dtype="uint8", name="image")
        logits = _logits(image, params)
        return keras.Model(image, logits, name=params.network.replace(":", "_"))
    finally:
        keras.config.set_dtype_policy(before)


def _logits(image: Any, params: TrainParams) -> Any:
    if params.network.startswith(TRANSFER_PREFIX):
        return _dense(transfer_features(image, params.network.removeprefix(TRANSFER_PREFIX), params.transfer))
    x = layers.Rescaling(1 / 127.5, offset=-1.0, name="scale")(image)
    if params.network == "plain_cnn":
        return _dense(_plain_cnn(x))
    if params.network == "mini_xception":
        return _mini_xception(x)
    if params.network == "compact":
        return _dense(_compact(x, (32, 48, 96, 192)))
    if params.network == "wide":
        return _dense(_compact(x, (64, 128, 256, 512)))
    if params.network == "se_resnet18":
        return _dense(_se_resnet18(x))
    raise ParamsError(f"train.network = {params.network!r} is none of the known networks")


def _dense(features: Any) -> Any:
    return layers.Dense(len(EMOTIONS), dtype="float32", name="logits")(features)


def _plain_cnn(x: Any) -> Any:
    """Network of many FER-2013 reports, 2.35 M weights.

    conv 32-64, pool, 128, pool, 128, pool, dense 1024.
    """
    x = layers.Conv2D(32, 3, activation="relu")(x)
    x = layers.Conv2D(64, 3, activation="relu")(x)
    x = layers.MaxPooling2D()(x)
    x = layers.Dropout(0.25)(x)
    x = layers.Conv2D(128, 3, activation="relu")(x)
    x = layers.MaxPooling2D()(x)
    x = layers.Conv2D(128, 3, activation="relu")(x)
    x = layers.MaxPooling2D()(x)
    x = layers.Dropout(0.25)(x)
    x = layers.Flatten()(x)
    x = layers.Dense(1024, activation="relu")(x)
    return layers.Dropout(0.5)(x)


def _mini_xception(x: Any) -> Any:
    """Mini-Xception, 0.06 M weights: Arriaga et al. 2017, arXiv 1710.07557.

    As in oarriaga/face_classification. Returns logits.
    """
    x = _conv(x, 8)
    x = _conv(x, 8)
    for width in (16, 32, 64, 128):
        shortcut = _conv(x, width, size=1, strides=2, relu=False)
        for last in (False, True):
            x = layers.SeparableConv2D(width, 3, padding="same", use_bias=False)(x)
            x = layers.BatchNormalization()(x)
            x = x if last else layers.ReLU()(x)
        x = layers.MaxPooling2D(3, strides=2, padding="same")(x)
        x = layers.Add()([x, shortcut])
    x = layers.Conv2D(len(EMOTIONS), 3, padding="same")(x)
    return layers.GlobalAveragePooling2D(dtype="float32", name="logits")(x)


def _compact(x: Any, widths: tuple[int, int, int, int]) -> Any:
    """Few layers of dense 3x3 convolutions: 0.66 M weights as compact, 4.7 M as wide.

    CPUs and GPUs compute such convolutions fastest.
    """
    x = layers.MaxPooling2D()(_conv(x, widths[0]))
    for width, pool in zip(widths[1:], (True, True, False), strict=True):
        x = _conv(x, width)
        x = layers.Add()([x, _conv(x, width)])
        x = layers.MaxPooling2D()(x) if pool else x
    x = layers.GlobalAveragePooling2D()(x)
    return layers.Dropout(0.3)(x)


def _se_resnet18(x: Any) -> Any:
    """ResNet-18 with squeeze-and-excitation (16), 11.3 M weights.

    The stem is 3x3 with stride 1; stochastic depth goes up to 0.1.
    """
    x = _conv(x, 64)
    widths = (64, 64, 128, 128, 256, 256, 512, 512)
    for block, width in enumerate(widths):
        strides = 2 if block in (2, 4, 6) else 1
        shortcut = x if x.shape[-1] == width else _conv(x, width, size=1, strides=strides, relu=False)
        y = _conv(x, width, strides=strides)
        y = _conv(y, width, relu=False)
        y = _squeeze_excite(y, width)
        if block:
            y = layers.Dropout(0.1 * block / (len(widths) - 1), noise_shape=(None, 1, 1, 1))(y)  # drops whole branches
        x = layers.ReLU()(layers.Add()([y, shortcut]))
    x = layers.GlobalAveragePooling2D()(x)
    return layers.Dropout(0.3)(x)


def _conv(x: Any, width: int, *, size: int = 3, strides: int = 1, relu: bool = True) -> Any:
    x = layers.Conv2D(width, size, strides=strides, padding="same", use_bias=False, kernel_initializer="he_normal")(x)
    x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(x)
    return layers.ReLU()(x) if relu else x


def _squeeze_excite(x: Any, width: int) -> Any:
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = layers.Dense(width // 16, activation="relu")(gate)
    gate = layers.Dense(width, activation="sigmoid")(gate)
    return layers.Multiply()([x, gate])
