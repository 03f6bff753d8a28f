"""Post-hoc logit adjustment for rare classes.

Menon et al. 2021, arXiv 2007.07314, section 4.2.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fer_pipeline.config.params import EvaluateParams
from fer_pipeline.data.table.reader import ProcessedTable
from fer_pipeline.data.table.training_images import copy_training_images, load_held_out, load_test
from fer_pipeline.errors import ModelError
from fer_pipeline.evaluation.measure import measure
from fer_pipeline.inference.classifier import EmotionClassifier
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.metrics import classification
from fer_pipeline.model_info import MODEL_FILE, ModelInfo, file_sha256
from fer_pipeline.models.onnx_graph import add_logit_offsets
from fer_pipeline.models.recalibration import THREADS, recalibrated
from fer_pipeline.workspace.files import replaced_folder

STRENGTHS = tuple(step / 20 for step in range(21))
"""Strengths that are tried.

0 changes nothing, 1 predicts as if all classes were equally frequent.
"""


@dataclass(frozen=True)
class Adjustment:
    """Offsets (7,) of the calibrated logits.

    They are -`strength` times the logarithm of each class's share of the training rows.
    """

    strength: float
    offsets: npt.NDArray[np.float64]


def choose_adjustment(
    logits: npt.NDArray[np.floating[Any]], labels: npt.NDArray[np.int64], shares: npt.NDArray[np.float64], max_loss: float
) -> Adjustment:
    """Choose the strength of best macro-F1 that costs at most `max_loss` of accuracy.

    `logits` (N, 7) and `labels` (N,) are of validation rows, the logits divided by the temperature already; `shares` (7,) are
    those of the classes in training, above 0.
    """
    before = _figures(logits, labels)[0]
    best = (-1.0, 0.0)
    for strength in STRENGTHS:
        accuracy, macro_f1 = _figures(logits - strength * np.log(shares), labels)
        if accuracy >= before - max_loss and macro_f1 > best[0]:
            best = (macro_f1, strength)
    return Adjustment(best[1], -best[1] * np.log(shares))


@dataclass(frozen=True)
class AdjustedModel:
    """The adjusted model, its strength, and the metrics of the original model."""

    info: ModelInfo
    strength: float
    before: dict[str, float]


def adjust_logits(model: Path, processed: Path, out: Path, params: EvaluateParams, max_loss: float) -> AdjustedModel:
    """Replace the folder `out` by a model whose logits have offsets by class.

    The strength is chosen on the validation rows that `model` was not trained on, where it may cost at most `max_loss` of the
    accuracy. The new model has no model.keras, and a temperature of its own; metrics.json holds its metrics on the test split.
    Its probabilities are those for data in which rare emotions are more frequent than in training. Raises `ModelError` where the
    model does not fit the table `processed`, was trained on nearly all validation rows, or has no list of training images.
    """
    classifier = EmotionClassifier.load(model, THREADS)
    info, table = classifier.info, ProcessedTable.open(processed)
    info.check_table(table.metadata, model=model, table=processed)
    train, test = table.split("train"), load_test(table, model)
    validation = load_held_out(table, {str(model): model})
    shares = np.bincount(train.labels, minlength=len(EMOTIONS)) / len(train)
    if not shares.all():
        raise ModelError(f"{processed} has no training rows of {EMOTIONS[int(shares.argmin())]}, so its share is not known")
    adjustment = choose_adjustment(classifier.logits(validation.images) / info.temperature, validation.labels, shares, max_loss)
    before = measure(classifier.logits, validation, test, params)
    with replaced_folder(out) as folder:
        add_logit_offsets(model / MODEL_FILE, info.temperature, adjustment.offsets, folder / MODEL_FILE)
        variant = replace(
            info,
            sha256=file_sha256(folder / MODEL_FILE),
            temperature=1.0,
            lineage={**info.lineage, "balanced_from": info.fingerprint, "strength": f"{adjustment.strength:g}"},
        )
        variant.write(folder)
        copy_training_images(model, folder)
        variant, _ = recalibrated(folder, validation, test, params)
    return AdjustedModel(variant, adjustment.strength, before.metrics)


def _figures(logits: npt.NDArray[np.floating[Any]], labels: npt.NDArray[np.int64]) -> tuple[float, float]:
    table = classification.confusion(labels, logits.argmax(axis=1))
    return float(classification.accuracy(table)), float(classification.macro_f1(table))
