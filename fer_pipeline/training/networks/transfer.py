"""Transfer learning: backbones of `keras.applications` on gray faces.

Resizing, three channels and the backbone's own preprocessing are part of the graph.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import Any

import keras
from keras import layers

from fer_pipeline.config.training import TRANSFER_PREFIX, TransferParams
from fer_pipeline.errors import ParamsError, ToolUnavailableError

BACKBONE = "backbone"
"""Name of the backbone inside the network."""

# Preprocessing per module of keras.applications; the channels are equal, so the BGR order of "caffe" only orders its offsets.
_SCALES: dict[str, dict[str, Any]] = {
    "tf": {"scale": 1 / 127.5, "offset": -1.0},
    "torch": {
        "scale": [1 / (255 * std) for std in (0.229, 0.224, 0.225)],
        "offset": [-mean / std for mean, std in ((0.485, 0.229), (0.456, 0.224), (0.406, 0.225))],
    },
    "caffe": {"scale": 1.0, "offset": [-103.939, -116.779, -123.68]},
}
_MODES = {
    "densenet": "torch",
    "inception_resnet_v2": "tf",
    "inception_v3": "tf",
    "mobilenet": "tf",
    "mobilenet_v2": "tf",
    "nasnet": "tf",
    "resnet": "caffe",
    "resnet_v2": "tf",
    "vgg16": "caffe",
    "vgg19": "caffe",
    "xception": "tf",
}
_SELF_SCALING = ("convnext", "efficientnet", "efficientnet_v2", "mobilenet_v3")


def transfer_features(image: Any, name: str, params: TransferParams) -> Any:
    """Build features (N, C) of `keras.applications.<name>` for uint8 (N, 48, 48, 1).

    Raises `ParamsError` for an unknown name, a missing weights file or an input size that the backbone refuses,
    `ToolUnavailableError` where the ImageNet weights cannot be downloaded.
    """
    builders = _builders()
    if name not in builders:
        close = difflib.get_close_matches(name, builders, n=1)
        hint = f", did you mean {TRANSFER_PREFIX}{close[0]}?" if close else f"; there are {', '.join(sorted(builders))}"
        raise ParamsError(f"train.network {TRANSFER_PREFIX}{name}: keras.applications has no {name}{hint}")
    x = layers.Resizing(params.input_size, params.input_size, interpolation="bilinear", name="resize")(image)
    x = layers.Concatenate(name="three_channels")([x, x, x])
    module = builders[name].__module__.rpartition(".")[2]
    if module == "efficientnet" and is_pretrained(params):
        # Keras builds another graph for these weights than for none, and its Normalization does not follow copied weights, so
        # that the network that was trained could not be stored as it was.
        raise ParamsError(
            f"train.network {TRANSFER_PREFIX}{name} cannot start from the weights {params.weights}: take EfficientNetV2B0 or "
            "another backbone, or set train.transfer.weights to none"
        )
    if module not in _SELF_SCALING:
        x = layers.Rescaling(**_SCALES[_MODES[module]], name="scale")(x)
    backbone = _backbone(builders[name], params)
    return layers.Dropout(0.3)(backbone(x))


def is_pretrained(params: TransferParams) -> bool:
    """Tell whether the backbone starts from learned weights.

    Only then the training has a frozen and a free phase.
    """
    return params.weights != "none"


def _builders() -> dict[str, Callable[..., keras.Model]]:
    found: dict[str, Callable[..., keras.Model]] = {}
    for name, value in vars(keras.applications).items():
        if inspect.isfunction(value) and value.__module__.rpartition(".")[2] in (*_MODES, *_SELF_SCALING):
            found[name] = value
    return found


def _backbone(builder: Callable[..., keras.Model], params: TransferParams) -> keras.Model:
    path = None if params.weights in ("none", "imagenet") else Path(params.weights)
    if path is not None and not (path.is_file() and path.name.endswith(".weights.h5")):
        raise ParamsError(
            f"train.transfer.weights = {params.weights!r} is neither none, nor imagenet, nor an existing .weights.h5 file"
        )
    shape = (params.input_size, params.input_size, 3)
    weights = "imagenet" if params.weights == "imagenet" else None
    try:
        built = builder(include_top=False, weights=weights, input_shape=shape, pooling="avg")
    except ValueError as error:
        raise ParamsError(f"keras.applications.{builder.__name__} with input_size {params.input_size}: {error}") from error
    except Exception as error:
        if not (weights and _is_download_fault(error)):
            raise
        raise ToolUnavailableError(
            f"ImageNet weights of {builder.__name__} could not be downloaded ({error}): "
            "connect to the network, or set train.transfer.weights to none or to a .weights.h5 file"
        ) from error
    # EfficientNetV2 and ConvNeXt look their blocks and weights up by the name they are given, so ours comes only now.
    backbone = keras.Model(built.input, built.output, name=BACKBONE)
    if path is not None:
        try:
            backbone.load_weights(path)
        except (ValueError, OSError, KeyError) as error:
            raise ParamsError(f"{path} does not hold weights of {builder.__name__} without its top: {error}") from error
    return backbone


def _is_download_fault(error: Exception) -> bool:
    # keras.utils.get_file raises a bare Exception where the server refuses or cannot be reached.
    return type(error) is Exception or isinstance(error, (OSError, HTTPException))
