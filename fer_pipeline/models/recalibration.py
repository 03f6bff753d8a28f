"""Calibrate and measure an exported model after a change of its network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from fer_pipeline.config.params import EvaluateParams
from fer_pipeline.data.table.dataset import FaceDataset
from fer_pipeline.evaluation.measure import PredictLogits, measure
from fer_pipeline.evaluation.result import Evaluation
from fer_pipeline.inference.classifier import EmotionClassifier
from fer_pipeline.model_info import ModelInfo
from fer_pipeline.workspace.files import METRICS_FILE, write_json

THREADS = 2


def recalibrated(
    folder: Path,
    validation: FaceDataset,
    test: FaceDataset,
    params: EvaluateParams,
    *,
    logits: PredictLogits | None = None,
    training: Mapping[str, Any] = MappingProxyType({}),
    history: Sequence[dict[str, float]] = (),
) -> tuple[ModelInfo, Evaluation]:
    """Fit the temperature of an exported model, measure the model, store both.

    The temperature is fitted on `validation`, the metrics are of `test`.

    Rewrites model.json and metrics.json in the folder, which holds model.onnx and model.json. `logits` replaces the network in
    the folder where its predict are known already; `training` and `history` are for the report page of the evaluation.
    Raises `ModelError` where the folder holds no exported model or the network returns non-finite logits.
    """
    info = ModelInfo.read(folder)
    predict = logits or EmotionClassifier.load(folder, THREADS).logits
    evaluation = measure(predict, validation, test, params, training, history)
    info = replace(info, temperature=float(evaluation.calibration["temperature"]), metrics=evaluation.metrics)
    info.write(folder)
    write_json(folder / METRICS_FILE, evaluation.metrics)
    return info, evaluation
