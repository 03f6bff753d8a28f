"""Calibrating and measuring an exported model again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fer_pipeline.config.params import EvaluateParams
from fer_pipeline.data.table.dataset import FaceDataset
from fer_pipeline.model_info import ModelInfo
from fer_pipeline.models.recalibration import recalibrated

PARAMS = EvaluateParams(bootstrap=100)


@pytest.fixture
def model(brightness_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(brightness_model, tmp_path / "model"))


def test_temperature_and_metrics_are_stored(model: Path, make_stripes: Callable[[int, int], FaceDataset]) -> None:
    before = ModelInfo.read(model)
    info, evaluation = recalibrated(model, make_stripes(70, 0), make_stripes(70, 1), PARAMS)
    assert ModelInfo.read(model) == info
    assert info.sha256 == before.sha256
    assert info.temperature == evaluation.calibration["temperature"] != before.temperature
    assert json.loads((model / "metrics.json").read_text()) == info.metrics == evaluation.metrics


def test_known_logits_replace_the_network(model: Path, make_stripes: Callable[[int, int], FaceDataset]) -> None:
    validation, test = make_stripes(70, 0), make_stripes(77, 1)
    answers = {}
    for faces in (validation, test):  # four of five rows right, with equal confidence
        shown = np.where(np.arange(len(faces)) % 5 == 0, (faces.labels + 1) % 7, faces.labels)
        answers[len(faces)] = 4 * np.eye(7, dtype=np.float32)[shown]
    once, _ = recalibrated(model, validation, test, PARAMS, logits=lambda images: answers[len(images)])
    twice, _ = recalibrated(model, validation, test, PARAMS, logits=lambda images: 2 * answers[len(images)])
    assert once.metrics["accuracy"] == twice.metrics["accuracy"] == 61 / 77
    assert twice.temperature == pytest.approx(2 * once.temperature, rel=0.01)
    assert ModelInfo.read(model).temperature == twice.temperature
