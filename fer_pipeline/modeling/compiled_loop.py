"""Many steps in one call of the device, so that the host does not wait between them; for JAX and TensorFlow."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import keras

COMPILING_BACKENDS = ("jax", "tensorflow")
"""Those for which `compiled_loop` is written."""

Step = Callable[[Any, Any], None]
Loop = Callable[[int, int, Any], None]


def compiled_loop(step: Step, variables: list[keras.Variable]) -> Loop:
    """A function (first, last, data) that runs step(index, data) for each index from `first`, `last` excluded, in order.

    `step` is traced once for the shapes of `data` (nested dicts and tuples of tensors), gets a scalar tensor as index and works
    by assigning to `variables`; it must assign to no others. Which first and last are given costs no new compilation.
    """
    return _jax_loop(step, variables) if keras.backend.backend() == "jax" else _tensorflow_loop(step)


def train_step(trainer: keras.Model, batch: Any) -> None:
    """One step of a compiled model's own training on a batch (inputs, targets, weights), for use in a `Step`."""
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
