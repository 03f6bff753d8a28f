"""Optimizers of a recipe, with a learning rate for each step."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from fer_pipeline.config.training import TrainParams


class _Table(keras.optimizers.schedules.LearningRateSchedule):
    """Learning rates looked up in a table by step."""

    def __init__(self, rates: npt.NDArray[np.float32]) -> None:
        self.rates = rates

    def __call__(self, step: Any) -> Any:
        return ops.take(ops.convert_to_tensor(self.rates), ops.minimum(ops.cast(step, "int32"), len(self.rates) - 1))

    def get_config(self) -> dict[str, Any]:
        return {"rates": self.rates.tolist()}


def optimizer_of(params: TrainParams, rates: npt.NDArray[np.float32], network: keras.Model) -> keras.optimizers.Optimizer:
    """Build the optimizer of a recipe; weight decay acts on kernels only.

    Keras takes decay off the weights by themselves. `weight_decay` of SGD means what it does in most recipes, a term of the
    gradient, which momentum multiplies by 1 / (1 - momentum).
    """
    averaging = {"use_ema": True, "ema_momentum": params.ema_decay} if params.ema_decay else {}
    if params.optimizer == "sgd":
        decay = params.weight_decay / (1 - params.momentum) or None
        optimizer = keras.optimizers.SGD(
            _Table(rates), momentum=params.momentum, nesterov=params.momentum > 0, weight_decay=decay, **averaging
        )
    elif params.optimizer == "adamw":
        optimizer = keras.optimizers.AdamW(_Table(rates), weight_decay=params.weight_decay, **averaging)
    else:
        optimizer = keras.optimizers.Adam(_Table(rates), **averaging)
    weights = network.trainable_variables
    optimizer.exclude_from_weight_decay(var_list=[weight for weight in weights if len(weight.shape) < 2])
    optimizer.build(weights)
    return optimizer


def carry_over(old: keras.optimizers.Optimizer, new: keras.optimizers.Optimizer) -> None:
    """Copy the step count, and the other state where both act on the same weights."""
    new.iterations.assign(old.iterations)
    if [v.shape for v in old.variables] == [v.shape for v in new.variables]:
        for target, source in zip(new.variables, old.variables, strict=True):
            target.assign(source)
