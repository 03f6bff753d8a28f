"""Training loop: Keras 3, with a checkpoint after each measured epoch.

This module and all it imports run without MLflow, Spark and DVC, so that they also work alone on a GPU machine.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from fer_pipeline.config.base import fingerprint
from fer_pipeline.config.training import TrainParams
from fer_pipeline.data.table.dataset import FaceDataset
from fer_pipeline.data.table.reader import ProcessedTable
from fer_pipeline.data.table.soft_labels import load_training_faces
from fer_pipeline.errors import DataQualityError, DivergedError
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.metrics import learning
from fer_pipeline.model_info import file_sha256
from fer_pipeline.training import checkpoints
from fer_pipeline.training.artifacts import KERAS_FILE, TrainingResult, write_model
from fer_pipeline.training.batches import Batches, label_targets, steps_per_epoch, vote_shares
from fer_pipeline.training.devices import data_parallel, hardware
from fer_pipeline.training.initial import initial_folder, learned_images, set_initial_weights
from fer_pipeline.training.learner import Learner
from fer_pipeline.training.networks.zoo import build
from fer_pipeline.training.progress import EpochProgress
from fer_pipeline.training.schedules import Phase, learning_rates, phases, plateau_reductions
from fer_pipeline.workspace.layout import TEACHERS

OnEpoch = Callable[[int, dict[str, float]], None]


def train(
    data_train: FaceDataset,
    data_validation: FaceDataset,
    params: TrainParams,
    checkpoint_folder: Path,
    on_epoch: OnEpoch | None = None,
    teachers: Path = TEACHERS,
) -> TrainingResult:
    """Train the network of a recipe.

    A killed run goes on after its last finished epoch: the checkpoint in `checkpoint_folder` stays until the caller has stored
    the result and discards it. `on_epoch(epoch, figures)` is called for each measured epoch in order, those of a resumed
    checkpoint included. `params.evaluate_every` says which are measured and kept; where only some are, seconds are those since
    the one before. The folder `teachers` is read where the recipe has teachers.

    Under JAX all devices in sight share each batch.

    Raises `DataQualityError` where training lacks a class, `DivergedError` where the loss is no longer finite, `ParamsError`
    where the network or the initial model does not fit the recipe or the batch cannot be split over the devices,
    `ToolUnavailableError` where the checkpoint cannot be written.
    """
    _check_classes(data_train)
    keras.utils.set_random_seed(params.seed)
    key = recipe_key(data_train, data_validation, params)
    state, message = checkpoints.restore(checkpoint_folder, key)
    batch_size = min(params.batch_size, len(data_train))
    steps = steps_per_epoch(len(data_train), batch_size)
    resumed_after, trained = state.epoch, 0
    started = time.monotonic()
    with data_parallel(batch_size), EpochProgress(params.epochs, steps, state.epoch) as progress:
        learner = Learner(params, learning_rates(params, steps), teachers)
        set_initial_weights(learner.network, params)
        if message:
            progress.message(message)
        for past in state.history:
            _report(on_epoch, past)
        if state.epoch:
            learner.enter(_phase(params, state.epoch - 1), _cuts(params, state.history[:-1]))  # as when it was stored
            learner.restore(state)
        begun = time.monotonic()
        for epoch in range(state.epoch, params.epochs):
            if params.early_stopping_patience and state.waited >= params.early_stopping_patience:
                progress.message(f"stopping early: no better epoch since epoch {state.best_epoch}")
                break
            learner.enter(_phase(params, epoch), _cuts(params, state.history))
            batches = Batches(data_train, params, epoch)
            fitted = learner.fit(batches, progress.callback)
            trained += len(batches) * batches.size
            if (epoch + 1) % params.evaluate_every and epoch + 1 < params.epochs:
                continue
            learner.average(batches)
            logits = learner.predict(data_validation.images)
            seconds, begun = time.monotonic() - begun, time.monotonic()
            figures = _figures(epoch, fitted, logits, data_validation, learner, seconds)
            _check_finite(figures, params)
            state.history.append(figures)
            state.epoch, state.seconds = epoch + 1, state.seconds + seconds
            _choose(state, learner, params)
            learner.store(state)
            checkpoints.save(checkpoint_folder, state)
            progress.epoch_done(figures)
            _report(on_epoch, figures)
    return TrainingResult(
        network=_final_network(params, state, learner),
        history=state.history,
        best_epoch=state.best_epoch,
        backend=keras.backend.backend(),
        device=hardware(),
        images_per_second=trained / (time.monotonic() - started),
        seconds=state.seconds,
        resumed_after=resumed_after,
        key=key,
    )


def train_untracked(
    processed: Path, out: Path, checkpoint_folder: Path, params: TrainParams, soft_labels: Path, teachers: Path
) -> TrainingResult:
    """Train on the processed table without MLflow and DVC, and write the model.

    Replaces the folder `out`; its training.json names no MLflow run.

    Resumes from `checkpoint_folder`, and removes it in the end. `soft_labels` is read where the recipe softens labels, `teachers`
    where it has teachers. Raises what `train` raises, and `SourceError` where the table or the soft labels cannot be read.
    """
    table = ProcessedTable.open(processed)
    learned = learned_images(table, params)
    result = train(*load_training_faces(processed, soft_labels, params), params, checkpoint_folder, teachers=teachers)
    write_model(out, result, params, table.metadata, learned, run_id=None)
    checkpoints.discard(checkpoint_folder)
    return result


def recipe_key(data_train: FaceDataset, data_validation: FaceDataset, params: TrainParams) -> str:
    """Compute 12 hex digits that identify recipe, backend and data.

    Votes count where they are learned.
    """
    parts = [fingerprint(params), keras.backend.backend(), data_train.fingerprint, data_validation.fingerprint]
    initial = initial_folder(params)
    if initial is not None:
        parts.append(file_sha256(initial / KERAS_FILE))
    if params.vote_loss_weight:
        parts.append(hashlib.sha256(vote_shares(data_train).tobytes()).hexdigest())
    if params.vote_share:
        parts.append(hashlib.sha256(label_targets(data_train, params).tobytes()).hexdigest())
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:12]


def _check_classes(faces: FaceDataset) -> None:
    present = np.unique(faces.labels)
    if len(present) == len(EMOTIONS):
        return
    missing = ", ".join(name for index, name in enumerate(EMOTIONS) if index not in present)
    if len(present) < 2:
        raise DataQualityError(f"training has {len(present)} class in {len(faces)} rows, expected all 7; missing: {missing}")
    raise DataQualityError(f"training has no row of {missing}: add such pictures to the source and run preprocess again")


def _check_finite(figures: dict[str, float], params: TrainParams) -> None:
    if not (math.isfinite(figures["loss"]) and math.isfinite(figures["val_loss"])):
        raise DivergedError(
            f"loss became {figures['loss']} (validation {figures['val_loss']}) in epoch {figures['epoch']:.0f} at learning rate "
            f"{figures['lr']:.2g}: lower train.lr (now {params.lr:g}) or raise train.warmup_share"
        )


def _phase(params: TrainParams, epoch: int) -> Phase:
    return next(phase for phase in phases(params) if phase.first <= epoch < phase.last)


def _cuts(params: TrainParams, history: list[dict[str, float]]) -> int:
    if params.schedule != "plateau":
        return 0
    return plateau_reductions([figures["val_loss"] for figures in history])


def _figures(
    epoch: int, fitted: dict[str, float], logits: learning.Floats, validation: FaceDataset, learner: Learner, seconds: float
) -> dict[str, float]:
    table = learning.confusion(validation.labels, logits.argmax(axis=1))
    return {
        "epoch": epoch + 1,
        "loss": fitted["loss"],
        "accuracy": fitted["accuracy"],
        "val_loss": learning.nll(validation.labels, learning.softmax(logits)),
        "val_accuracy": float(learning.accuracy(table)),
        "val_macro_f1": float(learning.macro_f1(table)),
        "lr": learner.rate_after(epoch),
        "size": learner.phase.size,
        "seconds": round(seconds, 3),
    }


def _choose(state: checkpoints.State, learner: Learner, params: TrainParams) -> None:
    """Keep the evaluated weights of this epoch where they are the best so far."""
    if not params.early_stopping_patience:
        state.best_epoch = state.epoch
        state.best = learner.evaluated if params.ema_decay else []
        return
    if learner.phase != phases(params)[-1]:  # images or weights are not yet those of the final network
        return
    first = learner.phase.first
    ranks = [(figures["val_accuracy"], -figures["val_loss"]) for figures in state.history[first:]]
    if ranks[-1] > max(ranks[:-1], default=(-1.0, 0.0)):
        state.best_epoch, state.waited, state.best = state.epoch, 0, learner.evaluated
    else:
        state.waited += 1


def _final_network(params: TrainParams, state: checkpoints.State, learner: Learner) -> keras.Model:
    plain = params.model_copy(update={"transfer": params.transfer.model_copy(update={"weights": "none"})})
    network = build(plain)
    network.set_weights(state.best or learner.network.get_weights())
    return network


def _report(on_epoch: OnEpoch | None, figures: dict[str, float]) -> None:
    if on_epoch is not None:
        on_epoch(int(figures["epoch"]), figures)
