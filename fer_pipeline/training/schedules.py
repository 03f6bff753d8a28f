"""Learning-rate schedules and phases of a training run. Numpy only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fer_pipeline.config.training import TRANSFER_PREFIX, TrainParams
from fer_pipeline.imaging import FACE_SIZE
from fer_pipeline.training.networks.transfer import is_pretrained

PLATEAU_FACTOR = 0.5
PLATEAU_PATIENCE = 3


@dataclass(frozen=True)
class Phase:
    """Epochs `first` to `last` (from 0, `last` excluded) of one image size."""

    first: int
    last: int
    size: int = FACE_SIZE
    frozen: bool = False
    lr_factor: float = 1.0


def phases(params: TrainParams) -> list[Phase]:
    """Return the phases in order; together they cover all epochs."""
    if params.network.startswith(TRANSFER_PREFIX) and is_pretrained(params.transfer):
        frozen = params.transfer.frozen_epochs
        factor = params.transfer.unfrozen_lr_factor
        found = [Phase(0, frozen, frozen=True), Phase(frozen, params.epochs, lr_factor=factor)]
    else:
        small = params.low_resolution_epochs
        found = [Phase(0, small, size=params.low_resolution_size), Phase(small, params.epochs)]
    return [phase for phase in found if phase.first < phase.last]


def learning_rates(params: TrainParams, steps_per_epoch: int) -> npt.NDArray[np.float32]:
    """Compute the learning rate of each step, float32 (epochs * steps_per_epoch,).

    - constant: `lr`, after a linear warm-up over `warmup_share` of the steps.
    - cosine: the same warm-up, then half a cosine down to 0.
    - one_cycle: half a cosine up from `lr` / 25 to `lr` over `warmup_share`, then half a cosine down to 0 (Smith & Topin 2018).
    - plateau: `lr` after the warm-up; training halves what is left whenever validation stalls.
    """
    total = params.epochs * steps_per_epoch
    warmup = round(params.warmup_share * total)
    step = np.arange(total)
    done = (step - warmup + 1) / max(total - warmup, 1)
    fall = 0.5 * (1 + np.cos(np.pi * np.clip(done, 0, 1)))
    if params.schedule == "one_cycle":
        rise = 1 / 25 + (1 - 1 / 25) * 0.5 * (1 - np.cos(np.pi * (step + 1) / max(warmup, 1)))
    else:
        rise = (step + 1) / max(warmup, 1)
    after = np.ones(total) if params.schedule in ("constant", "plateau") else fall
    rates = params.lr * np.where(step < warmup, rise, after)
    for phase in phases(params):
        rates[phase.first * steps_per_epoch : phase.last * steps_per_epoch] *= phase.lr_factor
    return rates.astype(np.float32)


def plateau_reductions(losses: list[float]) -> int:
    """Count the cuts of the plateau schedule after these validation losses.

    One cut after each `PLATEAU_PATIENCE` epochs in a row without a new minimum.
    """
    cuts, waited, best = 0, 0, np.inf
    for loss in losses:
        waited = 0 if loss < best else waited + 1
        best = min(best, loss)
        if waited == PLATEAU_PATIENCE:
            cuts, waited = cuts + 1, 0
    return cuts
