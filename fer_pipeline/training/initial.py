"""Training that begins with the weights of a pretrained model (fine-tuning)."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np

from fer_pipeline.config.training import TrainParams
from fer_pipeline.data.table.reader import ProcessedTable
from fer_pipeline.data.table.training_images import (
    ImageHashes,
    check_unseen,
    joined_training_images,
    training_image_hashes,
)
from fer_pipeline.errors import ParamsError
from fer_pipeline.inference.pretrained import pretrained_folder, pretrained_models
from fer_pipeline.training.artifacts import KERAS_FILE, read_model


def initial_folder(params: TrainParams) -> Path | None:
    """Return the folder of `params.initial_model`, or None for "none".

    Raises `ParamsError` where no pretrained model has that name or its Keras file is not here, `ModelError` where it is damaged.
    """
    name = params.initial_model
    if name == "none":
        return None
    usable = [known for known, entry in pretrained_models().items() if KERAS_FILE in entry.files]
    if name not in usable:
        raise ParamsError(f"train.initial_model is {name!r}, expected none or {' or '.join(usable)}")
    folder = pretrained_folder(name)
    if not (folder / KERAS_FILE).exists():  # as in the wheel
        raise ParamsError(
            f"train.initial_model is {name}, whose {KERAS_FILE} is not installed: train in a clone of the repository, or set it "
            "to none"
        )
    return folder


def set_initial_weights(network: keras.Model, params: TrainParams) -> None:
    """Give a fresh network the weights of `params.initial_model`, if there is one.

    Raises `ParamsError` where that model is another network, and what `initial_folder` raises.
    """
    folder = initial_folder(params)
    if folder is None:
        return
    found = read_model(folder)
    shapes = [[tuple(weight.shape) for weight in one.weights] for one in (network, found)]
    if shapes[0] != shapes[1]:
        raise ParamsError(
            f"train.initial_model {params.initial_model} is a network {found.name}, train.network is {params.network}: set "
            f"train.network to {found.name}, or train.initial_model to none"
        )
    network.set_weights(found.get_weights())


def learned_images(table: ProcessedTable, params: TrainParams) -> ImageHashes:
    """List the images that a training on this table learns from, directly or not.

    Those of the initial model count. Raises `ModelError` where it was trained on validation or test rows of the table.
    """
    own, folder = training_image_hashes(table), initial_folder(params)
    if folder is None:
        return own
    check_unseen({f"initial model {params.initial_model}": folder}, table)
    return np.union1d(own, joined_training_images([folder]))
