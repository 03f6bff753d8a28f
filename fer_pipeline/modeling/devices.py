"""Data parallel training: the same weights on all devices of the backend, each batch split over them."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import keras
from keras import ops

from fer_pipeline.errors import ParamsError


def data_parallel(batch_size: int) -> AbstractContextManager[None]:
    """The context in which networks are made and trained so that batches are split over all devices that JAX sees.

    With a single device, or another backend, it changes nothing. Raises `ParamsError` where the batch cannot be split evenly.
    """
    if keras.backend.backend() != "jax":  # keras.distribution trains on no other backend
        return nullcontext()
    devices = keras.distribution.list_devices()
    if len(devices) == 1:
        return nullcontext()
    if batch_size % len(devices):
        raise ParamsError(
            f"batches of {batch_size} pictures cannot be split evenly over {len(devices)} devices: make train.batch_size a "
            f"multiple of {len(devices)} that is at most the number of training rows, or let CUDA_VISIBLE_DEVICES name fewer"
        )
    scope: AbstractContextManager[None] = keras.distribution.DataParallel(devices=devices).scope()
    return scope


def device_count() -> int:
    """Number of devices over which the current context splits batches."""
    distribution = keras.distribution.distribution()
    return distribution.device_mesh.devices.size if distribution else 1


def copied(array: Any) -> Any:
    """The array as a tensor, whole on each device of the current context."""
    distribution = keras.distribution.distribution()
    if distribution is None:
        return ops.convert_to_tensor(array)
    everywhere = keras.distribution.TensorLayout([None] * array.ndim, distribution.device_mesh)
    return keras.distribution.distribute_tensor(array, everywhere)


def split(tensor: Any) -> Any:
    """The tensor of a batch, its rows split over the devices of the current context; for use in a compiled step."""
    distribution = keras.distribution.distribution()
    if distribution is None:
        return tensor
    return keras.distribution.distribute_tensor(tensor, distribution.get_data_layout(tensor.shape))
