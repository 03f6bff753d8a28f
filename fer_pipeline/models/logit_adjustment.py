"""Logit adjustment: offsets by class that make a trained network fairer to rare classes, without training it again.

Menon et al. 2021, arXiv 2007.07314, section 4.2 (post-hoc).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from fer_pipeline.config.params import EvaluateParams
from fer_pipeline.data.table.reader import ProcessedTable
from fer_pipeline.data.table.training_images import copy_training_images, load_held_out, load_test
from fer_pipeline.errors import ModelError
from fer_pipeline.evaluation.measure import measure
from fer_pipeline.inference.classifier import EmotionClassifier
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.metrics import classification
from fer_pipeline.model_info import MODEL_FILE, ModelInfo, file_sha256
from fer_pipeline.models.recalibration import THREADS, recalibrated
from fer_pipeline.workspace.files import replaced_folder

STRENGTHS = tuple(step / 20 for step in range(21))
"""Values that are tried: 0 changes nothing, 1 answers as if all classes were equally frequent."""

OUTPUT = "logits"


@dataclass(frozen=True)
class Adjustment:
    """Offsets (7,) of the calibrated logits, -`strength` times the logarithm of each class's share of the training rows."""

    strength: float
    offsets: npt.NDArray[np.float64]


def choose_adjustment(
    logits: npt.NDArray[np.floating[Any]], labels: npt.NDArray[np.int64], shares: npt.NDArray[np.float64], max_loss: float
) -> Adjustment:
    """The strength with the best macro-F1 on these rows among those that lose at most `max_loss` of the accuracy.

    `logits` (N, 7) are divided by the temperature already; `shares` (7,) are those of the classes in training, above 0. Choose
    on validation.
    """
    before = _figures(logits, labels)[0]
    best = (-1.0, 0.0)
    for strength in STRENGTHS:
        accuracy, macro_f1 = _figures(logits - strength * np.log(shares), labels)
        if accuracy >= before - max_loss and macro_f1 > best[0]:
            best = (macro_f1, strength)
    return Adjustment(best[1], -best[1] * np.log(shares))


def store_adjusted(source: Path, temperature: float, adjustment: Adjustment, target: Path) -> None:
    """Writes the ONNX network of `source` with logits / temperature + offsets as its logits.

    Raises `ModelError` where `source` is no network of this project.
    """
    try:
        model = onnx.load(str(source))
    except Exception as error:  # protobuf's DecodeError has no common base with what reading raises
        raise ModelError(f"{source} cannot be read as ONNX: {error}; export the model again") from error
    graph = model.graph
    for node in graph.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                if name == OUTPUT:
                    names[index] = "unadjusted"
    graph.initializer.extend(
        [
            numpy_helper.from_array(np.full((), 1 / temperature, np.float32), "adjustment/scale"),
            numpy_helper.from_array(adjustment.offsets.astype(np.float32), "adjustment/offsets"),
        ]
    )
    graph.node.extend(
        [
            helper.make_node("Mul", ["unadjusted", "adjustment/scale"], ["adjustment/scaled"], name="adjustment/scaled"),
            helper.make_node("Add", ["adjustment/scaled", "adjustment/offsets"], [OUTPUT], name="adjustment/shifted"),
        ]
    )
    onnx.checker.check_model(model)
    onnx.save(model, str(target))


def _figures(logits: npt.NDArray[np.floating[Any]], labels: npt.NDArray[np.int64]) -> tuple[float, float]:
    table = classification.confusion(labels, logits.argmax(axis=1))
    return float(classification.accuracy(table)), float(classification.macro_f1(table))


@dataclass(frozen=True)
class Balanced:
    """The variant that was written, its strength, and the figures of the model it was made of on the same rows."""

    info: ModelInfo
    strength: float
    before: dict[str, float]


def balance(model: Path, processed: Path, out: Path, params: EvaluateParams, max_loss: float) -> Balanced:
    """Replaces the folder `out` by the exported model with the offsets of `modeling.adjustment`.

    They are chosen on the validation rows that it did not learn from, where they may cost at most `max_loss` of the accuracy.
    The variant has no model.keras, and a temperature of its own; metrics.json in the folder holds its figures on the test split.
    Its probabilities are those of a world where rare emotions are more frequent than in the data. Raises `ModelError` where the
    model was trained for other pictures than those of `processed`, learned from nearly all of these rows, or has no list of what
    it learned from.
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
        store_adjusted(model / MODEL_FILE, info.temperature, adjustment, folder / MODEL_FILE)
        variant = replace(
            info,
            sha256=file_sha256(folder / MODEL_FILE),
            temperature=1.0,
            lineage={**info.lineage, "balanced_from": info.fingerprint, "strength": f"{adjustment.strength:g}"},
        )
        variant.write(folder)
        copy_training_images(model, folder)
        variant, _ = recalibrated(folder, validation, test, params)
    return Balanced(variant, adjustment.strength, before.metrics)
