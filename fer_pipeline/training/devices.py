"""Devices of the Keras backend: their names, and data-parallel training on all."""

from __future__ import annotations

import importlib
import os
from collections import Counter
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import keras
from keras import ops

from fer_pipeline.errors import ParamsError


def data_parallel(batch_size: int) -> AbstractContextManager[None]:
    """Return the context that splits batches over all devices that JAX sees.

    Networks must be built and trained within it.

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
    """Count the devices over which the current context splits batches."""
    distribution = keras.distribution.distribution()
    return distribution.device_mesh.devices.size if distribution else 1


def hardware() -> str:
    """Name the hardware of this process, such as "4 x NVIDIA H200" or "cpu, 2 cores"."""
    namers = {"jax": _jax_accelerators, "tensorflow": _tensorflow_accelerators, "torch": _torch_accelerators}
    backend = keras.backend.backend()
    if found := Counter(namers[backend]() if backend in namers else []):
        return ", ".join(name if count == 1 else f"{count} x {name}" for name, count in found.items())
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"cpu, {cores} core{'' if cores == 1 else 's'}"


def _jax_accelerators() -> list[str]:
    devices = importlib.import_module("jax").devices()
    return [device.device_kind for device in devices if device.platform != "cpu"]


def _tensorflow_accelerators() -> list[str]:
    config = importlib.import_module("tensorflow").config
    used = config.get_visible_devices("GPU")[:1]  # without a distribution it computes on the first alone
    return [config.experimental.get_device_details(device).get("device_name", "GPU") for device in used]


def _torch_accelerators() -> list[str]:
    device = ops.zeros(1).device  # Keras chooses it, also by KERAS_TORCH_DEVICE
    if device.type == "cuda":
        return [importlib.import_module("torch").cuda.get_device_name(device)]
    return [] if device.type == "cpu" else [device.type]


def copied(array: Any) -> Any:
    """Copy the array to each device of the current context, as a tensor."""
    distribution = keras.distribution.distribution()
    if distribution is None:
        return ops.convert_to_tensor(array)
    everywhere = keras.distribution.TensorLayout([None] * array.ndim, distribution.device_mesh)
    return keras.distribution.distribute_tensor(array, everywhere)


def split(tensor: Any) -> Any:
    """Split the rows of a batch over the devices, within a compiled step."""
    distribution = keras.distribution.distribution()
    if distribution is None:
        return tensor
    return keras.distribution.distribute_tensor(tensor, distribution.get_data_layout(tensor.shape))
