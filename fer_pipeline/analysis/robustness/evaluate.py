"""Robustness evaluation of an exported model."""

from __future__ import annotations

from pathlib import Path

from fer_pipeline.analysis.robustness.measure import Robustness, measure_robustness
from fer_pipeline.analysis.robustness.report import write_robustness
from fer_pipeline.data.table.reader import ProcessedTable
from fer_pipeline.inference.classifier import EmotionClassifier


def evaluate_robustness(model: Path, processed: Path, out: Path, *, sample_size: int | None, seed: int) -> Robustness:
    """Measure a model on the corrupted test split and write the report to `out`.

    `model` is the folder of an export. Raises `ModelError` where model and table have different image specs, or there is no such
    model or table.
    """
    classifier = EmotionClassifier.load(model, threads=2)
    table = ProcessedTable.open(processed)
    classifier.info.check_image_spec(table.metadata, model=model, table=processed)
    test = table.split("test")
    result = measure_robustness(test, classifier.probabilities, sample_size=sample_size, seed=seed)
    write_robustness(out, result, test, classifier.info)
    return result
