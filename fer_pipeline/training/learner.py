"""Train a network epoch by epoch: fit, average, predict, store, restore."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from fer_pipeline.config.training import TRANSFER_PREFIX, TrainParams
from fer_pipeline.imaging import FACE_SIZE, UInt8Array
from fer_pipeline.training.batches import LABELS, VOTES, Batches
from fer_pipeline.training.checkpoints import Arrays, State
from fer_pipeline.training.device_loop import Resident, can_stay
from fer_pipeline.training.devices import device_count
from fer_pipeline.training.networks.augmentation import Augmentation
from fer_pipeline.training.networks.batch_norm import follow_mean, fused
from fer_pipeline.training.networks.transfer import BACKBONE
from fer_pipeline.training.networks.votes_head import with_votes_head
from fer_pipeline.training.networks.zoo import build
from fer_pipeline.training.optimizers import carry_over, optimizer_of
from fer_pipeline.training.schedules import PLATEAU_FACTOR, Phase
from fer_pipeline.training.teachers import DistillationLoss, load_teachers
from fer_pipeline.workspace.layout import TEACHERS

ESTIMATION_BATCHES = 32
"""Number of batches from which batch-norm statistics are estimated."""


class Learner:
    """A network with optimizer and training graph.

    `enter` sets up a phase; then `fit` trains one epoch and `predict` runs the weights that would be kept.

    `network` returns logits. With `params.vote_loss_weight` a second head on the same features learns the FER+ votes in training
    (Barsoum et al. 2016, arXiv 1608.01041); it is no part of `network`. With `params.distillation_weight` the networks in the
    folder `teachers` have that share of the loss of the labels.

    Raises `ParamsError` where votes do not fit the network, and what `load_teachers` raises.
    """

    phase: Phase
    _optimizer: keras.optimizers.Optimizer
    _trainer: keras.Model

    def __init__(self, params: TrainParams, rates: npt.NDArray[np.float32], teachers: Path = TEACHERS) -> None:
        self.params = params
        self.rates = rates
        self.steps = len(rates) // params.epochs
        any_size = params.low_resolution_epochs > 0 and params.low_resolution_size < FACE_SIZE
        self.network = fused(build(params, any_size=any_size, mixed_precision=params.mixed_precision))
        self._heads = with_votes_head(self.network) if params.vote_loss_weight else self.network
        loaded = (
            load_teachers(teachers, params.teachers_hash, mixed_precision=params.mixed_precision)
            if params.distillation_weight
            else []
        )
        self._distillation = DistillationLoss(loaded, params.distillation_weight) if loaded else None
        self.evaluated: Arrays = []
        self._live: Arrays | None = None  # while the averaged weights are in the network
        self._setup: tuple[Phase, int] | None = None
        self._resident: Resident | None = None

    def enter(self, phase: Phase, cuts: int) -> None:
        """Build the training graph of a phase after a number of plateau cuts.

        Weights and optimizer state carry over.
        """
        if self._setup == (phase, cuts):
            return
        old: keras.optimizers.Optimizer | None = self._optimizer if self._setup else None
        self.phase, self._setup, self._resident = phase, (phase, cuts), None
        if self.params.network.startswith(TRANSFER_PREFIX):
            self.network.get_layer(BACKBONE).trainable = not phase.frozen
        image = keras.Input((FACE_SIZE, FACE_SIZE, 1), dtype="uint8", name="image")
        share = keras.Input((1,), name="share")
        self._augmentation = Augmentation(self.params.augment, size=phase.size, seed=self.params.seed + phase.first)
        seen = self._augmentation(image, share)
        outputs = self._heads(seen)
        outputs = dict(zip((LABELS, VOTES), outputs, strict=True)) if self.params.vote_loss_weight else {LABELS: outputs}
        if self._distillation is not None:
            outputs[LABELS] = self._distillation(seen, outputs[LABELS])
        self._trainer = keras.Model((image, share), outputs)
        self._optimizer = optimizer_of(self.params, self.rates * PLATEAU_FACTOR**cuts, self._heads)
        if old is not None:
            carry_over(old, self._optimizer)
        self._trainer.compile(
            optimizer=self._optimizer,
            loss={
                name: keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)
                for name, smoothing in ((LABELS, self.params.label_smoothing), (VOTES, 0.0))
                if name in outputs
            },
            loss_weights={
                name: self.params.vote_loss_weight if name == VOTES else 1 - self.params.distillation_weight for name in outputs
            },
            metrics={LABELS: [keras.metrics.CategoricalAccuracy(name="accuracy")]},
            jit_compile=keras.backend.backend() == "jax",  # XLA knows no kernel for TensorFlow's affine transform
        )

    def fit(self, batches: Batches, progress: keras.callbacks.Callback) -> dict[str, float]:
        """Train on the batches; return loss and accuracy.

        All batches of a phase must be of the same rows.
        """
        figures = self._fit_resident(batches, progress) if can_stay(batches.faces) else self._fit_streamed(batches, progress)
        accuracy = f"{LABELS}_accuracy" if self.params.vote_loss_weight else "accuracy"  # Keras names them so
        return {"loss": figures["loss"], "accuracy": figures[accuracy]}

    def average(self, batches: Batches) -> None:
        """Give the network the weights that would be kept: with EMA the averaged ones.

        `store` brings the live ones back.
        """
        if self.params.ema_decay:
            self._live = self._heads.get_weights()
            self._optimizer.finalize_variable_values(self._trainer.trainable_variables)
            self._heads.set_weights(self._heads.get_weights())  # under JAX they are the optimizer's own arrays until now
            self._estimate_batch_norm(batches)
        if self.params.ema_decay or self.params.early_stopping_patience:
            self.evaluated = self.network.get_weights()

    def predict(self, images: UInt8Array) -> npt.NDArray[np.float32]:
        """Compute logits (N, 7) of uint8 images (N, 48, 48, 1), at the phase's size."""
        rows, devices = len(images), device_count()
        if rows % devices:  # each batch must split evenly
            images = np.pad(images, ((0, -rows % devices), (0, 0), (0, 0), (0, 0)))
        inputs = (images, np.ones((len(images), 1), np.float32))
        logits: npt.NDArray[np.float32] = self._trainer.predict(inputs, batch_size=256 // devices * devices, verbose=0)[LABELS]
        return logits[:rows]

    def rate_after(self, epoch: int) -> float:
        """Return the learning rate of the last step of an epoch (from 0)."""
        assert self._setup is not None
        return float(self.rates[(epoch + 1) * self.steps - 1] * PLATEAU_FACTOR ** self._setup[1])

    def store(self, state: State) -> None:
        """Copy weights, random states and optimizer into the state.

        With EMA the live weights return to the network first.
        """
        if self._live is not None:
            self._heads.set_weights(self._live)
            self._live = None
        state.variables = _values(self._variables)
        state.optimizer = _values(self._optimizer.variables)

    def restore(self, state: State) -> None:
        """Restore weights, random states and optimizer from the state.

        `enter` must have set up the phase it was stored in.
        """
        for variable, value in zip(self._variables, state.variables, strict=True):
            variable.assign(value)
        for variable, value in zip(self._optimizer.variables, state.optimizer, strict=True):
            variable.assign(value)

    @property
    def _variables(self) -> list[keras.Variable]:
        """The variables of the training graph without the teachers', which do not change."""
        constant = {id(variable) for variable in (self._distillation.variables if self._distillation is not None else ())}
        return [variable for variable in self._trainer.variables if id(variable) not in constant]

    def _fit_resident(self, batches: Batches, progress: keras.callbacks.Callback) -> dict[str, float]:
        if self._resident is None:
            self._resident = Resident(batches, self._trainer, self.network, self._shrunk)
        return self._resident.fit(batches, progress)

    def _fit_streamed(self, batches: Batches, progress: keras.callbacks.Callback) -> dict[str, float]:
        live = _LiveWeights(self._heads)
        fitted = self._trainer.fit(batches, verbose=0, shuffle=False, callbacks=[progress, live])
        if self.params.ema_decay:  # Keras has just replaced them by their averages
            self._heads.set_weights(live.weights)
        return {name: float(values[-1]) for name, values in fitted.history.items()}

    def _estimate_batch_norm(self, batches: Batches) -> None:
        count = min(ESTIMATION_BATCHES, len(batches))
        if self._resident is not None:
            self._resident.estimate_batch_norm(batches, count)
            return
        for index in range(count):
            follow_mean(self.network, self._shrunk(batches[index][0][0]), index)

    def _shrunk(self, images: Any) -> Any:
        return self._augmentation(images, ops.ones((ops.shape(images)[0], 1)), training=False)


class _LiveWeights(keras.callbacks.Callback):
    """Keep the weights at the end of the epoch, before Keras averages them."""

    def __init__(self, network: keras.Model) -> None:
        super().__init__()
        self.network = network
        self.weights: Arrays = []

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.weights = self.network.get_weights()


def _values(variables: list[keras.Variable]) -> Arrays:
    return [np.array(ops.convert_to_numpy(variable)) for variable in variables]
