"""Train epochs on the device: rows stay there, and one call runs many steps."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from fer_pipeline.data.table.dataset import FaceDataset
from fer_pipeline.training.batches import Batches, compose
from fer_pipeline.training.devices import copied, split
from fer_pipeline.training.networks.batch_norm import follow_mean

RESIDENT_BYTES = 2**30
"""Bytes of training images above which batches are sent one by one."""

CALL_SECONDS = 0.5
"""Calls get longer until one takes this long, in seconds.

The progress bar advances after each.
"""

COMPILING_BACKENDS = ("jax", "tensorflow")
"""Backends for which `compiled_loop` is written."""

Step = Callable[[Any, Any], None]
"""Called with an index and the data; it works by assigning to variables."""

Loop = Callable[[int, int, Any], None]
"""Called with the first index, the last one (excluded) and the data."""


def can_stay(faces: FaceDataset) -> bool:
    """Tell whether the images fit on the device and loops are fast there.

    JAX on a CPU does not: XLA computes a convolution inside a loop without its fast kernels, ten times slower.
    """
    if faces.images.nbytes > RESIDENT_BYTES or keras.backend.backend() not in COMPILING_BACKENDS:
        return False
    return keras.backend.backend() != "jax" or not keras.distribution.list_devices()[0].startswith("cpu")


class Resident:
    """Training rows on the device, with compiled loops of a trainer over them.

    `trainer` is the compiled training graph around `network`; `shrunk` turns uint8 images (B, 48, 48, 1) into those that the
    network takes without augmentation.
    """

    def __init__(self, batches: Batches, trainer: keras.Model, network: keras.Model, shrunk: Callable[[Any], Any]) -> None:
        self._table = tree.map_structure(copied, batches.table)
        self._trainer = trainer
        self._steps_per_call = 1
        _build_metrics(trainer, batches)

        def learn(index: Any, data: Any) -> None:
            table, rows, shares = data
            train_step(trainer, tree.map_structure(split, compose(ops, table, rows[index], shares[index])))

        def estimate(index: Any, data: Any) -> None:
            images, rows = data
            follow_mean(network, shrunk(split(ops.take(images, rows[index], axis=0))), ops.cast(index, "float32"))

        self._learn = compiled_loop(learn, [*trainer.variables, *trainer.optimizer.variables, *trainer.metrics_variables])
        self._estimate = compiled_loop(estimate, network.variables)

    def fit(self, batches: Batches, progress: keras.callbacks.Callback) -> dict[str, float]:
        """Train on the batches, as `keras.Model.fit` does; return the metrics by name."""
        self._trainer.reset_metrics()
        data = (self._table, copied(batches.rows.astype(np.int32)), copied(batches.shares))
        first = 0
        while first < len(batches):
            last = min(first + self._steps_per_call, len(batches))
            begun = time.monotonic()
            self._learn(first, last, data)
            if time.monotonic() - begun < CALL_SECONDS:
                self._steps_per_call *= 2
            for step in range(first, last):
                progress.on_train_batch_end(step)
            first = last
        return {name: float(value) for name, value in self._trainer.get_metrics_result().items()}

    def estimate_batch_norm(self, batches: Batches, count: int) -> None:
        """Set the batch-norm statistics to the mean over the first `count` batches.

        The images are not augmented.
        """
        self._estimate(0, count, (self._table.images, copied(batches.rows[:count].astype(np.int32))))


def compiled_loop(step: Step, variables: list[keras.Variable]) -> Loop:
    """Compile a loop of step(index, data) from the first index to the last (excluded).

    `step` is traced once for the shapes of `data` (nested dicts and tuples of tensors), gets a scalar tensor as index and works
    by assigning to `variables`; it must assign to no others. Which first and last are given costs no new compilation.
    """
    return _jax_loop(step, variables) if keras.backend.backend() == "jax" else _tensorflow_loop(step)


def train_step(trainer: keras.Model, batch: Any) -> None:
    """Run one training step of a compiled model on a batch, within a `Step`.

    The batch is (inputs, targets, weights).
    """
    if keras.backend.backend() != "jax":
        trainer.train_step(batch)
        return
    groups = (
        trainer.trainable_variables,
        trainer.non_trainable_variables,
        trainer.optimizer.variables,
        trainer.metrics_variables,
    )
    _, state = trainer.train_step(tuple([variable.value for variable in group] for group in groups), batch)
    for group, values in zip(groups, state, strict=True):
        for variable, value in zip(group, values, strict=True):
            variable.assign(value)


def _build_metrics(trainer: keras.Model, batches: Batches) -> None:
    """Build the variables of loss and metrics, which Keras otherwise builds in `fit`."""
    inputs, targets, weights = compose(np, batches.table, batches.rows[0][:1], batches.shares[0][:1])
    outputs = {name: ops.zeros(target.shape) for name, target in targets.items()}
    trainer.compute_loss(inputs, targets, outputs, weights)
    trainer.compute_metrics(inputs, targets, outputs, weights)


def _jax_loop(step: Step, variables: list[keras.Variable]) -> Loop:
    jax = importlib.import_module("jax")

    def loop(values: list[Any], first: int, last: int, data: Any) -> Any:
        def body(index: Any, values: list[Any]) -> list[Any]:
            with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))) as scope:
                step(index, data)
            return [scope.get_current_value(variable) for variable in variables]

        return jax.lax.fori_loop(first, last, body, values)

    compiled = jax.jit(loop)

    def run(first: int, last: int, data: Any) -> None:
        values = compiled([variable.value for variable in variables], first, last, data)
        for variable, value in zip(variables, jax.block_until_ready(values), strict=True):
            variable.assign(value)

    return run


def _tensorflow_loop(step: Step) -> Loop:
    tensorflow = importlib.import_module("tensorflow")

    def loop(first: Any, last: Any, data: Any) -> Any:
        def body(index: Any) -> tuple[Any]:
            step(index, data)
            return (index + 1,)

        return tensorflow.while_loop(lambda index: index < last, body, (first,), parallel_iterations=1)

    compiled = tensorflow.function(loop, autograph=False)

    def run(first: int, last: int, data: Any) -> None:
        (end,) = compiled(tensorflow.constant(first), tensorflow.constant(last), data)
        end.numpy()  # waits for the last step

    return run
