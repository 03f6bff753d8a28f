"""`fer balance`: an exported model, fairer to rare emotions, calibrated and measured again."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from fer_pipeline.config.params import EvaluateParams
from fer_pipeline.data.table.reader import load_facts, load_split
from fer_pipeline.data.table.training_images import copy_training_pictures, load_held_out, load_test
from fer_pipeline.errors import ModelError
from fer_pipeline.evaluation.evaluate import measure
from fer_pipeline.inference.classifier import EmotionClassifier
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.model_info import MODEL_FILE, ModelInfo, file_sha256
from fer_pipeline.models.logit_adjustment import choose_adjustment, store_adjusted
from fer_pipeline.workspace.files import METRICS_FILE, replaced_folder, write_json

_THREADS = 2


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
    classifier = EmotionClassifier.load(model, _THREADS)
    info, facts = classifier.info, load_facts(processed)
    if asdict(info.image_spec) != facts["image_spec"] or info.synthetic != bool(facts["source"]["synthetic"]):
        raise ModelError(
            f"{model} was trained on {info.data} with image spec {asdict(info.image_spec)}, {processed} holds "
            f"{facts['source']['name']} with {facts['image_spec']}: choose the table it was trained on"
        )
    train, test = load_split(processed, "train"), load_test(processed, model)
    validation = load_held_out(processed, {str(model): model})
    shares = np.bincount(train.labels, minlength=len(EMOTIONS)) / len(train)
    if not shares.all():
        raise ModelError(f"{processed} has no training rows of {EMOTIONS[int(shares.argmin())]}, so its share is not known")
    adjustment = choose_adjustment(classifier.logits(validation.images) / info.temperature, validation.labels, shares, max_loss)
    before = measure(classifier.logits, validation, test, params, {}, [])
    with replaced_folder(out) as folder:
        store_adjusted(model / MODEL_FILE, info.temperature, adjustment, folder / MODEL_FILE)
        variant = replace(
            info,
            sha256=file_sha256(folder / MODEL_FILE),
            temperature=1.0,
            lineage={**info.lineage, "balanced_from": info.fingerprint, "strength": f"{adjustment.strength:g}"},
        )
        variant.write(folder)
        copy_training_pictures(model, folder)
        after = measure(EmotionClassifier.load(folder, _THREADS).logits, validation, test, params, {}, [])
        variant = replace(variant, temperature=float(after.calibration["temperature"]), metrics=after.metrics)
        variant.write(folder)
        write_json(folder / METRICS_FILE, after.metrics)
    return Balanced(variant, adjustment.strength, before.metrics)
