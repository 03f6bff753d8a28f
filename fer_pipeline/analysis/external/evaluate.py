"""Evaluation of an exported model on an external data set."""

from __future__ import annotations

from pathlib import Path

from fer_pipeline.analysis.external.datasets import open_dataset
from fer_pipeline.analysis.external.measure import ExternalResult, measure_dataset
from fer_pipeline.analysis.external.report import write_external
from fer_pipeline.errors import ParamsError
from fer_pipeline.inference.classifier import EmotionClassifier
from fer_pipeline.inference.detection.selection import select_detector
from fer_pipeline.inference.recognizer import Recognizer


def evaluate_dataset(path: Path, layout: str, model: Path, out: Path, *, part: str | None, faces: str) -> ExternalResult:
    """Measure a model on the data set in `path` and write the report to `out`.

    `model` is the folder of an export; `layout` and `part` are those of `datasets.open_dataset`. `faces` is "crop" (each image is
    one face), "detect" (the largest face of each image) or "auto" (as the layout needs). Raises `ParamsError` for another word,
    and what `open_dataset` and `measure_dataset` raise.
    """
    if faces not in ("auto", "crop", "detect"):
        raise ParamsError(f"--faces is {faces}, expected auto, crop or detect")
    classifier = EmotionClassifier.load(model, threads=2)
    data = open_dataset(path, layout, part)
    detect = faces == "detect" or (faces == "auto" and data.framing == "scene")
    recognizer = Recognizer(classifier, select_detector(classifier.info.image_spec.detector, model)) if detect else None
    result = measure_dataset(
        data,
        classifier.probabilities,
        classifier.info.image_spec,
        find_face=recognizer.largest_face if recognizer else None,
        detector=recognizer.detector.name if recognizer else None,
    )
    write_external(out, result, classifier.info)
    return result
